# `make demo` and `make test` set up .venv when it is missing or out of date; everything else builds on that.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CXX_SOURCES := $(shell find src benchmarks tests -name '*.[ch]pp' -o -name '*.h')
SANITIZED_TESTS := tests/ops/test_shapes.py tests/ops/test_episodes.py tests/ops/self_referential/test_checkpoints.py tests/ops/pooling tests/streams/test_native.py
SOURCES := $(shell find src -name '*.py' -o -name '*.[ch]pp' -o -name '*.h' -o -name '*.json' -o -name '*.safetensors' -o -name '*.png')

.PHONY: demo space test test-results test-slow test-playground test-isas test-sanitizers test-gpu gpu lint bench clean

demo: $(VENV)/.installed
	$(BIN)/srwm demo

# The playground as a Hugging Face Space: its files and the package, without the kernels, which the Space can do without.
space:
	rm -rf build/space && mkdir -p build/space
	cp playground/* build/space
	cd src && find srwm -name '*.py' -o -name '*.json' -o -name '*.safetensors' -o -name '*.png' | xargs cp --parents -t ../build/space

test: $(VENV)/.installed
	$(BIN)/python -m pytest -m 'not slow and not all_isas and not results' -n auto --dist loadfile

# The pages of docs/results beside the logs of their runs.
test-results: $(VENV)/.installed
	$(BIN)/python -m pytest -m results -n auto --dist worksteal tests/docs

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

# The playground in Debian's chromium, which must be installed; Gradio asks for another Pillow, so it gets an environment of its own.
test-playground: $(VENV)-playground/.installed
	$(VENV)-playground/bin/python -m pytest -m 'slow or not slow' tests/playground

# Every other instruction set that this machine runs than the best.
test-isas: $(VENV)/.installed
	$(BIN)/python -m pytest -m 'all_isas and not slow' tests/ops tests/streams/test_native.py || test $$? -eq 5 # 5: the machine runs no other

# Tests of the operations over kernels that AddressSanitizer and UndefinedBehaviorSanitizer watch: a copy of the package with them, of
# the instruction sets that this machine runs.
SANITIZED := build/sanitizers
test-sanitizers: $(VENV)/.installed
	$(BIN)/cmake -S . -B $(SANITIZED)/build -DSRWM_SANITIZE=ON -DSRWM_AVX512=$$(grep -q avx512f /proc/cpuinfo && echo ON || echo OFF)
	$(BIN)/cmake --build $(SANITIZED)/build --target srwm_native --parallel
	mkdir -p $(SANITIZED)/site && cp -r src/srwm $(SANITIZED)/site
	$(BIN)/cmake --install $(SANITIZED)/build --prefix $(SANITIZED)/site
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONPATH=$(SANITIZED)/site $(BIN)/python -m pytest -q -m 'not slow' -p no:cacheprovider $(SANITIZED_TESTS)

# The Triton kernels without a GPU: interpreted against float64, and compiled ahead of time. Triton, 700 MB, gets a folder of its own.
TRITON := $(VENV)-triton
test-gpu: $(VENV)/.installed $(TRITON)/.installed
	PYTHONPATH=$(TRITON) $(BIN)/python -m pytest -m 'not slow' -n auto -p no:cacheprovider tests/ops/gpu

# Verify and measure the Triton kernels on a machine with a GPU, with the PyTorch that is there, within nine minutes: make gpu
# PYTHON=... All draws, each compiled anew, take longer: pytest tests/ops/gpu/test_on_device.py.
gpu:
	PYTHONPATH=src:. $(PYTHON) benchmarks/gpu.py --json docs/benchmarks-gpu.json --markdown docs/benchmarks-gpu.md

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.installed $(VENV)-jax/.installed
	$(BIN)/python benchmarks/ops.py --jax-python $(VENV)-jax/bin/python --json docs/benchmarks.json --markdown docs/benchmarks.md

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "srwm needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# PyTorch first and alone: the CPU build where there is one, of the pinned version in any case.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt torch numpy
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml CMakeLists.txt constraints.txt $(SOURCES)
	CMAKE_BUILD_PARALLEL_LEVEL=$$(getconf _NPROCESSORS_ONLN) $(BIN)/python -m pip install --quiet -c constraints.txt '.[fewshot,rl,procgen,streams,onnx,test,lint]'
	touch $@

# JAX needs numpy 2, ProcGen numpy 1: an environment of its own, for the comparison alone.
$(VENV)-jax/.installed:
	$(PYTHON) -m venv $(VENV)-jax
	$(VENV)-jax/bin/python -m pip install --quiet 'jax==0.10.2' 'jaxlib==0.10.2'
	touch $@

$(TRITON)/.installed: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-deps --target $(TRITON) 'triton==3.7.1'
	touch $@

$(VENV)-playground/.installed: pyproject.toml $(SOURCES)
	$(PYTHON) -m venv $(VENV)-playground
	$(VENV)-playground/bin/python -m pip install --quiet 'torch==2.13.0' 'gradio==6.31.0' playwright pytest '.[playground]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-jax $(VENV)-playground $(TRITON) build dist
