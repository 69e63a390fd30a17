# Make targets of the measurements and comparisons; included by the Makefile of the checkout.

BENCH := PYTHONPATH=.venv/collections:. $(BIN)/python -m benchmarks

##@ Measurements, written to benchmarks/results
.PHONY: agreement bench-isolation bench-tenancy bench-delivery chaos fleet-stop judges kstatus noisy-neighbour quota-race
agreement: setup ## Ask cyclonus and network-config-analyzer about 1,000 generated worlds (a minute; the first time builds them)
	@$(BENCH).agreement $(ARGS)

bench-isolation: setup ## Isolation report of 10, 100 and 1,000 tenants, against network-config-analyzer; ARGS="--kubeconfig FILE" on a cluster too
	@$(BENCH).isolation_report $(ARGS)

chaos: setup ## 100 deploys while pods, servers and runners are killed; needs make cluster images platform; ARGS="--deploys 6 --seed 1" for a look
	@demo/install-packages benchmarks/debian-packages.txt
	@$(BENCH).chaos $(ARGS)

fleet-stop: setup ## How soon a bad release is stopped in a fleet, and how rarely a good one: both curves, exact
	@$(BENCH).fleet_stop $(ARGS)

judges: setup ## What checkov, kube-score and kubernetes-validate say of a tenant's objects, of every tier in every market
	@$(BENCH).manifests

kstatus: setup ## Ask upstream's kstatus about 20,000 generated objects whether they are ready (the first time builds it)
	@$(BENCH).kstatus $(ARGS)

noisy-neighbour: setup ## What a tenant at its limit does to its neighbour's latency; needs make cluster images platform
	@$(BENCH).noisy_neighbour $(ARGS)

quota-race: setup ## 10,000 racing creates at a quota, on the simulated cluster
	@$(MAKE) cluster PROFILE=simulated
	@$(BENCH).quota_race $(ARGS)

bench-tenancy: setup ## Converge 1,000 tenants on the simulated cluster, against kubectl and kubernetes.core; ARGS="--tenants 50" for a look
	@$(MAKE) cluster PROFILE=simulated
	@$(BENCH).tenancy $(ARGS)

bench-delivery: setup ## Deliver and roll back a fleet, against kubectl, Helm 4, kapp and kubernetes.core; ARGS="--tenants 50" for a look
	@$(MAKE) cluster PROFILE=simulated
	@$(BENCH).delivery $(ARGS)
