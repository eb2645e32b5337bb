# `make` lists the targets. Everything stays inside this checkout, in .venv, from pinned and hashed requirements.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Most tests wait for processes or for short quota windows: in parallel they take half the time.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile
NEEDED := import sys; v = sys.version_info; v < (3, 11) and sys.exit( \
  "Python 3.11 or newer is needed; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v[:2])
# Compiled modules are stored, also where the environment says otherwise: without them the fast tests take twice as long.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help demo test unit check format reference bench prove slow fuzz simulation soak requirements clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp per set: a change of versions makes a new environment, a change of metadata takes two seconds.
.venv/runtime: requirements/runtime.txt
	@$(PYTHON) -c '$(NEEDED)'
	@echo "Setting up .venv, once; this takes about a minute"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes -r requirements/runtime.txt
	@touch $@

.venv/package: .venv/runtime pyproject.toml
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/package requirements/dev.txt
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# No stamp where atheris has no wheel: the fuzz then runs without it and says so.
.venv/fuzz: .venv/dev requirements/fuzz.txt
	@$(PIP) --only-binary :all: --require-hashes -r requirements/fuzz.txt && touch $@ || true

demo: .venv/package ## backfill a simulated year into demo.db and show it
	@$(BIN)/harvester demo

test: .venv/dev ## run all tests
	@$(PYTEST)

unit: .venv/dev ## run the fast tests: pure code only
	@$(PYTEST) -q --dist worksteal tests/unit

check: .venv/dev ## run formatter, linter, type checker and import contracts; silent if all pass
	@$(BIN)/ruff format --quiet --check . || { echo "not formatted (make format):"; $(BIN)/ruff format --check .; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@found=$$($(BIN)/lint-imports --no-logo) || { echo "$$found"; exit 1; }

format: .venv/dev ## format the code and apply safe fixes
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

reference: .venv/dev ## write docs/reference.md and the comments of config.example.toml from the program
	@$(BIN)/python -m tests.support.reference

bench: .venv/dev ## measure speed as ratios; prints a table, no pass or fail
	@$(BIN)/python -m bench

prove: $(if $(SEEDS),simulation,slow fuzz simulation soak) ## run the long proofs; MINUTES= limits fuzz, simulation and soak, SEEDS=7,100-199 repeats seeds

slow: .venv/dev
	@$(PYTEST) -m "slow or hypothesis" --hypothesis-profile thorough

fuzz: .venv/fuzz
	@$(BIN)/python -W error -m tests.proof.fuzz_guided --inputs $(or $(INPUTS),1000000) --minutes $(or $(MINUTES),0)

simulation: .venv/dev
	@$(BIN)/python -W error -m tests.proof.prove $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES))

soak: .venv/dev
	@$(BIN)/python -W error -m tests.proof.soak $(if $(MINUTES),--minutes $(MINUTES))

requirements: .venv/dev ## pin the newest versions that requirements/*.in allow
	for set in runtime dev fuzz; do $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url requirements/$$set.in --output-file requirements/$$set.txt || exit; done

clean: ## remove everything that make created
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .import_linter_cache demo.db*
