# Everything a contributor runs. Needs make and Python 3.11 or newer; the rest is set up in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HONO := examples/polyglot/hono
CODE := $(wildcard src compat tests examples bench checks mutants sdk/conformance sdk/founding sdk/ruby)

# The machine's own `uv` where there is one, else a private one. It uses the machine's Python,
# the package index that the machine is configured for, and the certificates that it trusts.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
export UV_SYSTEM_CERTS ?= 1

# A fifth of the tests' time is spent waiting, in which another process can use its core.
TESTERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# The tests start many processes, each of which would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo picture ui ui-watch test test-crash test-ui pictures test-containers mutants sdk sdk-ruby sdk-typescript sdk-rust check format bench docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the locked dependencies and this project, editable

demo: $(READY) ## Run five teams' workflows, kill a worker, retry a task: about 15 seconds
	$(BIN)/tasker demo

picture: $(READY) ## Draw the demo into docs/images/demo.svg
	$(BIN)/python -m examples.growthcorp --picture docs/images/demo.svg

ui: ui/node_modules/.ready ## Build the web UI into src/tasker/web/static/; needs Node 20
	cd ui && npm run --silent types && npm run --silent build

ui-watch: ui/node_modules/.ready ## Build the web UI again at each change
	cd ui && npm run --silent watch

test: $(READY) ## Run the tests, about 6 minutes on two cores; QUICK=1 about 50 s, on SQLite alone; ARGS="-k name" picks some
	$(BIN)/pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder $(if $(QUICK),--assert=plain) $(ARGS)

test-crash: $(READY) ## Kill workers and databases while they work, about 3 minutes; ALL=1 at every statement
	$(BIN)/pytest --numprocesses auto --dist load --timeout 600 tests/crash $(ARGS)

test-ui: $(READY) ui/node_modules/.ready ## Test the web UI in Chromium, about 5 minutes; needs Node 20 and Debian's chromium
	cd ui && npm run --silent check && npm run --silent test
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.browser.lock
	$(BIN)/pytest --numprocesses 2 --dist loadfile --timeout 300 tests/browser $(ARGS)

sdk: $(READY) $(if $(shell command -v npm),sdk-typescript) $(if $(shell command -v cargo),sdk-rust) ## Test the SDKs of all languages that are installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile --timeout 300 sdk $(ARGS)

sdk-ruby: $(READY) ## Test the Ruby gem; needs Ruby 3.1
	TASKER_SDK=ruby $(BIN)/pytest --numprocesses 2 --dist loadfile --timeout 300 sdk $(ARGS)

pictures: $(READY) ui/node_modules/.ready ## Take the pictures of the web UI in docs/images/ui again; RECORD=1 with new data
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.browser.lock
	$(if $(RECORD),$(BIN)/python -m tests.browser.record)
	TASKER_TEST_PICTURES=remake $(BIN)/pytest tests/browser/test_pictures.py $(ARGS)

test-containers: $(READY) ## Build the image and run compose.yaml in a container engine
	tests/containers/with-engine $(BIN)/pytest tests/containers $(ARGS)

sdk-typescript: sdk/typescript/node_modules/.ready $(HONO)/node_modules/.ready ## Build and test the npm package; needs Node 20
	cd sdk/typescript && npm run --silent build && npm test --silent
	cd $(HONO) && npm run --silent check

sdk-rust: ## Build and test the Rust crate; needs Rust 1.80
	cd sdk/rust && cargo fmt --check && cargo clippy --locked --all-targets --quiet -- --deny warnings
	cd sdk/rust && cargo test --locked --quiet
	cd sdk/rust && cargo package --locked --quiet --allow-dirty
	cd examples/polyglot/axum && cargo fmt --check
	cd examples/polyglot/axum && CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/sdk/rust/target}" cargo build --locked --quiet

check: $(READY) ## Lint, formatting, types, layers, wording, types in users' code
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python checks/voice.py
	$(BIN)/python checks/typed.py
	$(if $(shell command -v npm),$(MAKE) --no-print-directory check-ui,@echo "npm is missing: the build of the web UI is compared by the digest of its sources alone")

check-ui: ui/node_modules/.ready
	cd ui && npm run --silent types && npm run --silent check && npm run --silent test

mutants: $(READY) ## Plant defects one at a time; the tests must catch 95 %; ARGS="settler" picks some
	$(BIN)/python -m mutants $(ARGS)

format: $(READY) ## Format the code and apply the lint's safe fixes
	$(BIN)/ruff check --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(READY) ## Measure speed; QUICK=1 for a short run; ARGS="--against REV" compares with a revision
	$(BIN)/python -m bench $(ARGS)

docs: $(READY) ## Build the documentation into site/
	$(BIN)/zensical build --strict --clean

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links
IMAGE_EXTRAS := server client postgres uvloop processes tracing

lock: $(UV) ## Solve the dependencies into requirements*.lock; UPGRADE=1 takes the newest
	$(COMPILE) pyproject.toml --all-extras --group dev $(if $(UPGRADE),--upgrade) \
	  --output-file requirements.lock
	$(COMPILE) pyproject.toml $(addprefix --extra ,$(IMAGE_EXTRAS)) --upgrade \
	  --constraints requirements.lock --output-file requirements.image.lock
	$(COMPILE) --group browser --upgrade --constraints requirements.lock \
	  --output-file requirements.browser.lock
	$(COMPILE) --group build --upgrade --constraints requirements.lock \
	  --output-file requirements.build.lock

clean: ## Remove everything that can be made again
	rm -rf .venv .uv .cache site dist ui/node_modules sdk/typescript/node_modules sdk/typescript/dist sdk/typescript/dist-test sdk/rust/target $(HONO)/node_modules examples/polyglot/axum/target .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests $(wildcard examples bench) -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml requirements.lock | $(UV)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Tasker needs Python 3.11 or newer; set PYTHON=...")'
	@echo "Installing the locked dependencies into $(VENV): on a new machine this takes a few minutes"
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@echo "Installing Tasker into $(VENV)"
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . --editable ./compat
	@touch $@

ui/node_modules/.ready: ui/package.json ui/package-lock.json ui/.npmrc
	cd ui && npm ci --silent
	@touch $@

sdk/typescript/node_modules/.ready $(HONO)/node_modules/.ready: %/node_modules/.ready: %/package.json %/package-lock.json %/.npmrc
	cd $* && npm ci --silent
	@touch $@

.uv/bin/uv:
	@echo "Installing uv, which installs the dependencies, into .uv"
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv
