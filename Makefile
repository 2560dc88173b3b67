# Everything a new machine needs: Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN ?= runs/demo
RUN_ABLATIONS ?= runs/ablations

.PHONY: ablations bench demo test soak check schemas trio

demo: $(VENV)/installed
	$(BIN)/ibgenerate run trio --out $(RUN) --cluster local
	$(BIN)/ibstats report $(RUN)

# Sections 4.4 and 4.5 of the paper on the reference trio: the four ablations, the enhancement, their figures.
ablations: $(VENV)/installed
	$(BIN)/ibgenerate run trio-ablations --out $(RUN_ABLATIONS) --cluster local
	$(BIN)/ibstats ablations $(RUN_ABLATIONS)
	$(BIN)/ibstats repro $(RUN_ABLATIONS) $(patsubst %/run.json,%,$(wildcard $(RUN)/run.json))

# One process a core, each with one thread: a file of tests is one process's.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Kills, damage and full disks many times over (an hour; the real full disk is a mount, which takes root).
soak: $(VENV)/installed
	SOAK_KILLS=50 $(BIN)/python -m pytest tests/faults -m 'slow or not slow'

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Ratios to the usual tools, written to benchmarks/RESULTS.md.
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks --out benchmarks/RESULTS.md

schemas: $(VENV)/installed
	$(BIN)/python -m schemas

# All weights of the reference trio from nothing (about two hours on two cores).
trio: $(VENV)/installed
	$(BIN)/python -m generate.trio.train --out runs/trio

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	touch $@
