# Everything from a machine with Python 3.9 or newer, pip and make. `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv/bin
# Processes that run the tests.
WORKERS ?= 2
READY := .venv/.complete
READY_FOR_TESTS := .venv/.complete-for-tests

# Each is tests/benchmarks/NAME.py and knows --small.
BENCHMARKS := local_server_latency server_fuzz client_overhead ranking_speed ranking_frappe cross_selection \
	planted_crosses online_retail index scaling \
	retrieval_gowalla search_chorus recommend_latency text_encoders text_cold_start

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bench-small lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## build .venv: Python 3.10 and the locked packages (again only when those change)

$(READY): setup.py requirements/lock.txt requirements/make_venv.py
	@PYTHON310="$(PYTHON310)" $(PYTHON) requirements/make_venv.py

$(READY_FOR_TESTS): $(READY) requirements/tests.txt
	@$(PYTHON) requirements/make_venv.py tests

demo: $(READY) ## from nothing to recommendations; ARGS="--rows 20000" for a smaller one
	@$(VENV)/crossrec demo $(ARGS)

test: $(READY_FOR_TESTS) ## run all tests; ARGS="tests/unit -x" to choose
	@$(VENV)/python -m pytest -q -n $(WORKERS) --no-loadscope-reorder $(ARGS)

lint: $(READY) ## ruff, formatting, types
	@$(VENV)/ruff check --quiet .
	@$(VENV)/ruff format --quiet --check . || { echo "not formatted: run $(VENV)/ruff format"; exit 1; }
	@MYPYPATH=.venv/typing $(VENV)/mypy --config-file pyproject.toml --no-error-summary \
		-p crossrec.components -p crossrec.pipeline -p crossrec.serving
	@echo "lint: fine"

bench: $(READY_FOR_TESTS) ## run every benchmark in full; each ends with one line of JSON
	@for name in $(BENCHMARKS); do echo "== $$name"; $(VENV)/python -m tests.benchmarks.$$name $(ARGS) || exit 1; done

bench-small: ## the same, small, as continuous integration does
	@$(MAKE) --no-print-directory bench ARGS=--small

lock: ## resolve setup.py into requirements/lock.txt, keeping what is locked; ARGS=--upgrade for the newest
	@$(PYTHON) requirements/make_venv.py lock $(ARGS)

clean: ## remove what make built: .venv, the demo, caches
	@rm -rf .venv .venv-tools .venv-setup.log demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
