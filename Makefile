# Two commands on a fresh machine (Python 3.11+, git, make): `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
JOB    ?= serve

.PHONY: help setup demo test check audit bench fuzz redteam docs format services clean

help: ## Say what each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.base: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(UV) pip install --quiet --requirement requirements.lock
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.models: $(VENV)/.base scripts/models
	scripts/models
	@touch $@

setup: $(VENV)/.models ## Install everything into .venv

demo: setup ## The main job on real data and real models; KEEP=1 leaves it serving
	$(BIN)/python examples/demo.py $(if $(KEEP),--keep)

test: setup ## All tests; lists what was skipped and why
	scripts/test $(TESTS)

check: setup ## Lint (security too), format, types, imports, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python scripts/audit --tell

audit: setup ## Known vulnerabilities of the dependencies; fails where that cannot be told
	$(BIN)/python scripts/audit

bench: setup ## Measure us and our neighbours: make bench JOB=serve
	$(BIN)/python benchmarks/run.py $(JOB)

fuzz: setup ## Fuzz the parsers, guided by coverage: make fuzz SECONDS=60
	$(BIN)/python scripts/fuzz --seconds $(or $(SECONDS),60)

redteam: setup ## garak against the gateway, in an environment of its own; for a night, not CI
	scripts/redteam

docs: setup ## Write the reference in docs/ anew from the code
	$(BIN)/python scripts/docs

format: setup ## Format all code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

services: setup ## Start the servers that tests use
	scripts/services start

clean: ## Remove what was built
	rm -rf $(VENV) .bench .demo .services build dist
