# The environment lives in .venv; it is made again when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DISPLAY_IMAGE := examples/display.png

.PHONY: demo test lint clean

demo: $(READY)  ## refacer run on a picture of examples/
	@mkdir -p demo
	$(BIN)/refacer run $(DISPLAY_IMAGE) -o demo/display.real.png --force
	@$(BIN)/python tools/before_after.py $(DISPLAY_IMAGE) demo/display.real.png demo/before_after.png
	@echo "result:       demo/display.real.png"
	@echo "before/after: demo/before_after.png"

test: $(READY) lint  ## lint, formatting, types and tests
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

clean:
	rm -rf $(VENV) demo
