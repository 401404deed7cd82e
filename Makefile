# The two commands of the README are `make demo` and `make test`; both do all set-up.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test nightly check format benchmarks \
	recipe-earth-height recipe-earth-stack recipe-four-layouts recipe-whole-earth recipe-inpainting \
	recipe-few-shot recipe-modes

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "Python 3.11 or newer with venv is needed: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[data]'
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt .venv/installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/installed
	$(BIN)/dragoman train recipes/earth_pix2pix.yaml --minutes 4

# Two workers of one thread each: threads that wait for each other would slow both down.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# Ten times as many hostile files as in the ordinary run.
nightly: .venv/installed-dev
	OMP_NUM_THREADS=1 DRAGOMAN_FUZZ=2000 $(BIN)/python -m pytest -n 2

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check dragoman benchmarks recipes tests

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Three seeds of any recipe, as `make recipe-cover-spade`; mean and spread go into recipes/*.json.
recipe-%: .venv/installed
	$(BIN)/python recipes/repeat.py recipes/$(subst -,_,$*).yaml

recipe-earth-height: recipe-earth-height-pix2pix

recipe-earth-stack: .venv/installed
	$(BIN)/python recipes/export_earth.py relief satellite height --out runs/earth_files
	$(BIN)/python recipes/repeat.py recipes/earth_stack_height.yaml

recipe-four-layouts: .venv/installed
	$(BIN)/python recipes/four_layouts.py

# The whole relief of the Earth, 5400 x 2700 px, in one go; needs recipe-earth-pix2pix.
recipe-whole-earth: .venv/installed
	$(BIN)/python recipes/whole_earth.py runs/earth_pix2pix-seed0

# The table of the context encoder's paper and its linear probe; needs the runs of six recipes.
recipe-inpainting: .venv/installed
	$(BIN)/python recipes/inpainting.py --joint $(wildcard runs/earth_context_encoder-seed?) \
	  --l2 $(wildcard runs/earth_context_l2-seed?) --out recipes/earth_inpainting.json
	$(BIN)/python recipes/inpainting.py --joint $(wildcard runs/openmoji_context_encoder-seed?) \
	  --l2 $(wildcard runs/openmoji_context_l2-seed?) --probe \
	  --blocks $(wildcard runs/openmoji_context_blocks-seed?) \
	  --autoencoder $(wildcard runs/openmoji_autoencoder-seed?) --out recipes/openmoji_inpainting.json

# How often pictures are taken for the class that a few examples show; needs recipe-openmoji-funit.
recipe-few-shot: .venv/installed
	$(BIN)/python recipes/few_shot.py $(wildcard runs/openmoji_funit-seed?) \
	  --out recipes/openmoji_few_shot.json

# How many of the six tones the answers to a drawing have; needs recipe-openmoji-munit and
# recipe-openmoji-cyclegan-noise.
recipe-modes: .venv/installed
	$(BIN)/python recipes/modes.py $(wildcard runs/openmoji_munit-seed?) \
	  $(wildcard runs/openmoji_cyclegan_noise-seed?) --out recipes/openmoji_modes.json

benchmarks: .venv/installed
	$(BIN)/python benchmarks/throughput.py --out benchmarks/throughput.json
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/index.py
	$(BIN)/python benchmarks/shards.py
	$(BIN)/python benchmarks/doctor.py
	$(BIN)/python benchmarks/tiling.py
	$(BIN)/python benchmarks/large_pictures.py
	$(BIN)/python benchmarks/translation.py
	$(BIN)/python benchmarks/steps.py --out benchmarks/steps.json
