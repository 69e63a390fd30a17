"""Measurements against peers, each with a make target; results lie in benchmarks/results."""
