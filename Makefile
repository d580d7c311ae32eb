# Each target works from an empty machine with Python 3.11 or newer: it makes .venv itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test serve-test proof storm kills lint docs bench clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/alti2v demo --out demo-out

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three processes keep two cores busy: many tests wait for others of their own, and TensorFlow takes all cores itself.
# Whole files, so that what a file prepares is prepared once.
test: lint
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile

# The page of `alti2v serve` in a browser; in an environment of its own, see the extra `serve` in setup.cfg. Without
# TensorFlow, which serving an exported folder does not need. Wants Debian's chromium and chromium-driver.
serve-test: .venv-serve/.installed
	.venv-serve/bin/python -m pytest --confcutdir=tests/serving tests/serving/test_page_browser.py

.venv-serve/.installed: setup.cfg
	test -x .venv-serve/bin/python || $(PYTHON) -m venv .venv-serve
	.venv-serve/bin/python -m pip install --quiet --disable-pip-version-check 'gradio>=6,<7' faiss-cpu onnx onnxruntime \
		click fsspec jinja2 matplotlib numpy pyarrow rich selenium pytest pytest-asyncio pytest-socket
	touch $@

# Proofs that take minutes each, such as killing the whole demo again and again.
proof: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow --numprocesses=2 --dist=loadfile

# A hundred kill -9 at random moments of one crawl with faults on: part of the proofs, and alone.
storm: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow tests/crawl/test_kill_storm.py

# Twenty kill -9 at random steps of one training, and Ctrl-C at a terminal: part of the proofs, and alone.
kills: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow tests/model/training/test_kills.py

docs: $(VENV)/.installed-test
	$(BIN)/python docs/generate.py

bench: $(VENV)/.installed-test
	set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf $(VENV) .venv-serve demo-out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
