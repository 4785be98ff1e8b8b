# Every command of this project; `make help` lists them. The first one that needs it makes the environment, .venv.
# Variables: PYTHON (which Python, 3.11 or newer), ARGS (passed on), WORKERS (processes that judge and test).
PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOG := $(VENV)/install.log
TYPING := $(VENV)/typing
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
WHICH := import sys; print(sys.version, sys.base_prefix)
# glibc keeps what large tensors freed, where the kernel would clear new pages for the next ones of that size.
# Tests start assay a hundred times, so that bytecode is kept, too, where the environment says otherwise.
KEEPING := MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_MMAP_THRESHOLD_=1000000000 PYTHONDONTWRITEBYTECODE=
# What the stamp holds: another Python, or another folder, is another environment.
export STAMP := $(PYTHON) in $(CURDIR)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help check test lint matrix pages clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

check: $(READY)  ## judge PyTorch by the specification; ARGS="--op swish" and other options of assay check
	@$(BIN)/assay check torch --waivers implementations/torch_waivers.toml -n $(WORKERS) $(ARGS)

test: $(READY)  ## run everything: tests of assay, doctests, planted bugs, PyTorch at the quick budget
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(KEEPING) $(BIN)/python -m pytest --doctest-modules -n $(WORKERS) --dist worksteal $(ARGS)

# assay's root folder is the package, so mypy is given a folder in which that root is called assay.
lint: $(READY)  ## ruff, mypy (strict, on spec and reference), and the project's own rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p $(TYPING) && ln -sfn "$(CURDIR)" $(TYPING)/assay
	@cd $(TYPING) && ../bin/mypy --config-file ../../pyproject.toml -p assay.spec -p assay.reference
	@$(BIN)/python tools/lint.py

matrix: $(READY)  ## judge every adapter in an environment of its own (docs/matrix.md); ARGS="--only jax --budget quick"
	@$(BIN)/python tools/matrix.py $(ARGS)

pages: $(READY)  ## write the readable pages of the specification, spec/pages
	@$(BIN)/assay pages

clean:  ## remove every environment and every cache; saved runs in .assay and .benchmarks stay
	@rm -rf $(VENV) .venvs build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

ifneq "$(shell cat $(READY) 2>/dev/null)" "$(STAMP)"
.PHONY: $(READY)
endif

# The stamp goes first and comes back last, so that an install which fails or is interrupted leaves none.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	  echo "assay needs Python 3.11 or newer; PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not found)." >&2; \
	  echo "Name another one, for example: make check PYTHON=python3.12" >&2; exit 1; }
	@if [ -e $@ ] && [ "$$(cat $@)" != "$$STAMP" ]; then rm -rf $(VENV); fi; rm -f $@
	@[ "$$($(BIN)/python -c 'import pip; $(WHICH)' 2>/dev/null)" = "$$($(PYTHON) -c '$(WHICH)' 2>/dev/null)" ] || { \
	  found="$$($(PYTHON) -m venv --clear $(VENV) 2>&1)" || { printf '%s\n' "$$found" >&2; rm -rf $(VENV); \
	  echo "$(PYTHON) could not make the environment $(VENV): the lines above say why." >&2; exit 1; }; }
	@echo "installing assay into $(VENV): a few minutes the first time" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]' >$(LOG) 2>&1 \
	  || { cat $(LOG) >&2; echo "installing assay into $(VENV) failed: the lines above say why." >&2; exit 1; }
	@printf '%s\n' "$$STAMP" >$@
