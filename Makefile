# siolb's build. `make help` lists the targets; docs/HACKING.md tells how to work with them.
#
# Sources are found by folder: proxy/core and config go into libsiolbcore.a, which knows no socket, clock or library
# of the shell; proxy/*.c is the shell. One invocation builds one variant into its own folder:
#
#   build/        gcc, what is installed          build/asan/    clang, AddressSanitizer and UBSan
#   build/fuzz/   clang, libFuzzer                build/static/  no shared libraries
#
# A variant is chosen by VARIANT=name; the targets `asan`, `fuzz` and `static` do that themselves.

PREFIX  ?= /usr/local
DESTDIR ?=
CFLAGS  ?= -O2 -g
WERROR  ?= -Werror
FUZZ_S  ?= 10
DIFF_S  ?= 120
NIGHTLY_DIFF_S ?= 3600
SOAK_S  ?= 1200

B := build$(addprefix /,$(VARIANT))

# ---- flags -----------------------------------------------------------------------------------------------------------

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

CC_      := gcc
FLAGS_   := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LINK_    := -pie -Wl,-z,relro,-z,now
CC_asan  := clang
FLAGS_asan := $(SANITIZE)
LINK_asan  := $(SANITIZE)
CC_fuzz  := clang
FLAGS_fuzz := $(SANITIZE) -fsanitize=fuzzer-no-link
LINK_fuzz  := $(SANITIZE) -fsanitize=fuzzer
CC_static  := gcc
FLAGS_static := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
# libevent's own resolver, which siolb never calls, makes the linker warn of getaddrinfo
LINK_static  := -static -Wl,-z,relro,-z,now,--no-warnings

ifeq ($(origin CC),default)
CC := $(CC_$(VARIANT))
endif
WARNINGS    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(WERROR)
ALL_CFLAGS  := -std=c11 -D_GNU_SOURCE $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(FLAGS_$(VARIANT))
ALL_LDFLAGS := $(LDFLAGS) $(LINK_$(VARIANT))

CORE_LIBS  := -linih -lz
SHELL_LIBS := -levent_core $(CORE_LIBS)

# ---- what there is ---------------------------------------------------------------------------------------------------

