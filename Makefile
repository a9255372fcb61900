# Two commands need nothing else: `make demo` and `make test`. Both do all set-up first.
SHELL := /bin/bash
PY := .venv/bin/python
ENV := source scripts/env.sh
PURE := not spark and not model and not ray and not submit and not chaos and not gpu and not slow
PROFILE ?= laptop

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all chaos check format doctor dist bundle lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

setup:  ## everything that needs the network: .venv, Delta jars, Qwen weights (seconds when done before)
	@scripts/bootstrap.sh

demo: setup  ## the main job, simulate to publish, on the laptop profile
	@$(ENV) && ppsehr run --profile $(PROFILE)

test: setup  ## every promise by a case, every kind of fault once: pure tests, then those that start engines
	@$(ENV) && $(PY) -m pytest -n 2 --dist loadfile -m "$(PURE)"
	@$(ENV) && $(PY) -m pytest -n 2 --dist loadfile --durations 40 -m "not ($(PURE)) and not full_chaos and not exhaustive"

test-all: setup  ## make test and everything it shortens: long forms, every crash point, every fault (before a release)
	@$(ENV) && $(PY) -m pytest -n 2 --dist loadfile -m "$(PURE)"
	@$(ENV) && PPSEHR_CHAOS=full $(PY) -m pytest --durations 40 -m "not ($(PURE))"

chaos: setup  ## every fault there is a test for (make test runs a short set)
	@$(ENV) && PPSEHR_CHAOS=full $(PY) -m pytest --durations 20 -m "chaos or full_chaos"

check:  ## format, lint, types of the core, import rules, pure tests (about four minutes)
	@scripts/bootstrap.sh --packages-only
	@$(ENV) && ruff format --check . && ruff check . && mypy && lint-imports && $(PY) -m pytest -q -n 2 --dist loadfile -m "$(PURE)"

format:  ## rewrite files in the house format
	@$(ENV) && ruff format . && ruff check --fix .

doctor:  ## what this machine lacks, and how to mend it
	@$(ENV) && ppsehr doctor

dist:  ## wheel for hosts, and the same content as a zip for spark-submit --py-files
	@$(ENV) && $(PY) scripts/build_dist.py

bundle: setup  ## one folder for a host without internet: packages, jars, weights, installer (BUNDLE=--without-model)
	@$(ENV) && $(PY) scripts/build_bundle.py $(BUNDLE)

lock:  ## resolve requirements/packages.in again, keeping pins that still fit
	@scripts/lock.sh

clean:  ## caches and build outputs; weights, jars, .venv and the lake stay
	@rm -rf dist build .cache/mypy .cache/pytest .ruff_cache .import_linter_cache .mypy_cache .pytest_cache
	@find ppsehr_spark ray_actors jobs scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
