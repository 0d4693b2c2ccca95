PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint gate speed clean

demo: .venv/.installed  ## benchmark DSNO and three solvers on the embedded teacher, render the report
	$(BIN)/bench run --samplers dsno,ddim,dpmpp_2m,heun --calls 4,8,12 --trajectory-images 32 --out runs/demo

test: lint  ## the whole suite
	$(BIN)/python -m pytest

gate: .venv/.installed  ## counted work and images against results/gate/counts.json; no clock
	$(BIN)/bench gate

speed: .venv/.installed  ## the speed suite, as runs/speed.json
	mkdir -p runs
	$(BIN)/python -m pytest tests/speed --benchmark-only --benchmark-json runs/speed.json

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
