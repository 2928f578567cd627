# Plain words for the commands of a day. `make demo` and `make test` need python3 (3.11 or later), a C compiler and
# nothing else: they make a virtual environment in $(VENV) and install into it.

VENV ?= .venv
PYTHON ?= python3
# What is installed: this tree, or a wheel.
PACKAGE ?= .
# Further arguments of pytest.
PYTEST_ARGS ?=
# Arguments of the benchmarks: --quick, --python, names of workloads.
BENCH_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
C_FILES = $(shell find csrc tests/c -name '*.[ch]')

# setuptools never takes a file out of build/lib again: a module that was deleted would still be installed.
# The objects of the C library lie elsewhere in build/ and are kept.
CLEAN_LIB := rm -rf build/lib build/lib.* build/bdist.*

.PHONY: build demo test bench lint format docs clean

build: $(BIN)/python                   ## dist/: the source distribution, and the wheel built from it
	$(PIP) build
	$(BIN)/python -m build

# This tree is installed in place, so that `python -m fastnn` works in its own folder as well.
demo: $(BIN)/python                    ## train a classifier on real handwritten digits
	$(CLEAN_LIB)
	$(PIP) $(if $(filter .,$(PACKAGE)),--editable) "$(PACKAGE)"
	$(BIN)/fastnn demo

test: $(BIN)/python                    ## the test suite, on the installed package
	$(CLEAN_LIB)
	$(PIP) "$(PACKAGE)[test]"
	PYTHONSAFEPATH=1 $(BIN)/python -c "import fastnn; print('testing', fastnn.__version__, 'in', fastnn.__path__[0])"
	PYTHONSAFEPATH=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(BIN)/python                   ## how fast, on this machine
	$(CLEAN_LIB)
	$(PIP) "$(PACKAGE)"
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

lint: $(BIN)/python                    ## layout, mistakes, types, spelling
	$(PIP) --group lint numpy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" cython-lint fastnn
	$(BIN)/codespell

format: $(BIN)/python                  ## lay out Python and C
	$(PIP) --group lint
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

docs: $(BIN)/python                    ## build/docs/architecture.html
	$(PIP) "$(PACKAGE)[docs]"
	$(BIN)/python -m sphinx -C -W -q -b html -D extensions=myst_parser -D suppress_warnings=toc.not_included \
		-D project=fastnn -D root_doc=architecture docs build/docs

clean:                                 ## remove what was built; not the virtual environment
	rm -rf build dist *.egg-info fastnn/_core*.so .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
