# demo, paper, test, lint and bench set up what they need. Another Python: make PYTHON=/path/to/python demo
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
LUIGI := $(VENV)/bin/luigi --module tasks

PAPER := --datasets demo --MakeDemo-difficulty hard --quick --seeds 1,49

.PHONY: demo paper test lint bench clean

demo: $(VENV)/installed
	$(LUIGI) ShowPredictions --dataset demo

paper: $(VENV)/installed
	$(LUIGI) Table1 $(PAPER)
	$(LUIGI) LowResource $(PAPER)
	$(LUIGI) CrossTask $(PAPER)
	$(LUIGI) Gates $(PAPER)
	$(LUIGI) Cases $(PAPER)
	$(LUIGI) Report --datasets demo

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: $(VENV)/installed-dev
	$(VENV)/bin/python -m bench

clean:
	rm -rf $(VENV) store *.egg-info

$(VENV)/installed: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[phrases,figures]'
	$(VENV)/bin/python -m compileall -q hvpnet.py tasks.py pipeline features model
	touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,phrases,figures]'
	touch $@
