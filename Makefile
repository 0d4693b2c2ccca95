PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint gate speed docs clean

demo: .venv/.installed  ## benchmark DSNO, its control and three solvers on the embedded teacher, render the report
	@echo "demo: 11 cells of 640 images each on the embedded teacher, into runs/demo; 1 to 2 minutes on two idle cores"
	$(BIN)/bench run --plan demo --out runs/demo

test: lint  ## the whole suite
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

gate: .venv/.installed  ## counted work and images against results/gate/counts.json; no clock
	$(BIN)/bench gate

speed: .venv/.developing  ## the speed suite, as runs/speed.json
	mkdir -p runs
	$(BIN)/python -m pytest tests/speed --benchmark-only --benchmark-json runs/speed.json

docs: .venv/.installed  ## the site of docs/, into site/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict

lint: .venv/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed: pyproject.toml constraints.txt  # what a user needs
	@echo "install: into .venv, a few minutes; on Linux about 5 GB, nearly all of it PyTorch's CUDA build"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

.venv/.developing: .venv/.installed  # and what checks and tests need
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[azula,browser,kdiffusion,test]'
	touch $@

clean:
	rm -rf .venv runs build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
