# Every target sets up its own environment in .venv when there is none; the second run is quick.
PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq -c constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Matrices here are small: threads of the linear algebra library would only get in each other's way.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# The core environment holds what a user gets and nothing else. The other two contain it.
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs

# $(call install,EXTRAS): the package in place, pinned. The build tool is pinned too, and is
# therefore not fetched anew for each build.
define install
	@echo "Setting up $(VENV)$(if $(1), with $(1)) (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit("colocate needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation -e '.$(1)'
endef

.DEFAULT_GOAL := help
.PHONY: help demo test test-deep coverage lint format docs bench bench-models bugs wheel-test gpu-check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(CORE): pyproject.toml constraints.txt
	$(call install,)
	@touch $@

$(DEV): pyproject.toml constraints.txt
	$(call install,[dev])
	@touch $(CORE) $@

$(DOCS): pyproject.toml constraints.txt
	$(call install,[docs])
	@touch $(CORE) $@

demo: $(CORE)  ## solve the bundled quickstart instance, check the plan, write a report
	@echo "Solving the bundled quickstart instance ..."
	@mkdir -p build/demo
	$(BIN)/colocate datasets get quickstart -o build/demo/quickstart.json --force
	$(BIN)/colocate solve build/demo/quickstart.json -o build/demo/plan.json --report build/demo/report.html
	$(BIN)/colocate verify build/demo/quickstart.json build/demo/plan.json
	$(BIN)/colocate show build/demo/plan.json
	@echo "Plan:   build/demo/plan.json"
	@echo "Report: build/demo/report.html (open it in a browser)"

test: $(DEV)  ## run the tests
	@echo "Running the tests on $(WORKERS) workers ..."
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal

test-deep: $(DEV)  ## run the tests with many more examples, and the slow ones
	@echo "Running the deep tests on $(WORKERS) workers ..."
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal --deep

coverage: $(DEV)  ## run the tests and print what they do not reach
	@echo "Running the tests with coverage ..."
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report=term-missing:skip-covered

lint: $(DEV)  ## check style, spelling and types
	@echo "Checking style, spelling and types ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/codespell
	@$(BIN)/mypy

format: $(DEV)  ## format the code and mend what can be mended safely
	@echo "Formatting ..."
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format .

docs: $(DOCS)  ## build the documentation; a warning is an error
	@echo "Building the documentation ..."
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "Documentation: docs/_build/html/index.html"

bench: $(DEV)  ## run the benchmarks
	@echo "Running the benchmarks ..."
	@$(BIN)/python benchmarks/run.py

bench-models: $(DEV)  ## run the benchmarks of the models on public data: DATA=folder
	@echo "Running the benchmarks of the models ..."
	@$(BIN)/python -m benchmarks.models $(DATA)

bugs: $(DEV)  ## plant one bug at a time and see whether the tests notice
	@echo "Planting bugs, $(WORKERS) at a time ..."
	@$(BIN)/python benchmarks/planted_bugs.py --jobs $(WORKERS)

# The tests are copied away, so that nothing can import the working tree by accident.
wheel-test: $(DEV)  ## build the wheel, install it in a fresh environment, test that
	@echo "Building the wheel and testing it away from this tree ..."
	@rm -rf build/wheel
	@$(BIN)/python -P -m hatchling build -t wheel -d build/wheel >/dev/null
	@set -eu; \
	away=$$(mktemp -d); trap 'rm -rf "$$away"' EXIT; \
	$(PYTHON) -m venv "$$away/venv"; \
	wheel=$$(ls build/wheel/*.whl); \
	"$$away/venv/bin/python" -m pip install -qq -c constraints.txt "$$wheel[dev]"; \
	cp -R tests benchmarks examples docs *.md pyproject.toml "$$away/"; \
	cd "$$away"; \
	venv/bin/python -c 'import colocate, sys; p = colocate.__file__; print("testing", p); sys.exit("site-packages" not in p)'; \
	venv/bin/pytest -q -n $(WORKERS) --dist worksteal

# No environment of its own: where there is a GPU there is a Python with PyTorch, and often no network.
OUT ?= build/gpu-check
FLAGS ?=
gpu-check:  ## show on a GPU what only a GPU can show: PYTHON=..., OUT=folder, FLAGS=--allow-root
	@$(PYTHON) -m colocate.executor.gpu_check --out '$(OUT)' $(FLAGS)

clean:  ## remove everything that make made, .venv included
	@echo "Removing $(VENV), build output and caches ..."
	@rm -rf $(VENV) build dist docs/_build .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* htmlcov
	@find colocate tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +
