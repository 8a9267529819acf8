# The stages run `python`. This makes it the one in .venv, whether .venv is activated or not.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3
# Ignore the user's settings for other Pythons and shells. DVC runs the stages with $SHELL, which may
# be a login shell that runs nothing.
unexport BASH_ENV $(filter PYTHON%,$(.VARIABLES))
export SHELL := /bin/sh

.PHONY: all results test test-fast test-more reproduce lint format ui compare lock bench clean help
.DEFAULT_GOAL := all

all: .venv/installed  ## Build .venv, run the pipeline, show the results
	@test -e .git || dvc config --local core.no_scm true  # a downloaded archive has no Git
	@python tools/verify.py
	@bash -o pipefail -c 'dvc repro | sed "/^Use .dvc push. /d"'  # there is no remote to push to
	@$(MAKE) --no-print-directory results

results:  ## Show the results, and suggest what to do next
	@python tools/results.py

test: .venv/installed  ## Run the tests (about ten minutes)
	@pytest -n auto --maxprocesses 8 --dist loadgroup

test-fast: .venv/installed  ## Run the tests that need no pipeline (15 seconds)
	@pytest -n auto --maxprocesses 8 -m "not slow"

test-more: .venv/installed  ## Run what `make test` leaves out (ten minutes)
	@pytest -n auto --maxprocesses 8 --dist loadgroup -m exhaustive

reproduce: .venv/installed  ## Run the pipeline from scratch, and compare with dvc.lock
	@python tools/reproduce.py

lint: .venv/installed  ## Check style, common mistakes and types
	@ruff check .
	@ruff format --check .
	@mypy src tools

format: .venv/installed  ## Format the code
	@ruff check --fix .
	@ruff format .

ui: .venv/installed  ## Serve the runs in the MLflow UI, on this machine only
	@python tools/ui.py

compare: .venv/installed  ## Show the experiments side by side, on one page
	@python tools/compare

lock: .venv/installed  ## Update requirements.lock to the newest compatible packages
	@uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --group dev pyproject.toml \
	  --output-file requirements.lock

bench: .venv/installed  ## Measure time and memory (five minutes, on a quiet machine)
	@python benchmarks/bench.py

clean:  ## Remove environment, data and runs (but keep DVC's cache)
	rm -rf .venv .venv-bench data mlflow.db mlflow-bridge mlruns

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

-include maintenance/Makefile

PIP = PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --compile --no-user --require-hashes

# uv takes less than half as long as pip. So pip fetches uv, checked by its hash, and uv installs the
# rest from the index that pip is set to. If uv cannot run, for whatever reason, pip installs
# everything, and reports what is wrong if it was not uv's fault.
.venv/installed: requirements.lock
	@test ! -L .venv || { echo 'error: .venv is a link: make would empty the environment that it points to'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo 'Building .venv: the packages of requirements.lock are fetched, checked and compiled (about half a minute)'
	@$(PYTHON) -m venv --clear .venv  # there may be half an environment
	@sed -n '/^uv==/,/[^\]$$/p' requirements.lock > .venv/uv.lock
	@{ $(INSTALL) --only-binary :all: --requirement .venv/uv.lock && \
	  index=$$($(PIP) config list | sed -n "s/^[^=]*[.]index-url='\(.*\)'$$/\1/p" | head -n 1) && \
	  UV_INDEX_URL="$${UV_INDEX_URL:-$$index}" .venv/bin/uv pip install --quiet --python .venv --compile-bytecode \
	    --require-hashes --requirements requirements.lock && test -e .venv/bin/dvc; } 2>/dev/null || \
	  { echo 'uv cannot run here: pip does it, which takes longer'; $(INSTALL) --requirement requirements.lock; }
	@test -e .venv/bin/dvc || { echo 'error: pip installed elsewhere: see its settings, pip config list'; exit 1; }
	@touch .venv/installed
