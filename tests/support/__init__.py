"""What the tests on real clusters share."""
