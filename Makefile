# make            what there is
# make test       unit, flows, conformance     make test-faults   what breaks things (root where it must)
# make check      style, types, imports        make bench         side by side with bao agent
# make test-deploy  containers, systemd, helm, real apps (installs Debian's packages where it is root)
# make demo       a minute of the real thing        make deb        Debian's package, in dist/
# make fleet      10 000 agents, simulated      make clean      as it was cloned
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST := $(BIN)/pytest -n auto --dist loadfile

.PHONY: help venv test test-faults test-deploy check bench fleet demo deb clean

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

test: venv
	@$(PYTEST) tests/unit tests/flows tests/conformance

test-faults: venv
	@$(PYTEST) --dist loadgroup --matrix-into docs/reliability.md tests/faults

test-deploy: venv
	@tests/deploy/prepare
	@$(PYTEST) tests/deploy

check: venv
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: venv
	@$(BIN)/python -m benchmarks

fleet: venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benchmarks fleet

demo: venv
	@$(BIN)/python -m deploy.demo

deb: venv
	@$(BIN)/python -m deploy.package

clean:
	@rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
