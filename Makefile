# Everything a fresh machine with Python 3.11+ and make needs: `make demo` and `make test` install what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Where this is set (containers set it), every process compiles the CDK, pandas and the emulator anew: minutes in sum.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install stage demo learn permissions diagram settings channels destroy test verify check lint types unit bench requirements clean
.DEFAULT_GOAL := help

help: ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.dev ## Make .venv, with what developing and deploying need

demo: $(VENV)/.demo ## Watch the whole system find incidents in a generated fleet (ARGS="--servers 20" and so on)
	@$(BIN)/treeline demo $(ARGS)

# The deployed pipeline under every fault there is.
DEPLOYMENT := tests/deployed/test_faults.py
test: check ## Before every push, minutes: lint, types, unit, contract, templates, one deployment with its faults
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --explain-over 20 tests/contract tests/infra $(DEPLOYMENT)

verify: $(VENV)/.dev ## Before a release, half an hour: figures, learning loop, all other tests (tests/verify.py)
	@$(BIN)/python -m tests.verify

check: $(VENV)/.dev ## The inner loop, under a minute: lint, types, unit
	@$(MAKE) --no-print-directory -j 2 lint types unit

lint: $(VENV)/.dev ## Style, unused code, import direction
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy --strict
	@$(BIN)/mypy

permissions: $(VENV)/.dev ## Record anew which AWS calls the functions make (minutes), for the proof of their permissions
	@TREELINE_WRITE_RECORDING=1 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/emulator tests/deployed

unit: $(VENV)/.dev ## Unit tests
	@$(BIN)/python -m pytest tests/unit -n 2

learn: $(VENV)/.demo ## The learning loop, both endings: the second model takes over, or has to go
	@$(BIN)/treeline demo --learn --out runs/learn $(ARGS)
	@$(BIN)/treeline demo --learn rolled-back --out runs/learn-rolled-back $(ARGS)

bench: $(VENV)/.dev ## Benchmarks against peers, in one run
	@$(BIN)/python -m benchmarks.forest
	@$(BIN)/python -m benchmarks.detect_memory
	@$(BIN)/python -m benchmarks.ingest

quality: $(VENV)/.dev ## The release gate: fixed backtests held against training/evaluate/quality.yaml (ARGS="--data-folder DIR")
	@$(BIN)/treeline quality $(ARGS)

$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Treeline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Installing into $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.uv requirements/demo.txt pyproject.toml
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/demo.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements/dev.txt pyproject.toml
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo

COMPILE := $(BIN)/uv pip compile -q --generate-hashes --no-annotate --no-header
requirements: $(VENV)/.uv ## Pin anew from pyproject.toml: versions and hashes, no addresses
	@$(COMPILE) --universal --python-version 3.11 --extra local --extra dev --extra bench --extra tune pyproject.toml -o requirements/dev.txt
	@$(COMPILE) --universal --python-version 3.11 --extra local pyproject.toml -c requirements/dev.txt -o requirements/demo.txt
	@printf 'numpy\naws-lambda-powertools\ntzdata\n' | $(COMPILE) --python-version 3.13 --python-platform aarch64-manylinux2014 \
	  -c requirements/dev.txt - -o requirements/lambda.txt
	@printf 'boto3\naws-lambda-powertools\ncbor2\nnumba\nnumpy\npandas\npyarrow\nrich\npyyaml\ntzdata\n' | $(COMPILE) --python-version 3.13 \
	  --python-platform x86_64-manylinux_2_28 -c requirements/dev.txt - -o requirements/training.txt

channels: $(VENV)/.dev ## Write docs/channels.md anew from the registry
	@$(BIN)/python -m report.channels

settings: $(VENV)/.dev ## Write docs/settings.md anew from the declarations
	@$(BIN)/python -m stacks.config.reference

diagram: $(VENV)/.dev ## Draw docs/architecture.md anew from the templates
	@$(BIN)/python -m tests.infra.diagram

STAGE ?= dev
SERVERS ?= 500
stage: $(VENV)/.dev ## Synthesize, check and price a stage, without an account (STAGE=mine SERVERS=500)
	@$(BIN)/python -m stacks.check $(STAGE)
	@$(BIN)/treeline cost --stage $(STAGE) --servers $(SERVERS) --assembly build/stages/$(STAGE)

destroy: $(VENV)/.dev ## Destroy a stage's stacks (STAGE=dev); says first what policy retains
	@$(BIN)/python -m stacks.retained $(STAGE)
	@npx aws-cdk@2.1148.1 destroy --all -c stage=$(STAGE)

clean: ## Remove what was built, not the environment
	@rm -rf cdk.out build runs .pytest_cache .mypy_cache .ruff_cache
