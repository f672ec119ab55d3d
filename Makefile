# Each target sets up what it needs in .venv, from pyproject.toml and the pins in constraints.txt.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	&& echo $$p && break; done)
BIN := .venv/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test install lint types layers bench mutants docs dashboards compare page observe clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: .venv/.base  ## 300 questions on real threads: record, replay exactly, ask one what-if
	@$(BIN)/python examples/demo.py

test: .venv/.dev lint types layers  ## lint, types, layers and every test
	@tools/other-pythons constraints.txt
	$(BIN)/python -m pytest -n 2 -q

install: .venv/.dev  ## set up .venv with everything for development

lint: .venv/.dev  ## style, and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev  ## mypy, strict
	$(BIN)/mypy

layers: .venv/.dev  ## which package may import which
	$(BIN)/lint-imports

bench: .venv/.dev  ## measure against the peers, and write the table in benchmarks/README.md
	$(BIN)/python -m benchmarks --write

mutants: .venv/.dev  ## plant bugs in the core, find each by exploration, write the table
	$(BIN)/python -m tools.mutants --write

docs: .venv/.docs  ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

dashboards: .venv/.dashboards  ## build the Grafana dashboards and the Prometheus rules
	@$(BIN)/python -m dashboards.build

compare: .venv/.base  ## the demo's run and three variants of it, over each other in a Prometheus
	@test -f out/demo.jsonl || { echo "there is no out/demo.jsonl yet: make demo"; exit 1; }
	@$(BIN)/python examples/compare.py out/demo.jsonl

page: .venv/.report  ## the demo's run and two variants of it as one HTML page
	@test -f out/demo.jsonl || { echo "there is no out/demo.jsonl yet: make demo"; exit 1; }
	@$(BIN)/python -m simulation export out/demo.jsonl --to html -o out/demo.html \
		--variant max_workers=20 --variant task_timeout_seconds=0.3

observe: .venv/.base  ## run a demo with its metrics, scraped where a Prometheus is there
	@$(BIN)/python examples/observe.py

clean:  ## remove what the targets made
	rm -rf .venv .venvs docs/_build out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on PATH"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Python 3.11 or newer is needed; PYTHON=$(PYTHON) is not that"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a venv; on Debian: apt install python3-venv"; exit 1; }

.venv/.base: .venv/bin/python pyproject.toml constraints.txt
	@echo "setting up .venv ..."
	@$(PIP) --editable '.[test,whatif]'
	@touch $@

.venv/.dev: .venv/.base
	@echo "setting up .venv for development ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

.venv/.report: .venv/.base
	@echo "setting up .venv for the page (bokeh, 80 MB) ..."
	@$(PIP) --editable '.[report]'
	@touch $@

.venv/.dashboards: .venv/.base
	@$(PIP) --editable '.[dashboards]'
	@touch $@

.venv/.docs: .venv/.base
	@$(PIP) --editable '.[docs]'
	@touch $@
