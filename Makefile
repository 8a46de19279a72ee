# One virtual environment for everything; `make setup` is quick and silent when it is up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test test-slow test-integrations test-all matrix nightly lint docs lock clean

help:
	@echo "make demo               run the superheroes pipeline on the snapshot and show what came of it"
	@echo "make test               run the fast tests, in under 5 minutes (on PostgreSQL and MariaDB where code branches)"
	@echo "make test-slow          run the slow tests"
	@echo "make test-integrations  run the tests that need environments of their own"
	@echo "make test-all           run all of these tests, in under 25 minutes"
	@echo "make matrix             run all tests on each Python from 3.11 to 3.14 that is there"
	@echo "make nightly            random pipelines against an oracle, runs killed by the thousand, runners that race (hours)"
	@echo "make lint               ruff and mypy"
	@echo "make docs               the documentation as a site, in the folder site"
	@echo "make lock               pin the newest versions of all dependencies (needs uv)"

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ozelot needs Python 3.11 or newer: make setup PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	@$(BIN)/python examples/superheroes/manage.py demo

# Each process works through files that follow each other, so that what a file sets up once is not set up twice.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist worksteal

# CONTRIBUTING.md says which test belongs where.
test: setup
	@$(PYTEST) -m "not slow and not integrations"

test-slow: setup
	@$(PYTEST) -m "slow and not integrations"

# pytest exits with 5 when there is no such test.
test-integrations: setup
	@$(BIN)/python -m pytest -q -m integrations || { [ $$? = 5 ] && echo "There are no integration tests yet."; }

test-all: setup
	@$(PYTEST)

matrix:
	@.ci/matrix

nightly: setup
	@OZELOT_TEST_NIGHTLY=1 $(BIN)/python -m pytest -q -n 2 tests/etl/test_machine.py tests/etl/test_inheritance_machine.py tests/test_testing.py tests/schema tests/crash tests/engine tests/orm tests/fidelity tests/frames_matrix
	@$(BIN)/python -m tests.race --runners 8 --rounds 4 --tasks 200 --database all
	@$(BIN)/python -m tests.crash --kills 1000 --database all
	@$(BIN)/python -m tests.crash --kills 100 --database all --pipeline superheroes
	@$(BIN)/python -m tests.crash --kills 200 --database all --attack clear
	@$(BIN)/python -m tests.crash --kills 200 --database all --attack cut

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# In an environment of its own: what the package needs must not be held back by what builds pages.
docs: $(VENV)-docs/.installed
	@$(VENV)-docs/bin/python -m sphinx -q -c docs -b html -W --keep-going . site
	@echo "site/docs/site/index.html"

$(VENV)-docs/.installed: pyproject.toml docs/requirements.txt
	@echo "Setting up $(VENV)-docs ..."
	@$(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt -e '.[all]'
	@touch $@

lock:
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --upgrade --custom-compile-command "make lock" -q -o requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-* site .mypy_cache .pytest_cache .ruff_cache dist build
