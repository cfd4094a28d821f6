# make demo: the whole way on this machine. make test: the tests. make check: what CI runs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check lint types docs bench differential long java crash fuzz clean

demo: $(VENV)/.installed
	$(BIN)/sealdrop demo

test: $(VENV)/.installed-dev system-programs
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not alone"
	$(BIN)/pytest -m alone

check: lint types test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The reference pages, written from the code.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m ingest.reference docs

# A whole import and decryption against gpg, mapping, formats, the door against OpenSSH, the API; more rows: $(BIN)/python -m bench.import_run --rows 10000000
bench: $(VENV)/.installed-dev system-programs
	$(BIN)/python -m bench.import_run --json
	$(BIN)/python -m bench.decrypt --json
	$(BIN)/python -m bench.mapping --json
	$(BIN)/python -m bench.formats --json
	$(BIN)/python -m bench.door --json
	$(BIN)/python -m bench.api --json

# The whole matrix of the differential test: our reader, gpg and Sequoia on thousands of messages.
differential: $(VENV)/.installed-dev system-programs
	SEALDROP_DIFFERENTIAL=full $(BIN)/pytest tests/openpgp_differential

# What takes too long for `make test`: 10^4 logins whose times are compared, links that change places for minutes,
# a listing of 10^5 files.
long: $(VENV)/.installed-dev system-programs
	SEALDROP_LONG=1 $(BIN)/pytest tests/door/test_guessing.py tests/door/test_races.py tests/door/test_storage_that_hangs.py -s

# The Java program of docs/api.md, with Tink for Java; needs Maven and a JDK.
java: $(VENV)/.installed-dev
	mvn --quiet --batch-mode --file tests/java/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.tink-java
	SEALDROP_TINK_JARS=$(CURDIR)/.tink-java $(BIN)/pytest tests/e2e/test_api_page.py

# SIGKILL at every failpoint of the real service, RUNS times each, and LOSSES of power at each; one and a half hours on two cores.
RUNS ?= 20
LOSSES ?= 3
crash: $(VENV)/.installed-dev system-programs
	$(BIN)/python -m tests.crash --runs $(RUNS) --power $(LOSSES)

# Each rule of fuzz/rules.py for SECONDS under atheris, two at a time, then for a tenth of it under hypothesis.
SECONDS ?= 1800
FUZZED := armor envelope stream certificate door
.PHONY: $(FUZZED:%=fuzz-%)
fuzz: $(VENV)/.installed-fuzz
	$(MAKE) --jobs=2 --keep-going --output-sync $(FUZZED:%=fuzz-%)

$(FUZZED:%=fuzz-%): fuzz-%: $(VENV)/.installed-fuzz
	$(BIN)/python -m fuzz.with_atheris $* --seconds $(SECONDS)
	$(BIN)/python -m fuzz.with_hypothesis $* --seconds $$(( $(SECONDS) / 10 ))

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

# atheris has no wheel for every Python and system, so it is not among the dev dependencies
$(VENV)/.installed-fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fuzz]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
