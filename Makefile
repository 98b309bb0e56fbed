PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin

# What goes through a store runs on both.
ON_POSTGRESQL := tests/ledger tests/core tests/review tests/authority/test_cedar_app.py

.PHONY: demo test lint clean

demo: $(VENV)/.ready
	$(RUN)/remit demo --folder demo

test: $(VENV)/.ready
	$(RUN)/python -m pytest -q -n auto
	REMIT_TEST_STORE=postgresql $(RUN)/python -m pytest -q -n auto $(ON_POSTGRESQL)

lint: $(VENV)/.ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/mypy tests examples

clean:
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One environment serves everything; it is made again when the dependencies change.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@
