# The two commands of the README are `make demo` and `make test`; both do all set-up.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format recipe-earth-pix2pix benchmarks clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[data]'
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt .venv/installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/installed
	$(BIN)/dragoman train recipes/earth_pix2pix.yaml

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check dragoman benchmarks tests

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
