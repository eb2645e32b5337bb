# `make` lists the targets. Everything happens inside this checkout, in .venv, from pinned and hashed requirements.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
.DEFAULT_GOAL := help
.PHONY: help demo test unit check format bench requirements clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/runtime: requirements/runtime.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/runtime requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: .venv/runtime ## harvest a simulated year into demo.db and show it
	@$(BIN)/harvester demo

test: .venv/dev ## all tests
	$(PYTEST)

unit: .venv/dev ## the fast tests: pure code only
	$(PYTEST) -q tests/unit

check: .venv/dev ## formatter, linter, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev ## put the code into shape
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

bench: .venv/dev ## measure speed as ratios; a table, no verdict
	$(BIN)/python -m bench

requirements: .venv/dev ## pin anew what requirements/*.in allow
	for set in runtime dev; do $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url requirements/$$set.in --output-file requirements/$$set.txt; done

clean: ## remove what make made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo.db*
