# Pier: the commands of everyday work. `make help` lists them. Everything that has more than a line lives in scripts/.
PYTHON ?= python3
VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest
# Test files run side by side, one more than there are cores: many wait; in the order of tests/conftest.py. JOBS=0 runs them one after another.
JOBS ?= $(shell echo $$(($$(nproc) + 1)))
SPREAD := -n $(JOBS) --dist loadfile --no-loadscope-reorder
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run stop setup test check bench vm-test vm-test-all compat-reference lock names

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 24

run: ## install what is needed, start the daemon, run hello-world and a busybox
	@scripts/setup run
	@scripts/run

stop: ## end what `make run` started: containers, daemon, helpers
	@scripts/stop

setup: ## install what the tests need, nothing else
	@scripts/setup test

test: ## everything, as CI runs it (root, 25 minutes at most)
	@scripts/setup test
	@scripts/peers
	$(PYTEST) $(SPREAD) tests
	$(PYTEST) $(SPREAD) tests/compat --docker $(CURDIR)/$(VENV)/pier

check: ## what needs no root, under a minute
	@scripts/setup check
	$(PYTEST) $(SPREAD) tests/unit tests/repo

vm-test: ## the smoke suite inside Debian's stock kernel (6.1) in qemu
	@scripts/setup test
	$(PYTEST) tests/vm -s

vm-test-all: ## the same inside 5.10, 6.1, 6.12 and the newest kernel, one after another, and SELinux in one
	@scripts/setup test
	PIER_VM_SUITES="bullseye bookworm trixie sid" $(PYTEST) tests/vm -s

compat-reference: ## prove the compat tests on the reference dockerd
	@scripts/setup test
	@scripts/peers
	$(PYTEST) tests/compat --target reference

bench: ## every hot path beside Docker and Podman in one run; BENCH="run exec" picks, BENCH_ROUNDS=N
	@scripts/setup test
	@scripts/peers
	$(VENV)/python -m benchmarks $(BENCH)

lock: ## make requirements/*.txt anew from requirements/*.in
	@scripts/lock

names: ## write tests/repo/public_names.txt anew, to be read in review
	$(VENV)/python -m tests.repo.public_names
