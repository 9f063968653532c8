# What one does here, one target each. Everything lands in .venv, .uv, target and dist: the machine's
# own Python environment is read (for a torch that is already there), never written.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INTERPRETER := $(or $(shell command -v $(PYTHON)),$(PYTHON))
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
RUST := $(shell find rust -name '*.rs') Cargo.toml Cargo.lock

# A company's own certificates are trusted where the system trusts them.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS

# pyo3 builds against the interpreter that will import it, and an activated environment of the user's is not it.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.uv/bin:$(PATH)

.PHONY: help demo test test-all fuzz lint bench wheel clean FORCE
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=/path/to/python chooses the interpreter; a torch >= 2.4 installed there is used as it is."

# --- the environment -------------------------------------------------------------------------------

.uv/bin/uv:
	$(INTERPRETER) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv

# Another PYTHON on the command line makes the environment anew; left out, the one that stands is kept.
ifneq ($(origin PYTHON),file)
ifneq ($(PYTHON),$(shell cat $(VENV)/.made 2>/dev/null))
$(VENV)/.made: FORCE
endif
endif

$(VENV)/.made: .ci/make_venv.py | $(filter .uv/bin/uv,$(UV))
	$(INTERPRETER) .ci/make_venv.py $(UV) $(VENV) $(PYTHON)

INSTALL = $(UV) pip install --python $(BIN)/python $(BORROWED) -r pyproject.toml
BORROWED = $$(test ! -e $(VENV)/borrowed.txt || echo --override $(VENV)/borrowed.txt)

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	$(INSTALL) --extra cli --group build
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	$(INSTALL) --extra test --extra test-adapters
	@touch $@

.rivals/.made: $(VENV)/.made pyproject.toml benches/rivals.txt
	$(UV) venv --quiet --clear --python $(BIN)/python .rivals
	$(UV) pip install --python .rivals/bin/python -r pyproject.toml --extra bench
	$(UV) pip freeze --python .rivals/bin/python | grep -E '^(numpy|torch)==' > .rivals/pins.txt
	@grep -v '^#' benches/rivals.txt | while read -r rival; do \
	    $(UV) pip install --quiet --override .rivals/pins.txt --python .rivals/bin/python "$$rival" || echo "not installed: $$rival"; \
	done
	@touch $@

$(VENV)/.lint: $(VENV)/.made pyproject.toml
	$(INSTALL) --group build --group lint
	@touch $@

