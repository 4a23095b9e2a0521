# `make run` and `make test` are the two commands; each does all of its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
DATASET ?= digits
include inkmill.env
export
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test lint clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/installed  ## make .venv and install everything (does nothing when done)

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Inkmill needs Python 3.11 or newer; run: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into .venv (some minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" 2>.venv/pip.log \
	  && $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]' 2>>.venv/pip.log \
	  || { tail -20 .venv/pip.log; exit 1; }
	@touch $@

run: setup  ## data, training, comparison, registry and report of DATASET (default: digits)
	@$(BIN)/inkmill run --dataset $(DATASET)

test: setup  ## the tests
	@$(BIN)/python -m pytest -n 2 --dist loadscope

lint: setup  ## ruff and the type checker
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:  ## remove data, metrics, reports and checkpoints; models in mlruns/ stay
	rm -rf data metrics plots reports checkpoints .dvc/tmp .dvc/cache
