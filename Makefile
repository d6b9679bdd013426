# `make train`, then `make watch`. Everything is installed into .venv, at the versions of constraints.txt.
# ARGS goes to the command: make train ARGS="--scenario pursuit --steps 50000"

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: train test check bench watch clean help

ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3; do $$p -c '' >/dev/null 2>&1 && { echo $$p; break; }; done)
endif
VENV := .venv
RUNS := runs
ARGS ?=
BIN := $(VENV)/bin

# A stamp is written last, so an install that was cut short has none and leaves .installing behind:
# the next one then starts from an empty environment.
RUNTIME := $(VENV)/.stamp-runtime
DEV := $(VENV)/.stamp-dev

comma := ,
define install
	@if [ -e $(VENV)/.installing ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
			|| { echo "rl_tracking needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }; \
		echo "creating $(VENV)"; \
		"$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@echo "installing into $(VENV), which takes a few minutes the first time"
	@rm -f $(RUNTIME) $(DEV)
	@touch $(VENV)/.installing
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e $(1)
	@rm $(VENV)/.installing
	@touch $(2)
endef

$(RUNTIME): pyproject.toml constraints.txt
	$(call install,.,$(RUNTIME))

$(DEV): pyproject.toml constraints.txt
	$(call install,'.[dev$(comma)plots$(comma)video$(comma)mujoco$(comma)box2d$(comma)ray$(comma)tune$(comma)logs]',$(RUNTIME) $(DEV))

train: $(RUNTIME) ## train an agent with the defaults (options: ARGS="...")
	@$(BIN)/rltrack train $(ARGS)

watch: $(RUNTIME) ## fly the newest run in a window (options: ARGS="...")
	@newest=$$(ls -t $(RUNS)/*/checkpoint.zip 2>/dev/null | head -n 1 || true); \
	if [ -z "$$newest" ]; then echo "no $(RUNS)/*/checkpoint.zip to watch: run 'make train' first" >&2; exit 1; fi; \
	echo "rltrack watch $$newest"; \
	$(BIN)/rltrack watch "$$newest" $(ARGS)

bench: $(RUNTIME) ## measure the simulator and the training loop (options: ARGS="...")
	@$(BIN)/rltrack bench $(ARGS)

# One process for each core. Each begins with its own part of the suite, in order, so that nearly every fixture of a
# module is built once, and takes over tests of another part when its own is done.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal

test: $(DEV) ## run the tests but the slow ones (all of them: ARGS="-m 'not gpu'")
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: $(DEV) ## format, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo

clean: ## delete .venv, builds and caches; trained runs stay
	rm -rf $(VENV) build dist .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find rl_tracking tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
