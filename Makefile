# SPDX-License-Identifier: Apache-2.0
# The entry points. The build itself is described in meson.build; `make help` lists what is here.

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?=
ARGS ?=

# Debian's own meson, where there is one: a `meson` earlier in PATH may be a shim without a body.
MESON = $$(if [ -x /usr/bin/meson ]; then echo /usr/bin/meson; else echo meson; fi)
NINJA_JOBS = $(if $(JOBS),-j $(JOBS))
export JOBS

# $(call configure,DIR,COMPILER,OPTIONS): makes a build folder; anew when it was left half made or
# was made with other options.
define configure
	@if ! [ -f $(1)/build.ninja ] || [ "$$(cat $(1)/.made-with 2>/dev/null)" != '$(2) $(3)' ]; then \
		rm -rf $(1) && CC=$(2) $(MESON) setup $(1) $(3) && echo '$(2) $(3)' >$(1)/.made-with; \
	fi
endef

SANITIZE_OPTIONS = -Doptimization=1 -Db_ndebug=false -Db_lundef=false
ADDRESS_OPTIONS = $(SANITIZE_OPTIONS) -Db_sanitize=address,undefined
THREAD_OPTIONS = $(SANITIZE_OPTIONS) -Db_sanitize=thread

.PHONY: all build run test test-clang test-asan test-tsan bench install clean help
.PHONY: packages packages-test packages-bench

all: build

packages:
	@tools/install-packages build

packages-test:
	@tools/install-packages build test

packages-bench:
	@tools/install-packages build bench

build: packages
	$(call configure,build/release,gcc,-Dprefix=$(PREFIX))
	@ninja $(NINJA_JOBS) -C build/release

run: build
	@tools/run-demo build/release $(ARGS)

test: packages-test
	$(call configure,build/test,gcc,-Db_ndebug=false)
	@tools/run-tests build/test $(ARGS)

test-clang: packages-test
	$(call configure,build/clang,clang,-Db_ndebug=false)
	@tools/run-tests build/clang $(ARGS)

test-asan: packages-test
	$(call configure,build/asan,clang,$(ADDRESS_OPTIONS))
	@tools/run-tests build/asan --setup sanitize $(ARGS)

test-tsan: packages-test
	$(call configure,build/tsan,clang,$(THREAD_OPTIONS))
	@tools/run-tests build/tsan --setup sanitize --no-suite script $(ARGS)

bench: packages-bench
	$(call configure,build/release,gcc,-Dprefix=$(PREFIX))
	@ninja $(NINJA_JOBS) -C build/release
	@tools/run-bench build/release $(ARGS)

install: build
	@DESTDIR="$(DESTDIR)" $(MESON) install -C build/release --no-rebuild
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi
	@case "$(DESTDIR)$(PREFIX)" in /usr | /usr/local) ;; *) \
		[ -n "$(DESTDIR)" ] || tools/print-exports "$(PREFIX)" ;; esac

clean:
	rm -rf build

help:
	@echo 'make             install missing packages, build into build/release'
	@echo 'make run         build, then show it at work (tools/run-demo)'
	@echo 'make test        all tests (gcc)'
	@echo 'make test-clang  the same, compiled by clang'
	@echo 'make test-asan   quick tests under AddressSanitizer and UBSan (clang)'
	@echo 'make test-tsan   quick tests in C under ThreadSanitizer (clang)'
	@echo 'make bench       measurements (tools/run-bench); ARGS=--full writes docs/benchmarks.md'
	@echo 'make install     install below PREFIX=$(PREFIX) (DESTDIR is respected)'
	@echo 'make clean       remove build/'
	@echo
	@echo 'ARGS="…" goes to the program behind run, test… and bench, e.g. make test ARGS=test_tap'
	@echo 'JOBS=N limits the compile jobs; RQC_INSTALL_PACKAGES=no leaves packages alone'
