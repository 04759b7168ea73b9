# make build   a venv in .venv with everything; needs python3 >= 3.11 with headers, gcc, PyPI
# make test    C tests, then pytest          make asan   C tests under ASan and UBSan
# make check   lint, types, layers           make demo   the service outlives its crashes
# make format  ruff and clang-format         make dist   sdist and wheel into build/dist
# make fuzz    libFuzzer (clang): FUZZ_SECONDS=30 in all, FUZZ="wire tcp wrappers hypercall"
#
# PYTHON=python3.13 chooses the interpreter of a new venv, VENV= its place,
# WERROR= lets C warnings of another compiler pass, PYTEST_ARGS= goes to pytest.

PYTHON ?= python3
VENV ?= .venv
CC ?= gcc
WERROR ?= -Werror
PYTEST_ARGS ?= -n 2
JOBS ?= $(shell nproc)
XENEMU_SANITIZE ?= 0
XENEMU_STORE_POINTS ?= 0
export XENEMU_SANITIZE XENEMU_STORE_POINTS

PY := $(VENV)/bin/python
CSRC := $(shell find csrc -name '*.c' | sort)
CHEADERS := $(shell find csrc -name '*.h' -o -name '*.def' -o -name '*.inc')
PYX := $(wildcard xenemu/_core/*.pyx xenemu/_core/*.pxd)
CTESTS := $(patsubst tests/c/%.c,%,$(wildcard tests/c/test_*.c))
CFORMAT := $(shell find csrc tests/c tests/fuzz -name '*.[ch]' 2>/dev/null | sort)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: build test ctest asan ctest-bins asan-bins fuzz fuzz-bins bench check check-ruff \
	check-types check-layers check-c format demo dist clean distclean FORCE

build: build/stamp-ext

# The venv: again when the metadata change. The extension: again when C or Cython change;
# that needs no network.
$(VENV)/stamp: pyproject.toml
	test -x $(PY) && $(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check --upgrade pip "setuptools>=77" "Cython>=3.1"
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]'
	touch $@

build/variant: FORCE
	@mkdir -p build
	@echo '$(abspath $(VENV)) $(XENEMU_SANITIZE) $(XENEMU_STORE_POINTS)' | cmp -s - $@ || \
		echo '$(abspath $(VENV)) $(XENEMU_SANITIZE) $(XENEMU_STORE_POINTS)' >$@

build/stamp-ext: $(VENV)/stamp build/variant setup.py tools/gen_abi.py $(CSRC) $(CHEADERS) $(PYX)
	$(PY) setup.py -q build_ext --inplace --force
	touch $@

test: build
	$(MAKE) --no-print-directory ctest
	$(PY) -m pytest $(PYTEST_ARGS)

# C tests. Each variant compiles csrc once into two archives, so a test links only what
# it uses. csrc/host is out of reach except for test_host* and test_machine*. Other files
# of tests/c (helpers) are linked into every test; those of tests/c/profile, which stand in for
# the FT API, into test_profile* instead of it.
ctest_FLAGS := -O2 -g $(WERROR)
ctest_LDFLAGS :=
asan_LDFLAGS := -fsanitize=address,undefined
asan_FLAGS := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=undefined $(asan_LDFLAGS)
C_FLAGS := -std=c11 -D_GNU_SOURCE -DXE_TEST -DXE_STORE_POINTS -Icsrc -Itests/c -MMD -MP \
	-Wall -Wextra -Wvla -Wno-unused-parameter
CSRC_FLAGS := -Wmissing-prototypes -Wstrict-prototypes

HELPERS := $(filter-out tests/c/test_%,$(wildcard tests/c/*.c))
HOST_SRC := $(filter csrc/host/%,$(CSRC))
WITH_HOST := $(filter test_host% test_machine%,$(CTESTS))
PROFILES := $(filter test_profile%,$(CTESTS))
FAKE_API := $(wildcard tests/c/profile/*.c)
PURE_SRC := $(filter-out csrc/host/%,$(CSRC))

define variant
build/$(1)/csrc/%.o: csrc/%.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(C_FLAGS) $$(CSRC_FLAGS) $$($(1)_FLAGS) $$(CFLAGS) -c -o $$@ $$<

build/$(1)/tests/%.o: tests/c/%.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(C_FLAGS) $$($(1)_FLAGS) $$(CFLAGS) -c -o $$@ $$<

build/$(1)/libxe.a: $$(PURE_SRC:%.c=build/$(1)/%.o)
build/$(1)/libhost.a: $$(HOST_SRC:%.c=build/$(1)/%.o)
build/$(1)/libxe.a build/$(1)/libhost.a:
	@mkdir -p $$(@D)
	rm -f $$@ && ar rcs $$@ $$^

$$(CTESTS:%=build/$(1)/%): XE_LIBS = build/$(1)/libxe.a
$$(WITH_HOST:%=build/$(1)/%): XE_LIBS = build/$(1)/libxe.a build/$(1)/libhost.a
$$(WITH_HOST:%=build/$(1)/%): build/$(1)/libhost.a
$$(PROFILES:%=build/$(1)/%): $$(FAKE_API:tests/c/%.c=build/$(1)/tests/%.o)
$$(CTESTS:%=build/$(1)/%): build/$(1)/%: build/$(1)/tests/%.o \
		$$(HELPERS:tests/c/%.c=build/$(1)/tests/%.o) build/$(1)/libxe.a
	$$(CC) $$($(1)_LDFLAGS) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(XE_LIBS) -Wl,--end-group -lm

$(1)-bins: $$(CTESTS:%=build/$(1)/%)

$(1):
	@test -n '$$(CTESTS)' || { echo 'no tests/c/test_*.c' >&2; exit 1; }
	@$$(MAKE) --no-print-directory -s -j$$(JOBS) $(1)-bins
	@failed=; for t in $$(CTESTS); do \
		if timeout 300 build/$(1)/$$$$t; then echo "ok $(1)/$$$$t"; \
		else echo "FAILED $(1)/$$$$t ($$$$?)" >&2; failed="$$$$failed $$$$t"; fi; \
	done; test -z "$$$$failed" || { echo "failed:$$$$failed" >&2; exit 1; }
endef
$(eval $(call variant,ctest))
$(eval $(call variant,asan))

# Fuzzers: both pure sides and what tests/fuzz adds to them, under clang's sanitizers. Inputs
# that reach something new are kept in build/fuzz/NAME/corpus; a finding is written beside it
# and ends the run.
CLANG ?= clang
FUZZ ?= wire tcp wrappers hypercall
FUZZ_SECONDS ?= 30
FUZZ_FLAGS := -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=undefined \
	-fsanitize=fuzzer,address,undefined -Itests/fuzz $(WERROR)
FUZZ_CSRC := $(filter csrc/net/% csrc/base/% csrc/xen/% csrc/hypercall.c csrc/zeroloss.c,$(CSRC))
FUZZ_HELPERS := $(filter-out tests/fuzz/fuzz_%,$(wildcard tests/fuzz/*.c))

build/fuzz/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CLANG) $(C_FLAGS) $(FUZZ_FLAGS) -c -o $@ $<

build/fuzz/libxe.a: $(FUZZ_CSRC:%.c=build/fuzz/%.o) $(FUZZ_HELPERS:%.c=build/fuzz/%.o)
	rm -f $@ && ar rcs $@ $^

build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o build/fuzz/libxe.a
	$(CLANG) $(FUZZ_FLAGS) -o $@ $^

.PRECIOUS: build/fuzz/%.o
fuzz-bins: $(FUZZ:%=build/fuzz/fuzz_%)

fuzz:
	@command -v $(CLANG) >/dev/null || \
		{ echo 'fuzzing needs clang: apt-get install clang, or CLANG=' >&2; exit 1; }
	@$(MAKE) --no-print-directory -s -j$(JOBS) fuzz-bins
	@seconds=$$(($(FUZZ_SECONDS) / $(words $(FUZZ)))); for f in $(FUZZ); do \
		at=build/fuzz/$$f; $(PYTHON) tests/fuzz/seeds.py $$f $$at/corpus || exit 1; \
		dict=; test ! -f $$at/$$f.dict || dict=-dict=$$at/$$f.dict; \
		echo "== fuzz_$$f, $$seconds s"; \
		build/fuzz/fuzz_$$f $$dict -max_total_time=$$seconds -max_len=1024 -len_control=20 -timeout=10 \
			-print_final_stats=1 -artifact_prefix=$$at/ $$at/corpus >$$at/log 2>&1 || { \
			grep -v '^#' $$at/log | tail -n 40 >&2; found=$$(ls -t $$at/*-* | head -n 1); \
			echo "replay: FUZZ_TRACE=1 build/fuzz/fuzz_$$f $$found" >&2; exit 1; }; \
		grep -e DONE -e '^stat::number' $$at/log; \
	done

-include $(shell find build/ctest build/asan build/fuzz -name '*.d' 2>/dev/null)

bench: build
	@ls bench/bench_*.py >/dev/null
	@set -e; for b in bench/bench_*.py; do echo "== $$b"; $(PY) $$b; done

check: check-ruff check-types check-layers check-c

check-ruff: build
	$(PY) -m ruff check --no-cache .
	$(PY) -m ruff format --check .

check-types: build
	$(PY) -m mypy

# A stale cache has reported "kept" on a violation: none is used.
check-layers: build
	$(VENV)/bin/lint-imports --no-cache
	$(PY) tools/check_core_imports.py
	$(PY) tools/check_includes.py
	$(PY) tools/gen_abi.py --check
	$(PY) tools/gen_hypercall_docs.py --check

check-c: build
	$(VENV)/bin/clang-format --dry-run -Werror $(CFORMAT)

format: build
	$(PY) -m ruff check --fix --exit-zero .
	$(PY) -m ruff format .
	$(VENV)/bin/clang-format -i $(CFORMAT)

demo: build
	$(PY) -m xenemu boot --demo

dist: build
	rm -rf build/dist
	$(PY) -m build --outdir build/dist .

clean:
	rm -rf build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f xenemu/_core/_machine.c xenemu/_core/*.so
	find xenemu ozs vzs tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
