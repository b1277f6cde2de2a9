# nullfs-explorer. `make demo` shows it, `make test` checks all of it; both set up what they need.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JOBS   ?= auto

.PHONY: demo test lint check-types check-imports unit kernels terminal-tools host-tools fixtures screenshots clean

demo: $(STAMP)
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/nullfs-explorer sample; else $(BIN)/nullfs-explorer tasks sample; fi

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; say make PYTHON=python3.12, for example"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tests/host-tools.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Everything CI runs, in the order of what fails fastest.
test: lint check-types check-imports unit kernels

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types: $(STAMP)
	$(BIN)/mypy

check-imports: $(STAMP)
	$(BIN)/lint-imports --no-cache

unit: $(STAMP) terminal-tools
	$(BIN)/pytest -m 'not kernel' -n $(JOBS)

# Boots real kernels under QEMU; fetches both when they are missing.
kernels: $(STAMP) host-tools
	$(BIN)/pytest -m kernel -n $(JOBS) --dist loadfile

terminal-tools:
	@tests/host-tools.sh tmux

host-tools:
	@tests/host-tools.sh qemu gcc makedumpfile squashfs

# The sample and the test fixtures, made anew from kernels booted here. FIXTURE_RFC names a dump of an rfc-v1
# kernel, which no distribution has.
fixtures: $(STAMP) host-tools
	$(BIN)/python -m tests.kernels.make_fixtures $(FIXTURE_RFC)

# What the README shows, drawn by the real app on the snapshot that its tests use.
screenshots: $(STAMP)
	$(BIN)/python screenshots/make.py

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
