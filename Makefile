# `python` in the stages is the one of .venv, whether it is activated or not.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3
# What the user has set for other Pythons and shells, and a login shell that runs nothing (DVC runs the stages by it).
unexport BASH_ENV $(filter PYTHON%,$(.VARIABLES))
export SHELL := /bin/sh

.PHONY: all results test test-fast reproduce portability reprotest lint format ui lock clean help compare screenshots plots-page bench
.DEFAULT_GOAL := all

all: .venv/installed  ## Build .venv, run the pipeline, show the results
	@test -e .git || dvc config --local core.no_scm true  # a downloaded archive has no git
	@python tools/verify.py
	@bash -o pipefail -c 'dvc repro | sed "/^Use .dvc push. /d"'  # there is no remote to push to
	@$(MAKE) --no-print-directory results

results:  ## Show the results, and what to type next
	@awk -F ' *[|] *' ' \
	  /^\|/ {table = 1} \
	  table && !/^\|/ {print ""; exit} \
	  table && !/---/ { \
	    printf "\n%-33s", $$2; \
	    for (i = 3; i < NF; i++) {if (!w[i]) w[i] = length($$i); printf "   %" w[i] "s", $$i} \
	  }' reports/README.md
	@printf '%s\n' '' \
	  'Look at     reports/report.html' \
	  'Compare     make compare, make ui' \
	  'Experiment  . .venv/bin/activate && dvc exp run -S train_mlp.hidden_units=20'

test: .venv/installed  ## Run all the tests
	@pytest -n auto --maxprocesses 8 --dist loadgroup

test-fast: .venv/installed  ## Run the tests that need no pipeline (some seconds)
	@pytest -m "not slow"

reproduce: .venv/installed  ## Rebuild everything from nothing, and compare it with dvc.lock
	@python tools/reproduce.py

portability: .venv/installed  ## Compare the bytes on other CPUs and NumPys (docs/portability.md)
	@python tools/portability.py

reprotest: .venv/installed  ## Compare the bytes in other settings by Debian's tool
	@python tools/reprotest.py

lint: .venv/installed  ## Check style, common mistakes and types
	@ruff check .
	@ruff format --check .
	@mypy src tools

format: .venv/installed  ## Put the code in the one format
	@ruff check --fix .
	@ruff format .

ui: .venv/installed  ## Open the runs in the MLflow UI, on this machine only
	@python tools/ui.py

lock: .venv/installed  ## Write requirements.lock anew from pyproject.toml
	@uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --group dev pyproject.toml --output-file requirements.lock

compare: .venv/installed  ## Show the experiments side by side, on one page
	@python tools/compare

screenshots: .venv/installed  ## Take the README's screenshots again (needs chromium)
	@python tools/screenshots.py

plots-page:  ## Write the page of dvc plots anew, with Vega in it (needs npm)
	@python3 tools/plots_page.py

bench: .venv/installed  ## Measure time and memory anew (five minutes, quiet)
	@python benchmarks/bench.py

clean:  ## Remove environment, data and runs (not DVC's cache)
	rm -rf .venv .venv-bench data mlflow.db mlruns

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

PIP = PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --compile --no-user --require-hashes

# uv takes less than half of pip's time. pip fetches it, by its hash, and hands its own index on; where uv cannot run,
# for whatever reason, pip does the work, and says what is wrong if that was not uv's fault.
.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo 'Building .venv: the packages of requirements.lock are fetched, checked and compiled (about half a minute)'
	@$(PYTHON) -m venv --clear .venv  # half an environment may lie there
	@sed -n '/^uv==/,/[^\]$$/p' requirements.lock > .venv/uv.lock
	@{ $(INSTALL) --only-binary :all: --requirement .venv/uv.lock && \
	  index=$$($(PIP) config list | sed -n "s/^[^=]*[.]index-url='\(.*\)'$$/\1/p" | head -n 1) && \
	  UV_INDEX_URL="$${UV_INDEX_URL:-$$index}" .venv/bin/uv pip install --quiet --python .venv --compile-bytecode \
	    --require-hashes --requirements requirements.lock && test -e .venv/bin/dvc; } 2>/dev/null || \
	  { echo 'uv cannot run here: pip does it, which takes longer'; $(INSTALL) --requirement requirements.lock; }
	@test -e .venv/bin/dvc || { echo 'error: pip installed elsewhere: see its settings, pip config list'; exit 1; }
	@touch .venv/installed
