# Make targets of the embedded Kubernetes; included by the Makefile of the checkout.
# PROFILE=simulated is the one without root and containers: control plane, and nodes that kwok simulates.

PROFILE ?= embedded
CLUSTER_PYTHON := .venv/bin/python
# What is looked at before anything is installed; the simulated profile wants none of it.
PREFLIGHT := $(if $(filter simulated,$(PROFILE)),,doctor)
CLUSTER := PYTHONPATH=cluster $(CLUSTER_PYTHON) -m barberpro_cluster

##@ Cluster
.PHONY: doctor cluster cluster-status down images vault binaries conformance
doctor: ## Say what this machine lacks; touches nothing
	@PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=cluster $(PYTHON) -m barberpro_cluster doctor

cluster: $(PREFLIGHT) setup ## Start the embedded Kubernetes (PROFILE=simulated: control plane with simulated nodes)
	@$(CLUSTER) --profile $(PROFILE) up

cluster-status: setup ## What runs of the embedded Kubernetes
	@$(CLUSTER) --profile $(PROFILE) status

down: ## Remove both clusters of this checkout (PROFILE=simulated: that one alone); the cache stays
	@if [ -e .embedded ] && [ ! -x $(CLUSTER_PYTHON) ]; then $(MAKE) setup; fi
	@if [ -x $(CLUSTER_PYTHON) ]; then $(CLUSTER) --profile $(PROFILE) down; else echo "There is no cluster of this checkout"; fi

images: doctor setup ## Build the images whose sources changed, for the cluster's registry (own cluster: for BARBERPRO_REGISTRY)
	@$(CLUSTER) images

vault: doctor setup ## Have Vault too, with a key for each tenant: the first time builds it (minutes); then make platform deploy
	@$(CLUSTER) vault

binaries: setup ## Build Kubernetes and its add-ons into the cache
	@$(CLUSTER) build

conformance: doctor setup ## The upstream NetworkPolicy tests against the policy agent (twenty minutes; the first time builds them)
	@$(CLUSTER) up
	@$(CLUSTER) conformance
