# Every target works from an empty machine with Python 3.11 or newer: it makes the environment that it needs.
# PYTHON and VENV choose another interpreter, as in: make fast PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Three processes keep two cores busy: many tests wait for processes of their own, and TensorFlow uses all cores.
# Whole files, so that what the tests of a file share is prepared once.
PYTEST := -m pytest --numprocesses=3 --dist=loadfile

.PHONY: install demo lint install-hooks test fast coverage lowest dist wheel-test serve-test proof storm kills docs bench clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/alti2v demo --out demo-out

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Run the same checks before every commit (.pre-commit-config.yaml).
install-hooks: $(VENV)/.installed-test
	$(BIN)/pre-commit install

test: lint
	$(BIN)/python $(PYTEST)

# The tests that need no TensorFlow.
fast: lint
	$(BIN)/python $(PYTEST) -m "not tf and not slow"

# The fast tests, with the branch coverage of the packages that need no TensorFlow ([coverage:run] in setup.cfg), but two:
# one runs as another user and one on a full disk, where coverage cannot write its own file.
coverage: lint
	$(BIN)/python $(PYTEST) -m "not tf and not slow" --cov --cov-report=term:skip-covered \
		--deselect tests/crawl/test_read_only_stores.py::test_another_user_can_read_a_store \
		--deselect tests/dataset/test_older_work_folder.py::test_a_disk_that_fills_up_while_sorting_is_told_in_one_line

# The fast tests with the lowest versions that setup.cfg allows. Test tools have no lower bounds: they are the newest.
lowest: $(VENV)/.installed-test
	rm -rf .venv-lowest
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --resolution lowest-direct setup.cfg \
		--extra dask --extra export --extra hub --extra jax --extra kpi --extra s3 --extra search --extra tensorboard \
		--output-file .venv-lowest/lowest.txt
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python \
		--requirements .venv-lowest/lowest.txt --editable '.[test]'
	.venv-lowest/bin/python $(PYTEST) -m "not tf and not slow"

# The sdist, and the wheel that is built from it.
dist: $(VENV)/.installed-test
	rm -rf dist
	$(BIN)/python -m build --outdir dist

# The wheel in a clean environment and in a folder without the source.
wheel-test: dist
	rm -rf .venv-wheel
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python $(PIP_INSTALL) --constraint constraints.txt dist/*.whl
	.venv-wheel/bin/python -I tests/helpers/check_wheel.py

# The page of `alti2v serve` over HTTP and in a browser, in an environment of its own: see the extra `serve` in setup.cfg. Without
# TensorFlow, which serving an exported folder does not need. Needs Debian's chromium and chromium-driver.
serve-test: .venv-serve/.installed
	.venv-serve/bin/python -m pytest --confcutdir=tests/serving \
		tests/serving/test_page_http.py tests/serving/test_page_browser.py

.venv-serve/.installed: setup.cfg
	test -x .venv-serve/bin/python || $(PYTHON) -m venv .venv-serve
	.venv-serve/bin/python $(PIP_INSTALL) 'gradio>=6,<7' faiss-cpu onnx onnxruntime \
		click fsspec jinja2 numpy pyarrow pyspng rich zlib-ng selenium pytest pytest-asyncio pytest-socket
	touch $@

# Proofs that take minutes each, such as killing the whole demo again and again.
proof: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow --numprocesses=2 --dist=loadfile

# One of the proofs: a hundred kill -9 at random moments of one crawl, with faults on.
storm: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow tests/crawl/faults/test_kill_storm.py

# One of the proofs: twenty kill -9 at random steps of one training, and Ctrl-C at a terminal.
kills: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow tests/model/training/test_kills.py

docs: $(VENV)/.installed-test
	$(BIN)/python docs/generate.py

bench: $(VENV)/.installed-test
	set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf .venv* demo-out build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
