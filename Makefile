# `python` in the stages is the one of .venv, whether it is activated or not.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3
# What the user has set for other Pythons, and a login shell that runs nothing (DVC runs the stages by it).
unexport $(filter PYTHON%,$(.VARIABLES))
export SHELL := /bin/sh

.PHONY: all results test test-fast reproduce portability lint format ui lock clean help compare screenshots plots-page bench
.DEFAULT_GOAL := all

all: .venv/installed  ## Build .venv, run the pipeline, show the results
	@test -e .git || dvc config --local core.no_scm true  # a downloaded archive has no git
	@python tools/verify.py
	@dvc repro
	@$(MAKE) --no-print-directory results

results:  ## Show the results, and what to type next
	@awk '/^\|/ {print; table = 1; next} table {exit}' reports/README.md
	@printf '%s\n' '' \
	  'Look at     reports/report.html' \
	  'Compare     make compare, make ui' \
	  'Experiment  . .venv/bin/activate && dvc exp run -S train_mlp.hidden_units=20'

test: .venv/installed  ## Run all the tests
	@pytest

test-fast: .venv/installed  ## Run the tests that need no pipeline (some seconds)
	@pytest -m "not slow"

reproduce: .venv/installed  ## Rebuild everything from nothing, and compare it with dvc.lock
	@python tools/reproduce.py

portability: .venv/installed  ## Compare the bytes on emulated CPUs and with other NumPys (five minutes and the downloads; see docs/portability.md)
	@python tools/portability.py

lint: .venv/installed  ## Check style and common mistakes
	@ruff check .
	@ruff format --check .

format: .venv/installed  ## Put the code in the one format
	@ruff check --fix .
	@ruff format .

ui: .venv/installed  ## Open the runs in the MLflow UI, on this machine only
	@python src/bridge || true
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false PYTHONWARNINGS='ignore:starlette.middleware.wsgi is deprecated' \
	  mlflow ui --host 127.0.0.1 --workers 1

lock: .venv/installed  ## Write requirements.lock anew from pyproject.toml
	@uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --group dev pyproject.toml --output-file requirements.lock

compare: .venv/installed  ## Show the experiments side by side, on one page
	@python src/compare

screenshots: .venv/installed  ## Take the README's screenshots again (needs chromium)
	@python tools/screenshots.py

plots-page:  ## Write the page of dvc plots anew, with Vega in it (needs npm)
	@python3 tools/plots_page.py

bench: .venv/installed  ## Measure time and memory anew (a quarter of an hour, on a quiet machine)
	@python benchmarks/bench.py

clean:  ## Remove what can be made again: environment, data, runs (not DVC's cache)
	rm -rf .venv .venv-bench data mlflow.db mlruns

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo 'Building .venv (some minutes)'
	@$(PYTHON) -m venv .venv
	@PIP_USER=0 .venv/bin/python -m pip install --quiet --disable-pip-version-check --compile \
	  --require-hashes --requirement requirements.lock
	@test -x .venv/bin/dvc || { echo 'pip has installed elsewhere: see target, prefix, root in "pip config list"'; exit 1; }
	@touch .venv/installed
