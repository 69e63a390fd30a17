# barberpro.platform: everything that a checkout does. `make help` lists the targets.
# State lives in .venv/, .embedded/ and reports/; every target can be run again after it was killed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Compiled modules are kept: without them a quarter of a deploy is spent on compiling Python.
unexport PYTHONDONTWRITEBYTECODE

TENANT ?= barbershop-palermo
# The distribution's interpreter where it is new enough: it is built with profile-guided optimisation, a sixth less of processor time for a playbook.
DISTRIBUTION := /usr/bin/python3
PYTHON ?= $(shell $(DISTRIBUTION) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(DISTRIBUTION) || echo python3)
PYTHON := $(PYTHON)
# Of `make test`: two more use what two leave of two cores while they wait for pods.
WORKERS ?= 4
# Whether `make test` takes the tests marked slow too, as before a release.
SLOW ?=
# Of `make postgresql`: newer than Debian's.
POSTGRESQL ?= 16.9.0 17.5.0 18.0.0
STEP := $(PYTHON) demo/step.py
BIN := .venv/bin
PLAYBOOK := $(BIN)/ansible-playbook -i inventories/embedded
PYTEST := $(BIN)/python -m pytest -c pyproject.toml --rootdir .
COLLECTION := .venv/collections/ansible_collections/barberpro/platform

# cluster, down, images, doctor: the embedded Kubernetes. PROFILE=simulated starts the one without nodes.
include cluster/cluster.mk
# Measurements and comparisons with other programs.
include benchmarks/benchmarks.mk

##@ The two commands
.PHONY: demo test
demo: doctor setup ## From a bare machine to a barbershop that serves over HTTPS
	@$(MAKE) cluster images platform deploy
	@$(BIN)/python demo/summary.py $(TENANT)

test: doctor setup setup-test ## Every layer's tests, side by side; with SLOW=1 those that take minutes too. Ends with pytest's summary
	@$(MAKE) cluster vault platform
	@$(MAKE) cluster PROFILE=simulated
	@$(STEP) "All tests" -- $(PYTEST) --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder --verbose --durations=25 \
		--cov --cov-report=term --cov-fail-under=90 \
		$(if $(SLOW),,-m "not slow") tests/lint tests/unit services tests/integration tests/molecule tests/e2e
	@for part in plugins services; do said=$$($(BIN)/coverage report --include="$$part/*" --fail-under=90 2>&1) || { echo "$$said"; exit 1; }; done

##@ Environment
.PHONY: setup setup-test
setup: .venv/.ready ## Python environment from requirements.lock, and the link that makes this checkout a collection

.venv/.ready: requirements.lock debian-packages.txt
	@$(STEP) "Debian packages" -- demo/install-packages debian-packages.txt
	@$(call venv,.venv,requirements.lock)
	@mkdir -p $(dir $(COLLECTION)) && ln -sfnT $(CURDIR) $(COLLECTION)
	@touch $@

setup-test: setup .venv-2.18/.ready ## What only the tests need: a browser, a second environment with ansible-core 2.18
	@$(STEP) "Packages of the tests" -- demo/install-packages tests/debian-packages.txt

.venv-2.18/.ready: requirements-2.18.lock
	@$(call venv,.venv-2.18,requirements-2.18.lock)
	@mkdir -p .venv-2.18/collections/ansible_collections/barberpro
	@ln -sfnT $(CURDIR) .venv-2.18/collections/ansible_collections/barberpro/platform
	@touch $@

##@ Operations on the embedded cluster
.PHONY: platform deploy rollback status for-tests
for-tests: setup ## Refuse an own cluster that does not say that it is for tests
	@[ -z "$${BARBERPRO_KUBECONFIG:-}" ] || $(MAKE) cluster-status

platform: setup for-tests ## What tenants share: CRDs, policies, gateway, PostgreSQL, monitoring
	@$(STEP) "Platform" -- $(PLAYBOOK) deploy_platform.yml

deploy: setup for-tests ## Deploy TENANT (default barbershop-palermo)
	@$(STEP) "Tenant $(TENANT)" -- $(PLAYBOOK) deploy_vertical.yml --limit $(TENANT)

rollback: setup for-tests ## Return TENANT to revision TO
	@$(STEP) "Tenant $(TENANT)" -- $(PLAYBOOK) rollback_vertical.yml --limit $(TENANT) -e to_revision=$(TO)

status: setup ## All tenants at a glance
	@$(PLAYBOOK) status.yml

