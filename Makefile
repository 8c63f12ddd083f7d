# Everything a newcomer needs: `make run` and `make test` do all the set-up themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
# What the benchmarks measure beside FastCMS; in Debian the packages have the same names.
BENCH_PROGRAMS := age zip unzip restic
# Where it is set, every command and server of the tests compiles all of FastCMS again.
unexport PYTHONDONTWRITEBYTECODE

$(VENV)/run.stamp: pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -e '.[dev]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp requirements-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt -e '.[bench]'
	@touch $@

.PHONY: install
install: $(VENV)/run.stamp ## Install FastCMS without starting it, to restore a backup

.PHONY: run
run: $(VENV)/run.stamp ## Start the server on http://localhost:8000 and print where to log in
	@$(BIN)/fastcms serve

.PHONY: test
test: $(VENV)/test.stamp programs check ## Check and test everything (what CI runs)
	@$(BIN)/pytest -n $$(($$(nproc) + 2)) --dist worksteal -m "not slow"  # more than cores: some wait for a clock or a disk

.PHONY: slow
slow: $(VENV)/test.stamp programs ## Run the tests that take longest, or are one of many of their kind (five minutes)
	@$(BIN)/pytest -n 2 -m slow

.PHONY: crash
crash: $(VENV)/test.stamp programs ## Kill, fail and fill the disk at every call of backup and restore (half an hour)
	@$(BIN)/python -m tests.crash.run

.PHONY: year
year: $(VENV)/test.stamp programs ## Live through a year of automatic backups, and compare each evening (ten minutes)
	@$(BIN)/python -m tests.year.run

.PHONY: screenshots
screenshots: $(VENV)/test.stamp programs ## Photograph the dashboard in every state, into screenshots/ (five minutes)
	@$(BIN)/python -m tests.browser.screenshots

.PHONY: check
check: $(VENV)/test.stamp ## Lint, types and layers, without the tests
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: programs
programs: $(VENV)/test.stamp
	@tests/programs.sh $(BIN)

.PHONY: demo
demo: $(VENV)/test.stamp ## Watch a site being filled, backed up, half deleted and restored, in under a minute
	@$(BIN)/python -m benchmarks.demo

# `make bench QUICK=1` takes two minutes; without QUICK it takes three quarters of an hour.
.PHONY: bench
bench: $(VENV)/bench.stamp ## Measure backups beside tar, zip, restic, PocketBase and rclone, and write docs/benchmarks.md
	@for program in $(BENCH_PROGRAMS); do command -v $$program >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing the programs to measure: $(BENCH_PROGRAMS)"; \
	  { $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq $(BENCH_PROGRAMS) >/dev/null; } \
	  || echo "That did not work: the report says which of them are missing."; \
	fi
	@$(BIN)/python -m benchmarks.bench $(if $(QUICK),--quick)

.PHONY: scaling
scaling: $(VENV)/bench.stamp ## Measure what this machine carries, and write docs/scaling.md (ten minutes)
	@$(BIN)/python -m benchmarks.scaling

# Freezing forgets for which machines a package is: the condition is that of pyproject.toml.
FREEZE := pip freeze --exclude fastcms | sed "s/^pysqlite3==.*/&; sys_platform == 'darwin' or platform_machine == 'x86_64'/"

.PHONY: lock
lock: ## Pin the newest releases into requirements*.txt
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet . && $(VENV)/lock/bin/$(FREEZE) > requirements.txt
	$(VENV)/lock/bin/pip install --quiet '.[dev]' && $(VENV)/lock/bin/$(FREEZE) > requirements-dev.txt
	$(VENV)/lock/bin/pip install --quiet '.[bench]' && $(VENV)/lock/bin/$(FREEZE) > requirements-bench.txt

.PHONY: clean
clean: ## Remove the virtual environment and caches (never data/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20
