# Everything a new machine needs: Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN ?= runs/demo
RUN_ABLATIONS ?= runs/ablations
RUN_QUANTIZERS ?= runs/quantizers
QUANTIZERS = vq fsq fsq-865 lfq bsq

.PHONY: ablations bench demo quantizers release-check test soak check schemas trio verify

demo: $(VENV)/installed
	$(BIN)/ibgenerate run trio --out $(RUN) --cluster local
	$(BIN)/ibstats report $(RUN)

# Sections 4.4 and 4.5 of the paper on the reference trio: the four ablations, the enhancement, their figures.
ablations: $(VENV)/installed
	$(BIN)/ibgenerate run trio-ablations --out $(RUN_ABLATIONS) --cluster local
	$(BIN)/ibstats ablations $(RUN_ABLATIONS)
	$(BIN)/ibstats repro $(RUN_ABLATIONS) $(patsubst %/run.json,%,$(wildcard $(RUN)/run.json))

# The lab of quantizers (docs/quantizers.md): codes of the same scenes side by side, then the study.
quantizers: $(VENV)/installed
	for name in $(QUANTIZERS); do \
	  test -d $(RUN_QUANTIZERS)-codes/$$name || \
	  $(BIN)/ibgenerate encode trio --images 2000 --seed 11 --tokenizer $$name --out $(RUN_QUANTIZERS)-codes/$$name || exit 1; \
	done
	$(BIN)/ibstats codebook $(addprefix $(RUN_QUANTIZERS)-codes/,$(QUANTIZERS)) --out $(RUN_QUANTIZERS)-codes/results
	$(BIN)/ibgenerate run studies/quantizers.yaml --out $(RUN_QUANTIZERS) --cluster local
	$(BIN)/ibstats report $(RUN_QUANTIZERS)

# One process a core, each with one thread: a file of tests is one process's.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# 504 kills, 500 damages, 100 races, injected errors and full disks (hours; the real full disk is a mount, which
# takes root). The log says how far it is; SOAK_SEED draws others.
soak: $(VENV)/installed
	mkdir -p runs
	SOAK_KILLS=72 SOAK_DAMAGES=500 SOAK_RACES=100 $(BIN)/python -m pytest tests/faults tests/ibstats/test_sealed.py \
		-m 'slow or not slow' --deselect tests/faults/test_every_file.py::test_every_damage_of_every_file_meets_every_command \
		-o log_cli=true --log-cli-level=INFO 2>&1 | tee runs/soak.log

# Every simulation behind the statistics, two at a time; what passed is kept in runs/verification and not run again.
verify: $(VENV)/installed
	$(BIN)/python -m tests.verification

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Ratios to the usual tools, written to benchmarks/RESULTS.md.
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks --out benchmarks/RESULTS.md

schemas: $(VENV)/installed
	$(BIN)/python -m schemas
	$(BIN)/python docs/write_reference.py

# Could this commit be released? Wheel, versions, licences, and the wheel alone in a new environment (packages are fetched).
release-check: $(VENV)/installed
	$(BIN)/python -m tests.release --out dist

# All weights of the reference trio from nothing (about two hours on two cores).
trio: $(VENV)/installed
	$(BIN)/python -m generate.trio.train --out runs/trio

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[all,test]'
	touch $@
