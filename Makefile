# nullfs-explorer. `make demo` shows it, `make test` checks all of it; both set up what they need.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
JOBS   ?= auto

.PHONY: demo test lint check-types check-imports unit kernels terminal-tools host-tools fixtures recording screenshots bench bench-tui bench-fleet scale clean

demo: $(STAMP)
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/nullfs-explorer sample; else $(BIN)/nullfs-explorer tasks sample --width 132; fi

# Tests run on what is locked; where the lock is for another Python, on what pip chooses, and that is said.
$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; say make PYTHON=python3.12, for example"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tests/host-tools.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	@if head -1 requirements-dev.lock | grep -q "CPython $$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])') "; then \
	    echo "pip install --require-hashes -r requirements-dev.lock"; \
	    $(PIP) --require-hashes -r requirements-dev.lock && $(PIP) --no-deps -e .; \
	else echo "NOT ON WHAT IS LOCKED: requirements-dev.lock is for another Python"; $(PIP) -e '.[dev]'; fi
	@touch $@

# Everything CI runs, in the order of what fails fastest.
test: lint check-types check-imports known-vulnerabilities unit kernels

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types: $(STAMP)
	$(BIN)/mypy

check-imports: $(STAMP)
	$(BIN)/lint-imports --no-cache

# Says so, and is no failure, where pip-audit's service does not answer; audit-deps insists.
known-vulnerabilities: $(STAMP)
	@$(BIN)/python -m tests.audit_deps

unit: $(STAMP) terminal-tools
	$(BIN)/pytest -m 'not kernel and not repetition' -n $(JOBS)

# Boots real kernels under QEMU; fetches both when they are missing.
kernels: $(STAMP) host-tools
	$(BIN)/pytest -m 'kernel and not repetition' -n $(JOBS) --dist loadfile

terminal-tools:
	@tests/host-tools.sh tmux chromium man shells gcc zstd

host-tools:
	@tests/host-tools.sh qemu gcc makedumpfile squashfs sudo

# The sample and the test fixtures, made anew from kernels booted here. FIXTURE_RFC names a dump of an rfc-v1
# kernel, which no distribution has.
fixtures: $(STAMP) host-tools
	$(BIN)/python -m tests.kernels.make_fixtures $(FIXTURE_RFC)

# The recording of a boot that tests and screenshots use, made anew from a kernel booted here.
recording: $(STAMP) host-tools
	$(BIN)/python -m tests.kernels.make_recording

# What the README shows, drawn by the real app on the snapshot that its tests use.
screenshots: $(STAMP) terminal-tools
	$(BIN)/python screenshots/make.py

# How fast it is, and whether what the README promises of that holds here; BENCH=--quick for a shorter run.
bench: $(STAMP) host-tools
	$(BIN)/python -m bench $(BENCH)

# Whether a task costs the same where there are ten times as many: SCALE=--full for 200,000 threads, in 16 GB.
scale: $(STAMP) host-tools
	$(BIN)/python -m bench.scale $(SCALE)

# The screen on 100,000 tasks, with its bounds, and against DataTable. BENCH=--full measures that on all rows too.
bench-tui: $(STAMP)
	$(BIN)/python -m bench.tui $(BENCH)

# Fleets of 5,000 snapshots and 200 slices: what a target costs, and whether rows say what the single commands say.
# BENCH="--snapshots 500 --slices 20" for fewer.
bench-fleet: $(STAMP)
	$(BIN)/python -m bench.fleet $(BENCH)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache

# Damaged dumps, memory and files: five hours for 100,000 cases. FUZZ="--cases 500 --seed 7 --only elf-headers", for example.
FUZZ ?= --cases 100000
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(FUZZ)

# Random bytes into the terminal of the app, five minutes. FUZZ_TERMINAL="--seconds 60 --seed 7", for example.
FUZZ_TERMINAL ?= --seconds 300
fuzz-terminal: $(STAMP)
	$(BIN)/python -m tests.fuzz --only terminal $(FUZZ_TERMINAL)

# Coverage-guided, a minute for each parser; SECONDS_EACH for more.
SECONDS_EACH ?= 60
fuzz-coverage: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,fuzz]'
	cd $(VENV) && for parser in btf bzip2 elf flattened kdump lime lz4 recording snapshot stream vmcoreinfo; do \
	    PYTHONPATH=.. bin/python -m tests.fuzz.coverage $$parser -max_total_time=$(SECONDS_EACH) \
	    -rss_limit_mb=1024 -timeout=10 || exit 1; done

# What make test does on the first and the last kernel, on those between; then captures of a live guest in a storm of processes:
# CHURN="--captures 1000 --kernel 6.12".
CHURN ?= --captures 1000
churn: $(STAMP) host-tools
	$(BIN)/pytest -m repetition -n $(JOBS) --dist loadfile
	$(BIN)/python -m tests.kernels.churn $(CHURN)

# The versions and hashes of what an installation gets, alone and with each extra; what pip would choose now, beside them
# (once a week); then whether a vulnerability is known in any of it.
lock: $(STAMP)
	$(BIN)/python -m tests.make_lock

lock-check: $(STAMP)
	$(BIN)/python -m tests.make_lock --check

audit-deps: $(STAMP)
	@$(BIN)/python -m tests.audit_deps --strict

# The tests that need no terminal, on every newer Python that is on the path or in ~/.pyenv, and on 3.14, which else comes
# from Debian's packages.
pythons: $(STAMP)
	$(BIN)/python -m tests.pythons

# The man pages, made anew from what the commands say.
man: $(STAMP)
	$(BIN)/python -m tests.make_man

# Wheel and sdist, the same bytes every time: the date in them is that of the last commit. Then twine checks them.
dist: $(STAMP)
	$(BIN)/python -m tests.make_dist dist
# One executable with all in it, for machines without Python: says how large it is, how fast it starts, and what it needs of
# a machine. What is there can be measured again: make standalone STANDALONE=--measure.
standalone: $(STAMP)
	@tests/host-tools.sh gcc zstd
	$(BIN)/python -m tests.standalone dist/nullfs-explorer $(STANDALONE)

# Whether that is so: built twice, run alone in a root directory, on the oldest Debian that can be had, and in a guest.
standalone-check: $(STAMP) host-tools
	@tests/host-tools.sh zstd
	$(BIN)/pytest tests/standalone -m ''
.PHONY: man pythons fuzz fuzz-terminal fuzz-coverage churn lock lock-check audit-deps known-vulnerabilities dist standalone standalone-check
