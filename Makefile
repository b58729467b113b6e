# `make` alone lists the tasks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
FUZZ_SECONDS ?= 60
FUZZ_CHANCE ?= 0
FUZZ_OPTIONS ?=
FAULT_SECONDS ?= 3600
OUT ?= build/gpu
SESSION ?=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
TESTS := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8
GPU_SESSION := $(PYTHON) -m benchmarks.gpu_session --out $(OUT) $(SESSION)

.DEFAULT_GOAL := help
.PHONY: help install demo demo-network test test-all test-faults faults test-cuda test-gpu gpu-session fuzz lint docs clean

help:  ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BIN)/segattn: pyproject.toml | $(BIN)/python
	$(INSTALL) .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@ $(BIN)/segattn

$(VENV)/.test-cuda: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[test,test-cuda]'
	@touch $@ $(BIN)/segattn

install: $(BIN)/segattn  ## create .venv and install segattn into it

demo: $(BIN)/segattn  ## train a small network, evaluate it, segment pictures: under 4 minutes
	@rm -rf $(RUN)
	$(BIN)/segattn train --preset tiny-scenes --out $(RUN)
	$(BIN)/segattn eval $(RUN) --split test
	@rm -rf $(RUN)/pictures $(RUN)/predictions
	$(BIN)/segattn data sample scenes --split test --count 6 --out $(RUN)/pictures
	$(BIN)/segattn infer $(RUN) $(RUN)/pictures/images --out $(RUN)/predictions --overlay
	$(BIN)/segattn explain $(RUN) $(RUN)/pictures/images --out $(RUN)/explain.html --point 64,80
	@echo
	@echo "Look at:  $(RUN)/report.html       how training went"
	@echo "          $(RUN)/explain.html      what attends to what"
	@echo "          $(RUN)/predictions/      new pictures, segmented"

demo-network: $(BIN)/segattn  ## train the network that --demo uses, and put it into the package
	@rm -rf runs/demo-network
	$(BIN)/segattn train --preset tiny-scenes --seed 2 --out runs/demo-network
	cp runs/demo-network/best.safetensors segattn_cli/runs/demo.safetensors

test: $(VENV)/.test  ## run the tests, a process for each core: 7 minutes on two
	$(TESTS) --dist worksteal

test-all: test  ## the tests, and then those that are slow
	$(TESTS) --dist worksteal -m slow

test-faults: $(VENV)/.test  ## kill commands, let their file calls fail, fill their disks: needs Linux and gcc
	$(TESTS) --dist worksteal -m faults tests/faults

faults: $(VENV)/.test  ## the same by chance, FAULT_SECONDS=3600; counts are written to build/faults.json
	$(BIN)/python -m tests.faults --seconds $(FAULT_SECONDS)

test-cuda: $(VENV)/.test-cuda  ## run and compile the CUDA kernels, without a GPU: 430 MB, Linux x86-64
	$(TESTS) --dist loadfile -m cuda_cpu --no-skips tests/cuda_cpu

test-gpu:  ## test the CuPy backend, sanitize its kernels, time it: needs a GPU, installs nothing
	$(GPU_SESSION) --seconds 3600 --only tests --only memcheck --only racecheck --only synccheck --only record

gpu-session:  ## the same, and the whole tool on the GPU, in 9 minutes; a later call continues
	$(GPU_SESSION)

fuzz: $(BIN)/segattn  ## hostile files of every kind that is read, FUZZ_SECONDS=60 together: needs Linux
	$(INSTALL) '.[fuzz]'
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --chance $(FUZZ_CHANCE) $(FUZZ_OPTIONS)

lint: $(VENV)/.test  ## style, types and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test  ## build the site into build/docs, which opens without a server
	$(BIN)/sphinx-build -q -n -W --keep-going -d build/doctrees docs build/docs
	@echo "Open build/docs/index.html"

clean:  ## remove what the other tasks made
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
