# Every command sets itself up: a virtual environment in .venv with the versions of constraints.txt. The second run
# finds it ready.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

READY := .venv/.ready
RUN := .venv/bin/python
# How many processes share the tests; 0 is this one alone.
WORKERS ?= 2
export AIRFLOW_HOME := $(CURDIR)/.airflow/home
export AIRFLOW__CORE__LOAD_EXAMPLES := False

# A virtual environment or an Airflow of the caller's must not leak in.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME UV_PROJECT_ENVIRONMENT

.PHONY: help demo test coverage test-compat check bench constraints clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 20

demo: $(READY) ## collect a slow and flaky local API with Airflow, and prove that the dataset is complete
	$(RUN) demo/run.py

test: $(READY) ## the whole test suite
	.ci/install-node-packages
	$(RUN) -m pytest -n $(WORKERS) $(ARGS)

# Not part of `test`: on Python 3.11, tracing fails now and then where threads start at once ("Cannot install a trace
# function while another trace function is being installed").
coverage: $(READY) ## the test suite again, with the lines that it reaches
	.ci/install-node-packages
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest -n $(WORKERS) $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

test-compat: $(READY) ## the wheel beside each supported Airflow as released; ARGS=--ends for the oldest and the newest
	$(RUN) .ci/compat $(ARGS)

check: $(READY) ## linters, types, import contracts, known vulnerabilities, and the wheel in a clean environment
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports
	$(RUN) .ci/audit
	.ci/check-wheel

bench: $(READY) ## CPU, wall time and memory against the plain recipe and HttpOperator
	$(RUN) benchmarks/run.py

constraints: $(READY) ## resolve constraints.txt anew
	$(RUN) -m uv pip compile --quiet --system-certs --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		pyproject.toml --all-extras --group dev --output-file constraints.txt

clean: ## remove whatever these commands made
	rm -rf .venv .airflow .demo .bench .node build dist .coverage .coverage.* htmlcov \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt .ci/install .ci/pip-install .ci/uv-pip
	.ci/install
	@touch $@
