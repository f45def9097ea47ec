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
LINK_static  := -static -Wl,-z,relro,-z,now

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
SOURCES   := $(CORE_SRC) $(SHELL_SRC) $(wildcard test/unit/*.c test/loop/*.c test/fuzz/*.c test/bench/*.c)

CORE_OBJ  := $(CORE_SRC:%.c=$(B)/%.o)
SHELL_OBJ := $(SHELL_SRC:%.c=$(B)/%.o)
LOOP_OBJ  := $(filter-out $(B)/proxy/main.o,$(SHELL_OBJ))
UNIT := $(UNIT_SRC:test/unit/%.c=$(B)/unit/%)
LOOP := $(LOOP_SRC:test/loop/%.c=$(B)/loop/%)
FUZZ := $(FUZZ_SRC:test/fuzz/%.c=$(B)/%)

# ---- building --------------------------------------------------------------------------------------------------------

.PHONY: all help unit loop e2e test asan fuzz lint format bench nightly demo install static clean
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

$(FUZZ): $(B)/%: $(B)/test/fuzz/%.o $(B)/libsiolbcore.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CORE_LIBS)

-include $(shell test ! -d $(B) || find $(B) -name '*.d')

# ---- testing ---------------------------------------------------------------------------------------------------------

unit: $(UNIT) ## build and run the unit tests (pure code)
	scripts/run-tests $(UNIT)

loop: $(LOOP) ## build and run the loop tests (event loop on socketpairs)
	scripts/run-tests $(LOOP)

fuzz: ## fuzz each target for FUZZ_S seconds (10) over its corpus
	+$(MAKE) VARIANT=fuzz fuzz-targets
	scripts/fuzz $(FUZZ_S)

.PHONY: fuzz-targets
fuzz-targets: $(FUZZ)

# ---- the rest --------------------------------------------------------------------------------------------------------

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
