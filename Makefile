# Two commands for a newcomer: `make demo` and `make test`. Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# First and by itself: left to the resolver, torch brings gigabytes of CUDA. For a GPU: make TORCH='torch==2.13.0 --index-url …/cu130'
TORCH  ?= torch==2.13.0
# Images of containers set it. Each of a thousand processes would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test nightly rows wires clients matrix quick lint bench mutants docs schema clean

help:   ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.models  ## one job of every type, from request to picture, on an embedded Postgres and tiny models
	@$(BIN)/ourvidz demo

test: $(VENV)/.dev lint  ## everything: lint, types, arrows, then the whole suite
	$(BIN)/python -m pytest

nightly: $(VENV)/.dev  ## the tests at full size (a hundred schema drifts, long storms), without the suite
	OURVIDZ_TEST_FULL=1 $(BIN)/python -m pytest -m '(nightly or sized) and not rows' --timeout 3600

rows: $(VENV)/.dev  ## every trigger and set function at 100,000 rows in one statement, on two versions of Postgres; hours
	$(BIN)/python -m pytest tests/db/test_many_rows.py -m rows -n 0 -s

wires: $(VENV)/.dev  ## break each wire of the models once (inputs swapped, factors lost, …), and see that a test of content notices
	$(BIN)/python tests/content/broken_wires.py

clients: $(VENV)/.dev  ## the client contract: every request of OurVidz's front end, by both libraries, on both databases; prints the table
	$(BIN)/python -m pytest tests/clients -n 0 -m '' --deselect tests/clients/test_storm.py::test_two_hundred

matrix: $(VENV)/.dev  ## the database's tests on Postgres 15 to 18, the quick ones on each Python found; some: make matrix ON="16 3.11"
	$(BIN)/python -m tools.matrix $(ON)

quick: $(VENV)/.dev  ## the tests of a few seconds
	$(BIN)/python -m pytest tests/state tests/test_screen.py tests/contract -q

lint: $(VENV)/.dev  ## ruff, mypy (strict), import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## all benchmarks, some minutes; one by name: make bench NAME=executor
	$(BIN)/python -m bench $(NAME)

mutants: $(VENV)/.dev  ## take each guard away, and see that a test notices
	$(BIN)/python tests/mutations.py

docs: $(VENV)/.dev  ## write what is made from the code: pages of docs/, what the edge functions share
	$(BIN)/python -m tools.docs

schema: $(VENV)/.dev  ## write tests/schema.sql, the dump of a migrated database, so that a diff shows what a change does to the schema
	OURVIDZ_TEST_SCHEMA=1 $(BIN)/python -m pytest tests/db/test_schema_file.py -n 0 -q

clean:  ## forget the environment
	rm -rf $(VENV)

$(VENV)/.models: pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); a few minutes the first time …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[models]'
	@touch $@

$(VENV)/.dev: $(VENV)/.models
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[models,dev]'
	@touch $@
