# Everything one does with Stockgate, by name. `make` alone lists it.
#
# .venv is made with $(PYTHON) and kept up to date with pyproject.toml; two stamps in it say
# what it holds: `.run` the gateway, `.dev` also the tools that check and test it.

PYTHON   ?= python3
SCENARIO ?= flash
ARGS     ?=

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV    := .venv
VENV_LT := .venv-loadtest
BIN     := $(VENV)/bin
PIP     := -m pip --disable-pip-version-check --quiet install

# Where the machine has no redis-server, .ci/prepare puts a link to one into the environment.
# Only these look there: what `make run` says to paste must work with the user's own PATH.
test bench loadtest soak: export PATH := $(PATH):$(CURDIR)/$(BIN)

.PHONY: help run test check format bench loadtest soak clean redis postgres

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS='…' is handed on by test, bench, loadtest and soak; PYTHON=… chooses the interpreter (3.11 or later)."

run: $(VENV)/.run ## start the gateway on 127.0.0.1:8080 with a demo catalogue; Ctrl-C drains and stops it
	@exec $(BIN)/stockgate serve --config demo/stockgate.toml

test: check redis postgres ## check, then run every test except the soak
	$(BIN)/pytest --ignore=tests/tidy $(ARGS)

check: $(VENV)/.dev ## format, lint, types, layers, tidiness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/tidy

format: $(VENV)/.dev ## rewrite the code as `make check` wants it, where that can be done safely
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/.dev redis postgres ## measure speed and memory as ratios of one run
	$(BIN)/python -m loadtests.bench $(ARGS)

loadtest: $(VENV_LT)/.loadtest redis ## load a private gateway with Locust, then give a verdict: SCENARIO=flash
	$(VENV_LT)/bin/python -m loadtests.run $(SCENARIO) $(ARGS)

soak: $(VENV)/.dev redis postgres ## the long tests, under faults
	STOCKGATE_SOAK=1 $(BIN)/pytest -m soak $(ARGS)

clean: ## remove environments, builds and caches; .stockgate (your data) stays
	rm -rf $(VENV) $(VENV_LT) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# ── environments ─────────────────────────────────────────────────────────────

redis: $(VENV)/.dev
	@.ci/prepare redis $(BIN)

postgres:
	@.ci/prepare postgres

$(VENV)/bin/python:
	@.ci/prepare python $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) (about half a minute, once)…"
	$(BIN)/python $(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python $(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV_LT)/.loadtest: pyproject.toml
	@.ci/prepare python $(PYTHON)
	test -x $(VENV_LT)/bin/python || $(PYTHON) -m venv $(VENV_LT)
	$(VENV_LT)/bin/python $(PIP) --editable '.[loadtest]'
	@touch $@