# The module of an earlier build would be imported in place of a failed one's.
$(VENV)/.built: $(VENV)/.demo $(RUST) pyproject.toml
	@command -v cargo >/dev/null || { echo "no cargo on PATH: install Rust from https://rustup.rs"; exit 1; }
	rm -f python/puma_fast/*.so
	maturin develop --release --uv
	@touch $@

# --- the main job ----------------------------------------------------------------------------------

demo: $(VENV)/.built ## set up and run the demonstration, a report at the end
	$(BIN)/puma-fast demo

# --- tests -----------------------------------------------------------------------------------------

test: $(VENV)/.built $(VENV)/.test ## set up and run every test but the slow ones
	@if cargo nextest --version >/dev/null 2>&1; then \
	    echo cargo nextest run; cargo nextest run --locked; \
	else \
	    echo "cargo test (cargo-nextest is not installed)"; cargo test --locked --lib --tests; \
	fi
	cargo test --locked --doc
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile $(PYTEST_ARGS)

test-all: PYTEST_ARGS = -m ""
test-all: test ## the slow tests too

# Any toolchain will do: the sanitizers that need another one have little to find in safe code, and every
# target holds the results against an oracle. What is found beyond the seeds is kept in fuzz/corpus.
FUZZ := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
SECONDS_EACH ?= 60

fuzz: ## fuzz each entry point of the core, SECONDS_EACH=60
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --root target/cargo-fuzz cargo-fuzz
	for target in $(FUZZ); do \
	    mkdir -p fuzz/corpus/$$target; \
	    PATH="$(CURDIR)/target/cargo-fuzz/bin:$$PATH" CARGO_TARGET_DIR=$(CURDIR)/target/fuzz cargo fuzz run \
	        --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target \
	        -- -max_total_time=$(SECONDS_EACH) -timeout=10 -max_len=2000 || exit 1; \
	done

# --- gates -----------------------------------------------------------------------------------------

GATES := fmt clippy clippy-python clippy-fuzz aarch64 rustdoc ruff ruff-format mypy stubtest imports wheel-check
.PHONY: $(GATES)

lint: $(GATES) ## every gate but the tests

fmt:
	@echo "== gate: $@"
	cargo fmt --check

clippy:
	@echo "== gate: $@"
	cargo clippy --locked --all-targets -- -D warnings

clippy-python: $(VENV)/.made
	@echo "== gate: $@"
	cargo clippy --locked --all-targets --features python -- -D warnings

clippy-fuzz:
	@echo "== gate: $@"
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz -- -D warnings

# Another architecture has the plain loops alone: they must compile without the rest.
AARCH64 := aarch64-unknown-linux-gnu
aarch64:
	@echo "== gate: $@"
	@if rustup target add $(AARCH64) >/dev/null 2>&1; then \
	    echo cargo check --locked --target $(AARCH64); cargo check --locked --target $(AARCH64); \
	else \
	    echo "SKIPPED: $(AARCH64) cannot be had here (rustup target add)"; \
	fi

rustdoc:
	@echo "== gate: $@"
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps

ruff: $(VENV)/.lint
	@echo "== gate: $@"
	$(BIN)/ruff check .

ruff-format: $(VENV)/.lint
	@echo "== gate: $@"
	$(BIN)/ruff format --check .

mypy: $(VENV)/.built $(VENV)/.test $(VENV)/.lint
	@echo "== gate: $@"
	$(BIN)/mypy

stubtest: $(VENV)/.built $(VENV)/.lint
	@echo "== gate: $@"
	$(BIN)/python -m mypy.stubtest puma_fast._core

imports: $(VENV)/.built $(VENV)/.lint
	@echo "== gate: $@"
	$(BIN)/lint-imports

# What a user installs: away from the checkout, without Rust, with NumPy alone.
wheel-check: $(VENV)/.lint
	@echo "== gate: $@"
	$(MAKE) --no-print-directory wheel
	$(BIN)/abi3audit --strict --summary dist/*.whl
	$(UV) venv --quiet --clear --python $(BIN)/python target/wheel-venv
	$(UV) pip install --quiet --python target/wheel-venv/bin/python dist/*.whl
	cd target && PATH=/usr/bin:/bin wheel-venv/bin/python -I ../.ci/check_wheel.py

# --- deliverables ----------------------------------------------------------------------------------

# zig links against an old glibc, so that the wheel runs on any Linux of the last ten years.
PORTABLE := $(if $(filter Linux,$(shell uname -s)),--compatibility manylinux2014 --zig)

# The archive dates every file alike, and cargo, which goes by dates, would keep an older build: tar -m dates them now.
wheel: $(VENV)/.lint ## a wheel for any Python >= 3.11 in dist, built from the source distribution beside it
	rm -rf dist target/sdist
	maturin sdist --out dist
	mkdir -p target/sdist
	tar -xzmf dist/puma_fast-*.tar.gz -C target/sdist --strip-components=1
	cd target/sdist && CARGO_TARGET_DIR=$(CURDIR)/target maturin build --release --locked $(PORTABLE) --out $(CURDIR)/dist

bench: $(VENV)/.built .rivals/.made ## run the benches, or BENCH=bench_name, and record them in benches/RESULTS.md
	PYTHONPATH=python .rivals/bin/python benches/python/record.py $(BENCH)

clean: ## remove the environment, the builds and the caches
	rm -rf $(VENV) .rivals .uv target dist python/puma_fast/*.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
