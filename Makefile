# Everything works from a fresh clone: each target first makes .venv and installs what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without a GPU this one version is installed first: package sources that carry a CPU build of it then need no CUDA packages.
# Where your package source has none, point pip at one that does: make setup TORCH_ARGS="--index-url <CPU wheels>".
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo yes)
PYTEST := $(BIN)/python -m pytest

.PHONY: setup lint type imports test test-rest test-ci test-all test-floors bench demo toolchains docs release-check clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo      the whole pipeline on a real model (runs/demo/report.html)"
	@echo "make test      the tests: every promise once, a few minutes"
	@echo "make test-all  all tests, more than CI runs: an hour or more"
	@echo "also: setup lint type imports test-rest test-floors bench toolchains docs release-check clean"

$(VENV)/.ready: pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@if [ -n "$(HAS_GPU)" ]; then echo "GPU found: installing torch with CUDA"; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_ARGS) "$(TORCH)"; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# The peer whose comparison rules ours are tested against, without its many dependencies: only its rules are used.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps evalplus==0.3.1
	@# Readers of exported data sets, for the same reason: only how they mask and render a row is used.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps axolotl==0.19.0 colorama addict trl==1.16.0
	@# A source of problems; its data files are read, the package is not imported.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps reasoning-gym
	touch $@

setup: $(VENV)/.ready

lint: setup
	$(BIN)/ruff check src tests benchmarks experiments release docs
	$(BIN)/ruff format --check src tests benchmarks experiments release docs

type: setup
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: setup
	$(BIN)/lint-imports

# Every promise once; what that leaves out; both in one run, as CI does; both, and what takes hours (tests/tiers.py).
test: setup
	OMP_NUM_THREADS=1 $(PYTEST) -n auto --tier quick

test-rest: setup
	OMP_NUM_THREADS=1 $(PYTEST) -n auto --tier rest

test-ci: setup
	OMP_NUM_THREADS=1 $(PYTEST) -n auto --tier ci

test-all: setup
	OMP_NUM_THREADS=1 $(PYTEST) -n auto

# The lowest versions that pyproject.toml allows (tests/floors.txt), in an environment of their own; torch is that of `make setup`.
FLOORS_VENV ?= .venv-floors
FLOORS_TESTS ?= tests/data tests/generate tests/train tests/publish tests/report tests/test_api.py tests/test_recipes.py
FLOORS_PIP := $(FLOORS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check

$(FLOORS_VENV)/.ready: tests/floors.txt
	$(PYTHON) -m venv --clear $(FLOORS_VENV)
	$(FLOORS_PIP) $(TORCH_ARGS) "$(TORCH)"
	$(FLOORS_PIP) --constraint tests/floors.txt --editable '.[train,qlora,hub,humaneval,javascript]' more-itertools psutil pytest pytest-timeout
	touch $@

test-floors: $(FLOORS_VENV)/.ready
	OMP_NUM_THREADS=1 $(FLOORS_VENV)/bin/python -m pytest --tier quick $(FLOORS_TESTS)

# Languages of MultiPL-E that Debian has; as root.
toolchains:
	apt-get install -y --no-install-recommends g++ default-jdk-headless libjavatuples-java nodejs bash perl libtest-deep-perl php-cli \
		ruby ruby-test-unit lua5.4 lua-unit golang-go rustc r-base-core racket ldc scala mono-mcs mono-runtime
	@if command -v npm; then npm install --global typescript; else echo "TypeScript: apt install npm, then npm install --global typescript"; fi

bench: setup
	$(BIN)/python benchmarks/judge.py launch
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/waiting.py

demo: setup
	$(BIN)/reflectioncoder run recipes/demo.yaml

# Pages that are written from the code, the pictures, and the site (site/index.html), in which a broken link is an error.
docs: setup
	for page in recipes benchmarks api cli reasons exit-codes; do $(BIN)/python docs/make_$${page}_page.py || exit 1; done
	$(BIN)/python docs/make_pictures.py
	$(BIN)/zensical build --strict --clean

# Wheel and sdist: built, looked into, installed into an empty environment and used there without torch.
release-check:
	$(PYTHON) release/check.py

clean:
	rm -rf $(VENV) $(FLOORS_VENV) site .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
