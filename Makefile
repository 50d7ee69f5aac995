# Two commands on a fresh clone: `make demo` and `make test`. Both create .venv and install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: demo test test-all lint benchmarks clean

demo: $(VENV)/.installed
	$(BIN)/fgvr demo --out $(OUT)

test: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 --dist loadfile

test-all: $(VENV)/.installed-dev  ## also the slow tests; those on material outside the repository need FGVR_SHARED
	HF_HUB_OFFLINE=1 $(BIN)/pytest -n 2 --dist loadfile -m ""

BENCHMARKS := prompt_step prompt_memory embedding precision neighbours memory metrics scheduler local_mllm growth demo_profile retrieval ranking alignment_step policy_step student student_replies
benchmarks: $(VENV)/.installed-dev  ## about an hour; wants an idle machine; writes docs/benchmarks.md
	for name in $(BENCHMARKS); do HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.$$name || exit 1; done
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.full_batch --work build/embedded

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("fgvr needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embed]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,remote,parquet,embed,train,ann]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) $(OUT) build dist
