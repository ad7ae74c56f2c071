# Two commands do everything: `make serve` and `make test`. Each makes what it needs and is quick the second time.
# `make wheel` packs it all, the web app included.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

WEB := src/netra_apex/server/web/index.html
UI := $(shell find ui -type f -not -path '*/node_modules/*' -not -path '*/dist/*')

.PHONY: setup dev ui wheel serve test pages screenshots machines check lint types floors bench clean

setup: $(VENV)/.installed
dev: $(VENV)/.developing

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[providers,langgraph,openai-agents,telemetry]" --group dev
	@touch $@

ui: $(WEB)

ui/node_modules/.installed: ui/package-lock.json ui/package.json ui/client/package.json ui/app/package.json | $(VENV)/bin/python
	cd ui && ./with-node npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# AG-UI's own client, which its tests speak with.
tests/node/node_modules/.installed: tests/node/package-lock.json tests/node/package.json | $(VENV)/bin/python
	cd tests/node && ../../ui/with-node npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(WEB): $(UI) ui/node_modules/.installed
	cd ui && ./with-node npm run build --workspace app --loglevel=error
	@touch $@

wheel: $(WEB) setup
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

serve: setup ui
	$(BIN)/netra serve $(APP)

check: dev lint types floors pages

# What the compiler and the tests of the web app and its client say, and how much a browser loads first.
pages: dev $(WEB)
	cd ui && ./with-node npm run check && ./with-node npm run size --workspace app && NETRA_COMMAND=$(CURDIR)/$(BIN)/netra ./with-node npm run test

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

test: check machines ui tests/node/node_modules/.installed
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

# Each page of the web app, light and dark, wide and narrow, into build/screenshots.
screenshots: dev $(WEB)
	$(BIN)/python -m pytest -q tests/acceptance/test_web_pictures.py
	@ls build/screenshots/app-*.png

bench: dev
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .netra .pytest_cache .ruff_cache .hypothesis ui/node_modules tests/node/node_modules src/netra_apex/server/web dist
