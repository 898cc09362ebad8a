# Two targets do everything on a fresh machine: `make demo` and `make test`. Needs Python >= 3.11 and make.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test check bench conformance safety campaigns bench-llama docs fuzz fuzz-models clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/:/'

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "pto needs Python 3.11 or newer: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,models]'
	@touch $(READY)

demo: $(READY) ## set up, fetch a language model, and let it write a text on the machine
	@$(BIN)/pto model pull smollm2-135m || echo "the model was not fetched: the small one that ships is used"
	$(BIN)/pto run examples/llama_decode.py

test: $(READY) check ## lint, types and all tests
	$(BIN)/python -m pytest -n 2

check: $(READY) ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/mypy

# `make test` runs a small sample of each; a target that measures something else adds its campaigns to CAMPAIGNS.
SAFETY := operands flips races deadlocks uninitialised fields records files orders
CAMPAIGNS := $(SAFETY) conformance integers

safety: $(READY) ## the machine and the loader against broken programs, records and files; some minutes
	$(BIN)/python -m tests.campaigns $(SAFETY)

campaigns: $(READY) ## every campaign
	$(BIN)/python -m tests.campaigns $(CAMPAIGNS)

conformance: $(READY) ## every legal instruction, element type, layout and tail; every conversion; some minutes
	$(BIN)/python -m tests.campaigns.conformance

bench: $(READY) ## speed against NumPy, as a table
	$(BIN)/python benchmarks/kernels.py

bench-llama: $(READY) ## speed and memory of the fetched language model
	$(BIN)/python benchmarks/llama.py

docs: $(READY) ## print the generated pages again
	$(BIN)/python -c 'from pathlib import Path; from pto.isa.manual import manual; Path("docs/isa.md").write_text(manual())'

fuzz: $(READY) ## 22,000 random kernels at every level against NumPy, then all planted compiler bugs; half an hour of two cores
	$(BIN)/python -m tests.campaigns.kernels

fuzz-models: $(READY) ## 100,000 damaged model files of each format against their readers
	$(BIN)/python -m tests.campaigns.gguf --count 100000

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
