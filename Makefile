# The commands of this project. Each sets up what it needs (in .venv) and is quiet and quick the second time.
#
#   VENV=...   use an environment of your own, as it is, instead of .venv
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export VENV ?= .venv
# Ray starts a dozen Python processes. Where each compiles what it imports, a server takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE
bin := $(VENV)/bin

# `make serve PORT=9002` is `SAM3_PORT=9002 make serve`: every setting can come from the environment.
MODEL ?= $(SAM3_MODEL)
PORT ?= $(SAM3_PORT)

# Tests that need no cluster, and leave each other alone.
quick := tests/unit tests/contract

drills := $(patsubst tests/drill/test_%.py,%,$(wildcard tests/drill/test_*.py))

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: serve
serve: ## Install and start the server on port 9001 (MODEL=tiny|sam3, PORT=..., WORKFLOWS=1); Ctrl-C stops it
	@scripts/setup $(if $(WORKFLOWS),workflows)
	@$(if $(WORKFLOWS),SAM3_WORKFLOWS=true )$(if $(MODEL),SAM3_MODEL='$(MODEL)' )$(if $(PORT),SAM3_PORT='$(PORT)' )exec $(bin)/sam3-serve up

.PHONY: test
test: ## Lint, types, import rule and the tests, as CI does
	@scripts/setup test
	@mkdir -p build; scripts/lint >build/lint.log 2>&1 & lint=$$!; trap 'kill $$lint 2>/dev/null || true' EXIT; \
		scripts/test $(quick) --numprocesses 2; wait $$lint || { cat build/lint.log; exit 1; }
	@scripts/test $(addprefix --ignore ,$(quick)) --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: drill
drill: ## Try faults, scale, load and installing on real processes, half an hour or more (ONLY=chaos: one of tests/drill)
	@$(if $(filter-out $(drills),$(ONLY)),echo 'ONLY is one of: $(drills)' >&2; exit 2)
	@scripts/setup test
	@scripts/test tests/drill$(if $(ONLY),/test_$(ONLY).py) --capture=no

.PHONY: unit
unit: ## The unit tests alone: no Ray, two at a time
	@scripts/setup test
	@scripts/test tests/unit --numprocesses 2

.PHONY: lint
lint: ## Style, types and the import rule (FIX=1 repairs style)
	@scripts/setup test
	@scripts/lint $(if $(FIX),--fix)

.PHONY: eval
eval: ## Measure the bundled model on plain and on held-out scenes
	@scripts/setup train
	@$(bin)/python -m training.evaluate

.PHONY: train
train: ## Train the model on drawn scenes, from scratch or on from the last state; then write and measure it
	@scripts/setup train
	@$(bin)/python -m training.train
	@$(bin)/python -m training.export
	@$(bin)/python -m training.evaluate

.PHONY: loadtest
loadtest: ## Load a server and write a report (SCENARIO=mixed DURATION=60 URL=...; without URL one is started)
	@scripts/setup loadtest
	@$(bin)/python -m loadtest.run --scenario '$(or $(SCENARIO),mixed)' --duration '$(or $(DURATION),60)' \
		$(if $(URL),--url '$(URL)')

.PHONY: bench
bench: ## Measure the engine against the sam3 package's own path, labelling a folder, and tracking; the report lands in reports/
	@scripts/setup loadtest label
	@$(bin)/python -m bench.run

.PHONY: kind
kind: ## Try the chart on a Kubernetes of your own, in Docker: a request, a drain, an upgrade, a rollback (KEEP=1 keeps it)
	@scripts/kind

.PHONY: gpu-check
gpu-check: ## Check answers and measure speed on one GPU, in ten minutes at most; the report lands in reports/ (ARGS='--device cpu --model tiny')
	@scripts/gpu-check $(ARGS)

.PHONY: setup
setup: ## Only install: .venv with the server and the test tools
	@scripts/setup test

.PHONY: lock
lock: ## Write constraints.txt anew from pyproject.toml (UPGRADE=1 takes the newest of everything)
	@scripts/setup
	@scripts/lock $(if $(UPGRADE),--upgrade)
