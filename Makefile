# The only entry points. Everything works from a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_COMPILE_BYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-long check format lock bench docs clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(VENV)/runtime ## start everything (ARGS=--once: do the main job, print the ledger, stop)
	@$(BIN)/asset-ledger up $(ARGS)

# faults, whole installations, and what takes a database of days for each test
LONG := tests/faults tests/doubles tests/up tests/ui tests/terraform tests/deploy tests/agents_live tests/tickets tests/marts tests/exports \
	$(wildcard tests/sources/*/test_errors.py tests/sources/*/test_collector.py tests/sources/*/test_failures.py tests/sources/*/test_fuzz.py) \
	$(addprefix tests/api/test_,openapi.py exports.py) \
	$(addprefix tests/cli/test_,runs_of_dagster.py replay.py absences.py decisions.py doctor.py export.py impact.py plans.py) \
	$(addprefix tests/dagster/test_,agents.py decision_jobs.py lost_runs.py mart_runs.py marts.py notices.py replays.py watch.py) \
	$(addprefix tests/pipeline/test_,agent_findings.py agents.py canary.py findings_in_doubt.py hyperv_to_ledger.py notices.py plans.py rebuild.py retention.py shards.py vcenter_days.py watch.py) \
	$(addprefix tests/store/,query/test_as_of.py derive/test_duplicates.py derive/test_settle.py decide agents test_migration_under_load.py test_server.py)
# workers that are killed and late: what they are given time for, nothing else may take
ALONE := tests/workers
# where they can be compiled; under CI they must be
KERBEROS := $(if $(filter true,$(CI))$(shell command -v krb5-config),$(VENV)/kerberos)

# each worker has a PostgreSQL of its own; JOBS=0 runs everything in one process, as --pdb needs
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test: $(VENV)/dev ## run the tests (ARGS=… go to pytest; JOBS=… at once)
	@$(PYTEST) $(addprefix --ignore=,$(LONG) $(ALONE)) $(ARGS)

test-long: $(VENV)/terraform $(KERBEROS) ## run the long suites: every fault over every platform's double, the doubles, whole installations, the browser, Terraform, Kerberos
	@$(PYTEST) $(LONG) $(ARGS)
	@$(BIN)/python -m pytest -n 0 $(ALONE)

check: $(VENV)/dev ## format, lint, types, import borders
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/dev ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/bench ## measure every figure of docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/dev ## write the generated pages of docs/, and dbt's pages of the marts into build/marts/
	@$(BIN)/asset-ledger errors --markdown > docs/error-codes.md
	@$(BIN)/asset-ledger marts docs --to build/marts

lock: $(VENV)/dev ## write the lock files anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header -q -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra vault --extra celery --group build --group dev --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header -q -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile pyproject.toml --extra celery --group build --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements-celery.lock
	@$(BIN)/uv pip compile --group pyproject.toml:bench --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements-bench.lock
	@$(BIN)/uv pip compile --group pyproject.toml:build --group pyproject.toml:kerberos --universal --python-version 3.11 --generate-hashes \
		--no-strip-extras --no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements-kerberos.lock
	@$(BIN)/uv pip compile --group pyproject.toml:build --group pyproject.toml:terraform --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements-terraform.lock

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 run")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.lock | $(VENV)/bin/python
	@echo "installing the locked dependencies (about a minute, once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: requirements-dev.lock $(VENV)/runtime
	@echo "installing the locked development dependencies"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/terraform: requirements-terraform.lock $(VENV)/dev
	@echo "installing Terraform, a client of the tests, in two releases (205 MB, once)"
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --build-constraints requirements-terraform.lock -r requirements-terraform.lock
	@touch $@

$(VENV)/bench: requirements-bench.lock $(VENV)/dev
	@echo "installing Ansible's collections, which the benchmarks compare with (about a minute, once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

# uv holds what the build fetches to the lock, too
$(VENV)/kerberos: requirements-kerberos.lock $(VENV)/dev
	@echo "compiling the Kerberos libraries that tests/tickets speaks with (about a minute, once)"
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --build-constraints requirements-kerberos.lock -r requirements-kerberos.lock
	@touch $@

clean: ## remove what this installation made: environment, embedded database, Dagster's files
	rm -rf $(VENV) .asset_ledger
