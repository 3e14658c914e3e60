# make demo: sets up and does the main job. make test: sets up and tests. make help: the rest.
PYTHON ?= python3
SEED ?= 0
SCENES ?=
OUT ?= out/demo
JOBS ?= 2
SLOW ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PIP_LOG := $(VENV)/pip.log
# One thread for each test process: two cores shared by several thread pools are slower than one thread each, and
# the results of some numerical libraries depend on the number. No model hub: it cannot be needed.
TEST_ENV := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
            RAY_USAGE_STATS_ENABLED=0

.PHONY: help setup system-libs demo test test-fast consumers lint clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo        set up, render stereo videos with known motion, make question shards of them, and score"
	@echo "                 every answer against the truth    (SEED=0 other scenes, SCENES=n how many, OUT=out/demo)"
	@echo "make test        set up, lint, and run the tests    (SLOW=1 the slow ones too, JOBS=2 processes)"
	@echo "make test-fast   the tests that need neither Ray nor the real sequences"
	@echo "make consumers   run other trainers' own code on our exports, each in an environment of its own that is removed"
	@echo "                 afterwards (about 20 minutes, 2.5 GB at a time), and write docs/consumers.md"
	@echo "make lint        ruff"
	@echo "make setup       only the environment in $(VENV) and the system libraries    (PYTHON=python3)"
	@echo "make clean       remove out/ and caches;  make distclean: $(VENV) too"

setup: $(STAMP) system-libs

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or newer, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; ok = sys.version_info >= (3, 11); ok or print(f"make: $(PYTHON) is Python {sys.version.split()[0]}; 3.11 or newer is needed; say make PYTHON=python3.11", file=sys.stderr); sys.exit(not ok)'
	@if [ ! -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	   $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { echo "make: $(PYTHON) -m venv fails; on Debian and Ubuntu: apt-get install -y python3-venv" >&2; exit 1; }; fi
	@echo "setup: installing into $(VENV) (about a minute and 3 GB; log: $(PIP_LOG))"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[all]' >$(PIP_LOG) 2>&1 || \
	  { echo "setup: pip failed; the end of $(PIP_LOG):" >&2; sed -E 's#[a-z+]+://[^ ]+#(address)#g' $(PIP_LOG) | tail -n 15 >&2; exit 1; }
	@touch $@

system-libs: $(STAMP)
	@$(BIN)/python tools/system_libs.py

demo: setup
	@mkdir -p $(dir $(OUT))
	RAY_USAGE_STATS_ENABLED=0 $(BIN)/curate demo --out $(OUT) --seed $(SEED) $(if $(SCENES),--scenes $(SCENES))

lint: $(STAMP)
	@$(BIN)/ruff check --quiet . && echo "lint: clean"

test: setup lint
	$(TEST_ENV) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --max-worker-restart 0 \
	  $(if $(SLOW),,-m "not slow") $(PYTEST_ARGS)

test-fast: setup
	$(TEST_ENV) $(BIN)/python -m pytest -x -m "not slow and not ray and not shared" $(PYTEST_ARGS)

consumers: setup
	$(TEST_ENV) $(BIN)/python tools/consumers/run.py

clean:
	rm -rf out .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