CORE_SRC  := $(wildcard proxy/core/*.c config/*.c)
SHELL_SRC := $(wildcard proxy/*.c)
UNIT_SRC  := $(wildcard test/unit/test_*.c)
LOOP_SRC  := $(wildcard test/loop/test_*.c)
FUZZ_SRC  := $(wildcard test/fuzz/fuzz_*.c)
E2E       := $(wildcard test/e2e/*.test.mjs)
HEADERS   := $(wildcard proxy/core/*.h config/*.h proxy/*.h test/unit/*.h test/loop/*.h test/fuzz/*.h)
SOURCES   := $(CORE_SRC) $(SHELL_SRC) $(wildcard $(patsubst %,test/%/*.c,unit loop fuzz diff fault bench))

CORE_OBJ  := $(CORE_SRC:%.c=$(B)/%.o)
SHELL_OBJ := $(SHELL_SRC:%.c=$(B)/%.o)
LOOP_OBJ  := $(filter-out $(B)/proxy/main.o,$(SHELL_OBJ))
UNIT := $(UNIT_SRC:test/unit/%.c=$(B)/unit/%)
LOOP := $(LOOP_SRC:test/loop/%.c=$(B)/loop/%)
FUZZ := $(FUZZ_SRC:test/fuzz/%.c=$(B)/%)
FUZZ_WRAPS := clock_ms clock_boot_s deadline_init deadline_fini stream_note stream_start addresses_enter

# ---- building --------------------------------------------------------------------------------------------------------

.PHONY: all help unit loop e2e test asan fuzz diff lint format bench nightly soak demo install static clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(B)/siolb ## build build/siolb (the default)

$(B)/siolb: $(SHELL_OBJ) $(B)/libsiolbcore.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SHELL_LIBS)

# Made anew each time: an archive that is added to keeps members whose source is gone.
$(B)/libsiolbcore.a: $(CORE_OBJ)
	rm -f $@
	ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Unit tests link the core alone, so that the linker notices a broken wall.
$(UNIT): $(B)/unit/%: $(B)/test/unit/%.o $(B)/libsiolbcore.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(CORE_LIBS)

$(LOOP): $(B)/loop/%: $(B)/test/loop/%.o $(LOOP_OBJ) $(B)/libsiolbcore.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(SHELL_LIBS)

$(B)/frames: $(B)/test/diff/frames.o $(B)/libsiolbcore.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CORE_LIBS)

# siolb with the shim between it and the kernel. The shim is below all that sanitizers and fortified headers do.
$(B)/test/fault/%.o: ALL_CFLAGS := $(filter-out -fsanitize% -fno-sanitize% -D_FORTIFY_SOURCE%,$(ALL_CFLAGS))
$(B)/fault/siolb: $(SHELL_OBJ) $(B)/test/fault/shim.o $(B)/libsiolbcore.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SHELL_LIBS)

$(filter-out $(B)/fuzz_connection,$(FUZZ)): $(B)/%: $(B)/test/fuzz/%.o $(B)/libsiolbcore.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CORE_LIBS)

# The whole shell, with a clock that the input moves.
$(B)/fuzz_connection: $(B)/test/fuzz/fuzz_connection.o $(LOOP_OBJ) $(B)/libsiolbcore.a
	$(CC) $(ALL_LDFLAGS) $(FUZZ_WRAPS:%=-Wl,--wrap=%) -o $@ $^ -lcmocka $(SHELL_LIBS)

.PHONY: programs
programs: $(UNIT) $(LOOP) $(B)/fault/siolb # the tests, built and not run

-include $(shell test ! -d $(B) || find $(B) -name '*.d')

# ---- testing ---------------------------------------------------------------------------------------------------------

# A test that runs the ASan binary needs several times the memory and time of its release; those whose first lines say
# "not under ASan" (they count system calls, or measure) stay out.
E2E_CORE = $(shell grep -L -i 'not under asan' $(E2E))
export UBSAN_OPTIONS ?= print_stacktrace=1
export ASAN_OPTIONS  ?= detect_stack_use_after_return=1:strict_string_checks=1

unit: $(UNIT) ## build and run the unit tests (pure code)
	scripts/run-tests $(UNIT)

loop: $(LOOP) ## build and run the loop tests (event loop on socketpairs)
	scripts/run-tests $(LOOP)

e2e: $(B)/siolb $(B)/fault/siolb ## run the end-to-end tests (real Socket.IO clients and workers); E2E=file picks
	SIOLB=$(abspath $(B)/siolb) scripts/run-e2e $(E2E)

.PHONY: e2e-core
e2e-core: $(B)/siolb $(B)/fault/siolb
	SIOLB=$(abspath $(B)/siolb) scripts/run-e2e $(E2E_CORE)

asan: ## unit, loop and core e2e tests under AddressSanitizer and UBSan
	+$(MAKE) VARIANT=asan unit
	+$(MAKE) VARIANT=asan loop
	+$(MAKE) VARIANT=asan e2e-core

fuzz: ## fuzz every target for FUZZ_S seconds (10) over its corpus
	+$(MAKE) VARIANT=fuzz fuzz-targets
	scripts/fuzz $(FUZZ_S)

diff: $(B)/frames ## compare the HTTP parsers with Node's for DIFF_S seconds (120), and check the checker
	FRAMES=$(abspath $(B)/frames) scripts/with-node node --test --test-reporter=spec test/diff/diff.test.mjs
	FRAMES=$(abspath $(B)/frames) scripts/diff $(DIFF_S)

.PHONY: fuzz-targets
fuzz-targets: $(FUZZ)

test: ## set-up, build, all tests, ASan, lint, short fuzz: what CI runs
	scripts/test

bench: $(B)/siolb ## CPU and memory beside nginx and HAProxy
	scripts/setup bench
	test/bench/run

soak: $(B)/siolb ## every kind of client and trouble for SOAK_S seconds (1200); SOAK_SEED repeats a run
	SIOLB=$(abspath $(B)/siolb) SOAK_S=$(SOAK_S) E2E_TIMEOUT_S=$$(($(SOAK_S) + 1200)) scripts/run-e2e test/soak/soak.test.mjs

# How connections, tunnels and requests end is where memory goes wrong; the files that measure siolb stay out.
.PHONY: e2e-valgrind
E2E_VALGRIND ?= $(addprefix test/e2e/,$(addsuffix .test.mjs,\
	life clients client-ends tunnel-ends worker-ends upgrade pipelining refusals replies learning retry chaos \
	jsonp forward proxy-protocol address-limits cors))
e2e-valgrind: $(B)/siolb
	scripts/run-e2e-valgrind $(E2E_VALGRIND)

nightly: $(UNIT) $(LOOP) ## the long checks: valgrind, ten minutes of fuzz a target, an hour of diff, soak, bench
	scripts/setup bench
	scripts/run-tests --valgrind $(UNIT) $(LOOP)
	+$(MAKE) e2e-valgrind
	+$(MAKE) fuzz FUZZ_S=600
	+$(MAKE) diff DIFF_S=$(NIGHTLY_DIFF_S)
	+$(MAKE) soak
	+$(MAKE) bench

# ---- linting ---------------------------------------------------------------------------------------------------------

# Each check that looks at one file leaves a stamp, so that only what changed is looked at again.
L := build/lint
TIDY_SRC := $(CORE_SRC) $(SHELL_SRC)
SCRIPTS  := $(shell grep -lE '^\#!.*bash' scripts/* scripts/hooks/* .ci/* test/bench/* 2>/dev/null)

.PHONY: lint-format lint-shell lint-layers lint-docs lint-man lint-cppcheck
lint: lint-format lint-shell lint-layers lint-docs lint-man $(HEADERS:%=$(L)/%.alone) lint-cppcheck $(TIDY_SRC:%=$(L)/%.tidy) ## format, clang-tidy, cppcheck, layers, headers, scripts, docs

lint-format:
	clang-format --dry-run -Werror $(SOURCES) $(HEADERS)

lint-shell:
	shellcheck $(SCRIPTS)

lint-layers: $(B)/libsiolbcore.a $(B)/proxy/tunnel.o
	scripts/with-node scripts/check-layers $(B)

# What is made from the table of settings is what the repo has; words of the code are told by the pages that explain them.
lint-docs: $(B)/siolb
	$(B)/siolb --print-defaults | diff -u siolb.ini.example -
	$(B)/siolb --print-config-md | diff -u docs/CONFIG.md -
	$(B)/siolb --print-config-man | diff -u docs/siolb.ini.5 -
	scripts/check-docs $(B)/siolb

# As they are installed, so that each finds the pages that it names. (Without -W style it would look for them in the
# base system only.)
lint-man: $(B)/siolb
	@rm -rf $(L)/man
	@$(MAKE) --silent install DESTDIR=$(L)/man PREFIX=
	PATH=$$PATH:/usr/sbin makewhatis $(L)/man/share/man
	MANPATH=$(L)/man/share/man mandoc -T lint -W style docs/*.[1-8]

lint-cppcheck:
	@mkdir -p $(L)/cppcheck
	cppcheck --quiet --error-exitcode=1 --std=c11 -D_GNU_SOURCE --enable=warning,performance,portability \
		--inline-suppr --suppressions-list=.cppcheck --cppcheck-build-dir=$(L)/cppcheck -j 2 $(TIDY_SRC)

$(L)/%.h.alone: %.h $(HEADERS)
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -fsyntax-only -x c $<
	@touch $@

$(L)/%.c.tidy: %.c .clang-tidy $(HEADERS)
	@mkdir -p $(@D)
	clang-tidy --quiet $< -- -std=c11 -D_GNU_SOURCE 2>$@.log || { cat $@.log; false; }
	@touch $@

# ---- the rest --------------------------------------------------------------------------------------------------------

format: ## clang-format all C
	clang-format -i $(SOURCES) $(HEADERS)

.PHONY: docs
docs: $(B)/siolb ## write siolb.ini.example, docs/CONFIG.md and docs/siolb.ini.5 from the table of settings
	$(B)/siolb --print-defaults >siolb.ini.example
	$(B)/siolb --print-config-md >docs/CONFIG.md
	$(B)/siolb --print-config-man >docs/siolb.ini.5

demo: ## four chat workers and siolb on port 8080
	scripts/demo

static: ## build build/static/siolb without shared libraries
	+$(MAKE) VARIANT=static all

install: $(B)/siolb ## install below $(DESTDIR)$(PREFIX)
	install -D -m 755 $(B)/siolb $(DESTDIR)$(PREFIX)/bin/siolb
	install -D -m 644 siolb.ini.example $(DESTDIR)$(PREFIX)/share/doc/siolb/siolb.ini.example
	$(foreach page,$(wildcard docs/*.[1-8]),install -D -m 644 $(page) \
		$(DESTDIR)$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page))$(newline))

define newline


endef

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
