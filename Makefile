# `make help` says what there is. Everything else is in the scripts it names.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
PYTHON ?=
export PYTHON
BIN := .venv/bin
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
GCC_LINT := -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Werror -fanalyzer
MARKERS := $(if $(SLOW),slow or not slow,not slow)

.PHONY: help setup setup-test plugin demo up test lint bench docs lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo 'Then: ./sigillo --help'

setup: ## install what running needs (Debian packages, .venv)
	@bash tools/setup.sh

setup-test:
	@bash tools/setup.sh test $(if $(SLOW),slow)

plugin: ## build the Mosquitto plugin: build/plugin/sigillo.so
	@$(MAKE) --no-print-directory -C plugin

demo: setup plugin ## the whole story: broker, trackers, evidence, verification, forgeries
	@$(BIN)/python demo/story.py

DIR ?= demo/operator
up: setup plugin ## a broker in demo/operator (or DIR=…), kept running until Ctrl-C
	@./sigillo up $(DIR) --name localhost --on-bad-clock mark-unsynchronised

test: setup-test plugin ## every test but the slow ones; SLOW=1 make test: all
	@$(MAKE) --no-print-directory -C plugin check
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m '$(MARKERS)'

lint: setup-test ## ruff, mypy --strict, the layer rule, gcc's warnings as errors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(MAKE) --no-print-directory -C plugin BUILD=../build/lint CFLAGS='$(GCC_LINT)'

ROUNDS ?= 60
bench: setup plugin ## what a mark costs, as ratios to bare Mosquitto: 2 minutes, or ROUNDS=…
	@$(BIN)/python bench/run.py --rounds $(ROUNDS)

docs: setup-test ## write docs/commands.md from what --help says
	@$(BIN)/python tools/commands.py

lock: ## write locks/*.txt anew (UPGRADE=1: newest versions)
	@bash tools/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## remove what was built here (not .venv, not demo results)
	@rm -rf build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find src tests demo bench -name __pycache__ -type d -prune -exec rm -rf {} +
