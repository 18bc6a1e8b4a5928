# Everything happens in .venv, which is made again when what it was made from has changed.

ifeq ($(PYTHON),)
PYTHON = python3
endif
BIN := .venv/bin
READY := .venv/.ready
BENCH_READY := .venv/.bench-ready
SOAK_SECONDS ?= 180
SHAPE ?= spike
# Of a load run: LOAD_SECONDS=30, RATE=900 arrivals a second at the peak (else what a short closed run
# reaches), FLAME=1 for a flame graph.
LOAD = $(if $(LOAD_SECONDS),--seconds $(LOAD_SECONDS)) $(if $(RATE),--peak $(RATE)) $(if $(FLAME),--flame)
# A PYTHON that is named makes .venv again, unless it is the one that made it.
WHICH := -c 'import sys; print(sys.base_prefix, sys.version)'
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) $(WHICH)),$(shell $(BIN)/python $(WHICH) 2>/dev/null))
ANOTHER := another-python
endif
endif
MADE_FROM := pyproject.toml setup.py $(wildcard native/*.p[xy][dx] bench/load/*.p[xy][dx])

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

install: $(READY)  ## make .venv, install, compile native/

run: $(READY)  ## run everything here and make a demo payment; Ctrl-C stops it
	@exec $(BIN)/floodgate dev --demo

# Hundreds of processes are started: each finds what the first one compiled.  The files come in the
# order of tests/conftest.py, and not those of the most tests first.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(READY)  ## run the tests
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder

soak: $(READY)  ## faults for minutes; SOAK_SECONDS=600 is longer, SEED=4711 replays a run
	@SEED=$(SEED) SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/pytest -q -s tests/faults/test_simulation.py

check: $(READY)  ## lint, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## run the micro benchmarks
	$(BIN)/pytest -q bench/micro --benchmark-only --benchmark-disable-gc

bench-save: $(READY)  ## keep what the micro benchmarks measure as the baseline; 3 minutes
	@$(BIN)/python -m bench.compare save

bench-compare: $(READY)  ## run them again and fail beyond the noise of the baseline
	@$(BIN)/python -m bench.compare check

capacity: $(READY)  ## payments per second beside a bare aiohttp echo; two minutes
	@$(BIN)/python -m bench.load.capacity

overload: $(READY)  ## five times the capacity, a small merchant beside it, proved; 2 minutes
	@$(BIN)/python -m bench.load.overload

flash-sale: $(BENCH_READY)  ## quiet, 20 times that, quiet: a load run, proved, with pictures; a minute
	@$(BIN)/python -m bench.load.run --shape $(SHAPE) $(LOAD)

locust: $(BENCH_READY)  ## the same by locust; SHAPE=spike, steps, soak or retry_storm
	@$(BIN)/python -m bench.load.run --generator locust --shape $(SHAPE) $(LOAD)

targets: $(BENCH_READY)  ## every target of speed beside what this machine reaches, proved; 12 minutes
	@$(BIN)/python -m bench.targets

bench-peers: $(BENCH_READY)  ## beside the same API as most teams write it; two minutes
	@$(BIN)/python -m bench.peers.compare

docs: $(READY)  ## draw the state diagrams again
	$(BIN)/python docs/states.py

$(READY): $(MADE_FROM) $(ANOTHER)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=python3.11'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'venv is missing: apt-get install python3-venv'; exit 1; }
	@[ "$$FLOODGATE_PURE" = 1 ] || \
		$(PYTHON) -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' \
		2>/dev/null || { echo 'Python.h is missing: apt-get install python3-dev gcc'; exit 1; }
	@[ -z "$(ANOTHER)" ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || \
		$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,test]'
	@touch $@

# What only load runs and their pictures need, so that the tests need not wait for it.
$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

.PHONY: another-python help install run test soak check bench bench-save bench-compare capacity overload flash-sale locust targets bench-peers docs
