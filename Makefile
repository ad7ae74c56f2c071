# Two commands do everything: `make serve` and `make test`. Each makes what it needs and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup dev serve test machines check lint types floors bench clean

setup: $(VENV)/.installed
dev: $(VENV)/.developing

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[providers,langgraph,openai-agents]" --group dev
	@touch $@

serve: setup
	$(BIN)/netra serve $(APP)

check: dev lint types floors

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/pyright

floors: dev
	$(BIN)/lint-imports

# Every branch of the machines that decide without I/O, by their own tests alone.
machines: dev
	$(BIN)/coverage run -m pytest -q -k "not takes_time" tests/unit/core tests/unit/engine/test_limits.py \
		tests/unit/stream/test_follower.py tests/unit/stream/test_protocol.py
	$(BIN)/coverage report
	rm -f .coverage

test: check machines
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

bench: dev
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .netra .pytest_cache .ruff_cache .hypothesis
