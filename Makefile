# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Needed beforehand: Python 3.11+ with venv, make, and libgomp1 (Debian: apt-get install python3-venv make libgomp1).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Two threads a library: the same on a laptop, in the tests and in CI.
export OMP_NUM_THREADS ?= 2
export MKL_NUM_THREADS ?= 2
export OPENBLAS_NUM_THREADS ?= 2
export NUMEXPR_NUM_THREADS ?= 2
# Threads that wait sleep: on a busy machine spinning ones make LightGBM ten times slower.
export OMP_WAIT_POLICY ?= passive
export POLARS_MAX_THREADS ?= 2
export DAGSTER_DISABLE_TELEMETRY ?= yes
export MLFLOW_DISABLE_TELEMETRY ?= true
export DO_NOT_TRACK ?= 1

.PHONY: help install demo ui test test-slow check bench docs clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 install")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

install: $(VENV)/.installed ## .venv from the lock

demo: install ## the whole graph on the simulated market, then a table of results
	$(BIN)/crypto-assets demo $(ARGS)

ui: install ## Dagster, its daemon, MLflow and (for a sandbox lake) the sandbox, until Ctrl-C
	$(BIN)/crypto-assets ui $(ARGS)

# Two workers of one thread: the same cores, in half the time.
test test-slow: export OMP_NUM_THREADS := 1
test test-slow: export MKL_NUM_THREADS := 1
test test-slow: export OPENBLAS_NUM_THREADS := 1
test test-slow: export POLARS_MAX_THREADS := 1

test: install ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: install ## the slow tests too, as CI runs them
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long" $(ARGS)

check: install ## ruff, types, import rules, definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate -w workspace.yaml

bench: install ## every benchmark; results go to benchmarks/results
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

docs: install ## regenerate the generated pages
	$(BIN)/crypto-assets features docs
	$(BIN)/crypto-assets sources docs

clean: ## remove the environment, the caches and the demo's lake
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
	find data_lake -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
