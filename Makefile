# make demo: the whole way on this machine. make test: the tests. make check: what CI runs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check lint types docs bench clean

demo: $(VENV)/.installed
	$(BIN)/sealdrop demo

test: $(VENV)/.installed-dev system-programs
	$(BIN)/pytest

check: lint types test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The reference pages, written from the code.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m ingest.reference docs

# A whole import against gpg alone; more rows: $(BIN)/python -m bench.import_run --rows 10000000
bench: $(VENV)/.installed-dev system-programs
	$(BIN)/python -m bench.import_run --json

# The tests drive the real gpg and sftp; missing ones are named, or installed where that is possible.
.PHONY: system-programs
system-programs:
	@tests/system-programs

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
