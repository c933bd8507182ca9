# Two commands do everything on a machine that has Python (>= 3.10) and pip: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test test-slow test-oldest suite lint clean

help:
	@echo "make demo         install, then train a DCGAN on scanned digits and score it on the way"
	@echo "make test         install with development tools, then ruff, mypy and the test suite"
	@echo "make test-slow    the same suite with the slow tests"
	@echo "make test-oldest  the suite on the lowest versions that pyproject.toml promises, without the other tools"
	@echo "make clean        remove the virtual environment and everything made"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[report,train]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python -m benchmarks.demo demo-output

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A file of tests stays with one worker, which prepares what its tests share once; a worker has one thread.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST)

test-slow: lint
	$(PYTEST) -m "slow or not slow"

# The suite alone, as .ci/versions runs it.
suite: $(VENV)/.dev
	$(PYTEST)

# The bounds of pyproject.toml are a promise. NumPy 1.26 has no wheels for Python 3.13.
OLDEST = .versions/oldest

$(OLDEST)/.made: pyproject.toml .ci/oldest.py
	python=$$(.ci/python 3.10 3.11 3.12) && $$python -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --no-deps --editable .
	$(OLDEST)/bin/python .ci/oldest.py >$(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt --editable '.[all]' pytest pytest-xdist
	@touch $@

test-oldest: override VENV = $(OLDEST)
test-oldest: $(OLDEST)/.made
	$(PYTEST)

clean:
	rm -rf $(VENV) .versions demo-output build *.egg-info .pytest_cache .mypy_cache .ruff_cache