##@ Tests, layer by layer
.PHONY: lint sanity unit integration molecule e2e crash crash-deploys plans external-vault postgresql one
lint: setup-test ## ruff, mypy, yamllint, ansible-lint, changelog, and the rules of this repository
	@$(STEP) "Lint" -- $(PYTEST) tests/lint tests/unit/quality --deselect tests/lint/test_sanity.py

sanity: setup ## ansible-test sanity on a copy of the tracked files
	@$(STEP) "Sanity" -- $(PYTEST) tests/lint/test_sanity.py

unit: setup-test ## Unit tests of plugins and services
	@$(STEP) "Unit tests" -- $(PYTEST) tests/unit services

integration: setup-test ## Against the simulated cluster
	@$(MAKE) cluster PROFILE=simulated
	@$(STEP) "Integration tests" -- $(PYTEST) -m "not cluster" tests/integration

molecule: setup ## The scenarios default and rollback, on the embedded cluster
	@$(STEP) "Molecule" -- $(PYTEST) tests/molecule

e2e: setup-test ## Customers, failures and intruders, on the embedded cluster (after make vault platform)
	@$(STEP) "End-to-end tests" -- $(PYTEST) --verbose -m cluster tests/e2e tests/integration

crash: setup ## Kill a run at every one of its writes, on the simulated cluster (make test tries some of the points)
	@$(MAKE) cluster PROFILE=simulated
	@BARBERPRO_CRASH_STRIDE=1 $(STEP) "Killed at every write" -- $(PYTEST) --verbose tests/integration/plugins/test_transaction.py tests/integration/plugins/test_killed.py tests/integration/plugins/test_fleet.py tests/integration/plugins/test_fleet_recover.py

plans: setup ## Compare 500 generated plans with the runs that follow, on the simulated cluster (make test tries some)
	@$(MAKE) cluster PROFILE=simulated && BARBERPRO_PLANS=500 $(STEP) "Generated plans" -- $(PYTEST) --verbose tests/integration/plugins/test_plan.py

external-vault: setup-test ## A tenant of a platform that uses an existing Vault (after make vault platform); no other tenant may be at work
	@$(STEP) "A Vault that was there before" -- $(PYTEST) --verbose tests/e2e/external_vault.py

crash-deploys: setup ## Kill a playbook, or take away what it needs, after every write of its journal (after make vault platform; make test SLOW=1 tries some)
	@BARBERPRO_CRASH_STRIDE=1 $(STEP) "After every write of the journal" -- $(PYTEST) --verbose tests/e2e/test_44_killed.py tests/e2e/test_42_outages.py

# Not what restores: the archives have a server and no pg_dump, and Debian's refuses newer servers.
postgresql: setup-test ## What runs against a database, once more on PostgreSQL 16, 17 and 18 (POSTGRESQL="16.9.0 ..." names others)
	@$(STEP) "Debian packages of the tests" -- demo/install-packages tests/support/postgresql-packages.txt
	@for version in $(POSTGRESQL); do tests/support/with-postgresql $$version $(STEP) "PostgreSQL $$version" -- $(PYTEST) tests/integration/gate tests/integration/services --ignore tests/integration/services/test_restore.py; done

one: ## One test in seconds, on what is up already: make one T=tests/e2e/test_20_refusals.py
	@$(PYTEST) --verbose $(T)

##@ Release
.PHONY: build lock clean help
build: setup ## Build the collection, install it elsewhere and resolve its playbooks by name
	@$(STEP) "Collection" -- $(PYTEST) tests/lint/test_build.py

lock: ## Pin the Python packages anew, from pyproject.toml and requirements-2.18.in
	@$(BIN)/uv pip compile pyproject.toml --group services --group test $(LOCK) -o requirements.lock
	@$(BIN)/uv pip compile requirements-2.18.in $(LOCK) -o requirements-2.18.lock

clean: ## Remove what tests and builds leave (not the cluster: make down; not the environment)
	@rm -rf dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Recipes that more than one target needs.
LOCK := --quiet --universal --generate-hashes --python-version 3.11

# $(call venv,FOLDER,LOCK): exactly the packages of LOCK, verified by their hashes; uv comes first, because it takes seconds.
define venv
$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; PYTHON=... names another one")'
$(STEP) "Environment $(1)" -- $(PYTHON) -m venv --clear $(1)
awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(1)/uv.txt
$(STEP) "Python packages of $(1): installer" -- $(1)/bin/python -m pip install --quiet --require-hashes -r $(1)/uv.txt
$(STEP) "Python packages of $(1)" -- $(1)/bin/uv pip install --quiet --python $(1)/bin/python --require-hashes -r $(2)
endef
