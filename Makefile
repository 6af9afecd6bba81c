# make demo    a registry, a peer that answers, and the console, all in a temporary directory
# make test    the whole test suite; VENV=DIR takes that environment as it is
# make campaigns   all campaigns at the size of the gate with their controls, and the table of them: most of an hour
# make lint    ruff and mypy
# make clean   what was built here

OWN_VENV := .venv
VENV ?= $(OWN_VENV)
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
INSTALLED := $(OWN_VENV)/.installed

# An environment that somebody gives is used as it is; only our own is made and kept up to date.
ifeq ($(VENV),$(OWN_VENV))
READY := $(INSTALLED)
endif

.PHONY: demo test campaigns lint clean

demo: $(READY)
	@$(VENV)/bin/python -m chatnet.programs.demo

test: $(READY)
	$(VENV)/bin/python -m pytest

# The document is made of what there is, also when something failed.
campaigns: $(READY)
	$(VENV)/bin/python -m tests.campaigns.gate --out docs/campaigns.jsonl; \
		gate=$$?; $(VENV)/bin/python -m tests.campaigns.table && exit $$gate

lint: $(READY)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

$(INSTALLED): pyproject.toml twisted/plugins/chatnet_plugins.py
	@test -n "$(PYTHON)" || { echo "chatnet needs Python 3.11 or later; python3 here is: $$(python3 --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(OWN_VENV)
	$(OWN_VENV)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(OWN_VENV)/bin/python -m pip install --quiet --editable . --group dev
	@touch $@

clean:
	rm -rf $(OWN_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks _trial_temp
	rm -f twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
