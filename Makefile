PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint clean

demo: .venv/.installed  ## benchmark DSNO and three solvers on the embedded teacher, render the report
	$(BIN)/bench run --samplers dsno,ddim,dpmpp_2m,heun --calls 4,8,12 --trajectory-images 32 --out runs/demo

test: lint  ## the whole suite
	$(BIN)/python -m pytest

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[kdiffusion,test]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache
