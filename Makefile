# Every verb a contributor needs; each one makes .venv first where it is missing or its lock file is newer.
PYTHON ?= python3
BIN := .venv/bin
CODE := src tests benchmarks scripts docs examples

.PHONY: demo test nightly check format lock protobuf bench clean

.venv/.installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: .venv/.installed
	$(BIN)/python examples/sklearn-kafka/demo.py

test: .venv/.installed
	$(BIN)/python -m pytest

# What takes too long for every change: hundreds of random kills, faults at full size.
nightly: .venv/.installed
	$(BIN)/python -m pytest -m nightly

check: .venv/.installed
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy src tests benchmarks docs examples

format: .venv/.installed
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

# What kserve's server needs and its clients do not; they are installed without.
KSERVE_UNUSED := aiohttp-retry cryptography cffi grpcio-tools httptools pillow pyasn1 pycparser pyjwt python-dotenv \
	setuptools uvloop websockets

# Versions and hashes for Python 3.11 to 3.13 on any platform; no index lines, so that any index serves them. What runs has
# the versions that the tests have run with: tritonclient, which is only among these, bounds protobuf from above.
# Of xgboost the tests take the build without a GPU's libraries: both are one module, and cannot be installed together.
lock: .venv/.installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --upgrade --all-extras --group dev --no-emit-package xgboost \
		--no-emit-package nvidia-nccl-cu12 --no-emit-package nvidia-nccl-cu13 pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --upgrade -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
	for clients in triton kserve open-inference; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-annotate --no-header --upgrade $(foreach name,$(KSERVE_UNUSED),--no-emit-package $(name)) \
			requirements/clients-$$clients.in -o requirements/clients-$$clients.txt || exit 1; \
	done

# The Python modules of src/mlserver/wire/protobuf/*.proto; a test sees that they are current.
protobuf: .venv/.installed
	$(BIN)/python scripts/generate_protobuf.py

bench: .venv/.installed
	$(BIN)/python -m benchmarks

# A broker that runs would be left without its data, and nobody could find it any more.
clean:
	if [ -d .cache/kafka/broker ]; then $(MAKE) .venv/.installed && scripts/kafka stop; fi
	rm -rf .venv .cache build dist .mypy_cache .pytest_cache .ruff_cache
