# Everything a person needs to run, test and change Taskyard. Python >= 3.11 and make are enough.
PYTHON ?= python3
SHELL := /bin/sh
.DEFAULT_GOAL := help

# `make up` and friends use .venv; another PYTHON gets a virtual environment of its own version.
ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(notdir $(PYTHON))
endif
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-input

# Programs that no Python package brings: a browser for the page; for `make test-all` the pooler
# that many put before PostgreSQL, and the load generator of the benchmarks.
define needs
@for program in $(1); do command -v $$program >/dev/null || { \
	echo "$$program is missing: make system-packages (as root), or apt-get install $$program" >&2; exit 1; }; done
endef

.PHONY: help check clients generate up test test-slow test-all test-versions hostile faults mutants lint bench docs requirements dist dist-check system-packages clean

help:
	@echo "make up            run Taskyard: database, broker, web and worker (Ctrl-C stops it)"
	@echo "make check         lint, types and the fast tests, in two minutes"
	@echo "make test          the suite on SQLite and on PostgreSQL, in fifteen minutes (TESTS=tests/core: a part)"
	@echo "make test-all      the suite with its slow tests; make test-slow: those alone"
	@echo "make test-versions the tests of a host project on the newest Python and Django"
	@echo "make hostile       the hostile programme alone, a line for each row (CASES=50000: the long one)"
	@echo "make lint          ruff, mypy, import contracts, missing migrations"
	@echo "make bench         Taskyard beside its peers, into docs/performance.md (BENCH='--only drain': a part)"
	@echo "make faults        every fault of docs/reliability.md in its long form, one line each"
	@echo "make clients       generate clients of the OpenAPI document, compile and run them"
	@echo "make mutants       break one promise at a time: which test notices? (MUTANTS='--only fence')"
	@echo "make docs          check the documentation"
	@echo "make generate      write again what is made from the code: the synchronous client, docs/openapi.json, reference pages, texts"
	@echo "make requirements  pin the dependencies again"
	@echo "make dist          build sdists and wheels of taskyard and taskyard-client into dist/"
	@echo "make dist-check    check that every pinned dependency has a wheel for Linux and macOS"
	@echo "make clean         remove virtual environments and caches (never .taskyard/)"

up: $(VENV)/.base
	@exec $(BIN)/taskyard up

check: lint
	@$(BIN)/python -m tests.suite check

test: $(VENV)/.dev
	$(call needs,chromium)
	@$(BIN)/python -m tests.suite test $(TESTS)

# What `make test-all` adds to `make test`.
test-slow: $(VENV)/.bench
	$(call needs,chromium pgbouncer wrk)
	@$(BIN)/python -m tests.suite slow $(TESTS)

test-all: $(VENV)/.bench
	$(call needs,chromium pgbouncer wrk)
	@$(BIN)/python -m tests.suite all

system-packages:
	@for program in chromium pgbouncer wrk; do command -v $$program >/dev/null || apt-get install --yes --quiet $$program; done

# The newest Python, and with it the newest Django that requirements/ pins. uv finds that Python, or
# downloads it; its environment is that of `make test PYTHON=python3.13`.
NEWEST := .venv-python3.13
test-versions: | $(BIN)/python
	@$(PIP) uv
	@$(BIN)/uv venv --quiet --seed --allow-existing --python 3.13 $(NEWEST)
	@$(MAKE) --no-print-directory PYTHON=python3.13 $(NEWEST)/.dev
	@$(NEWEST)/bin/python -c 'import django, sys; print("Python", sys.version.split()[0], "Django", django.__version__)'
	@$(NEWEST)/bin/python -m tests.suite all tests/host/test_in_other_projects.py

hostile: $(VENV)/.dev
	@HOSTILE_CASES=$(or $(CASES),2000) $(BIN)/python -m tests.suite all -q -o faulthandler_timeout=7200 tests/hostile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src
	$(BIN)/taskyard manage makemigrations --check --dry-run

bench: $(VENV)/.bench
	$(call needs,wrk)
	$(BIN)/python -m benchmarks $(BENCH)

faults: $(VENV)/.dev
	@$(BIN)/python -m tests.faults $(FAULTS)

# Generated clients of docs/openapi.json; one generator needs Java.
clients: $(VENV)/.dev
	@command -v java >/dev/null || apt-get install --yes --quiet default-jre-headless
	@CLIENTS=all $(BIN)/python -m tests.suite all -q tests/clients

mutants: $(VENV)/.dev
	@$(BIN)/python -m tests.mutants $(MUTANTS)

# Everything that is made from something else; tests compare each file with its source.
generate: $(VENV)/.dev
	$(BIN)/python tools/unasync.py
	$(BIN)/python tools/openapi.py
	$(BIN)/python -m tools.reference
	$(BIN)/python tools/makemessages.py

docs: $(VENV)/.dev
	$(BIN)/python -m pytest tests/docs

# One resolution for every supported Python, hashes for every file, no registry address.
COMPILE = $(VENV)/bin/uv pip compile -q pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate --custom-compile-command "make requirements"

requirements: $(VENV)/.dev
	$(PIP) uv
	$(COMPILE) --upgrade --group build -o requirements/base.txt
	$(COMPILE) --upgrade --extra oidc --group dev -c requirements/base.txt -o requirements/dev.txt
	$(COMPILE) --upgrade --extra oidc --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(COMPILE) --group examples -c requirements/dev.txt -o examples/requirements.txt

dist: $(VENV)/.base
	@$(BIN)/python tools/dist.py

dist-check: $(VENV)/.base
	@$(BIN)/python tools/check_wheels.py

clean:
	rm -rf .venv .venv-* .node benchmarks/peers/node/node_modules .mypy_cache .ruff_cache .import_linter_cache build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Taskyard needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.base: requirements/base.txt pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements/base.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	@$(PIP) --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@

# What `make bench` measures Taskyard against; its short form is in the suite.
PEERS := benchmarks/peers/node
$(VENV)/.bench: requirements/bench.txt $(PEERS)/package-lock.json $(VENV)/.dev
	@$(PIP) --require-hashes --only-binary :all: -r requirements/bench.txt
	@$(BIN)/python -c 'from benchmarks.peers.node import install; install()'
	@touch $@
