# make demo    a registry, a peer that answers, and the console, all in a temporary directory
# make test    the whole test suite; VENV=DIR takes that environment as it is
# make check   before a commit, in three minutes: ruff, mypy, and the tests that start no program
# make campaigns   all campaigns at the size of the gate with their controls, and the table of them: most of an hour
# make lint    ruff and mypy
# make lock    the newest releases into requirements/, which all of these install from
# make clean   what was built here

OWN_VENV := .venv
VENV ?= $(OWN_VENV)
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
RUNS := $(OWN_VENV)/.runs
TESTS := $(OWN_VENV)/.tests
# At once; a test has ports and files of its own.
WORKERS ?= 2
PYTEST := $(VENV)/bin/python -m pytest
PARALLEL := $(PYTEST) --numprocesses=$(WORKERS) --dist=worksteal
UNIT := --ignore=tests/live --ignore=tests/campaigns --ignore=tests/programs/test_demo.py

# An environment that somebody gives is used as it is; only our own is made and kept up to date.
ifeq ($(VENV),$(OWN_VENV))
READY_TO_RUN := $(RUNS)
READY := $(TESTS)
endif

.PHONY: demo test unit check campaigns lint lock clean

demo: $(READY_TO_RUN)
	@echo "starting a registry, echo and the console; Ctrl-C twice ends them all"
	@$(VENV)/bin/python -m chatnet.programs.demo

# What says how long somebody waits runs alone, also when something else failed.
test: $(READY)
	$(PARALLEL) -m "not alone"; \
		rest=$$?; $(PYTEST) -m alone && exit $$rest

unit: $(READY)
	$(PARALLEL) $(UNIT)

check: lint unit

# The document is made of what there is, also when something failed.
campaigns: $(READY)
	$(VENV)/bin/python -m tests.campaigns.gate --out docs/campaigns.jsonl; \
		gate=$$?; $(VENV)/bin/python -m tests.campaigns.table && exit $$gate

lint: $(READY)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

lock: | can-install
	PYTHON=$(PYTHON) requirements/renew

$(RUNS): pyproject.toml twisted/plugins/chatnet_plugins.py requirements/run.txt requirements/build.txt | can-install
	@PYTHON=$(PYTHON) requirements/install $(OWN_VENV) run
	@touch $@

$(TESTS): pyproject.toml twisted/plugins/chatnet_plugins.py requirements/dev.txt requirements/build.txt | can-install
	@PYTHON=$(PYTHON) requirements/install $(OWN_VENV) dev
	@touch $@ $(RUNS)

.PHONY: can-install
can-install:
	@test -n "$(PYTHON)" || { echo "chatnet needs Python 3.11 or later; python3 here is: $$(python3 --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }

clean:
	rm -rf $(OWN_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks _trial_temp
	rm -f twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
