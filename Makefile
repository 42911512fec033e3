# gcorn - see README.md. `make deps run` serves the hello example, `make deps check` tests.
#
# Everything built goes to $(B): build/, or build/sanitize-... under SANITIZE=address,undefined.

VERSION := 0.1.0

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR     ?= $(PREFIX)/lib
MANDIR     ?= $(PREFIX)/share/man

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS     ?= -O2 -g
PKG_CONFIG ?= pkg-config
PYTHON     ?= /usr/bin/python3

# One build with all cores, unless the caller chose otherwise.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-print-directory

comma := ,
ifdef SANITIZE
B := build/sanitize-$(subst $(comma),-,$(SANITIZE))
HARDEN := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
HARDEN_LD := -fsanitize=$(SANITIZE)
else
B := build
HARDEN := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
HARDEN_LD := -Wl,-z,relro,-z,now
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wwrite-strings -Wvla -Wformat=2 -Wundef
ifdef DEV
WARNINGS += -Werror
endif

# llhttp: the distribution's library where it has one; on Debian 12 the C sources that node-llhttp
# installs, compiled into one object, strict (LLHTTP_STRICT_MODE means nothing to 9.x).
LLHTTP_DIR ?= /usr/share/llhttp
LLHTTP_INCLUDE ?= /usr/share/include/llhttp
ifeq ($(shell $(PKG_CONFIG) --exists libllhttp 2>/dev/null && echo yes),yes)
LLHTTP_CFLAGS := $(shell $(PKG_CONFIG) --cflags libllhttp)
LLHTTP_LIBS := $(shell $(PKG_CONFIG) --libs libllhttp)
LLHTTP_OBJS :=
else
LLHTTP_CFLAGS := -DLLHTTP_STRICT_MODE=1 -isystem $(LLHTTP_INCLUDE)
LLHTTP_LIBS :=
LLHTTP_OBJS := $(B)/llhttp/api.o $(B)/llhttp/http.o $(B)/llhttp/llhttp.o
endif

YAML_CFLAGS := $(shell $(PKG_CONFIG) --cflags yaml-0.1 2>/dev/null)
YAML_LIBS := $(or $(shell $(PKG_CONFIG) --libs yaml-0.1 2>/dev/null),-lyaml)
EV_LIBS := -lev# libev installs no .pc file

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -DGCORN_VERSION='"$(VERSION)"' \
             $(WARNINGS) -fno-common -fvisibility=hidden -fPIE $(HARDEN) \
             $(LLHTTP_CFLAGS) $(YAML_CFLAGS) $(CFLAGS) $(CPPFLAGS)
ALL_LDFLAGS = -pie $(HARDEN_LD) $(LDFLAGS)
# Applications find the gcorn_* functions, and only those, in the binary that loads them.
EXPORT := -Wl,--export-dynamic-symbol='gcorn_*'
LIBS := $(LLHTTP_LIBS) $(YAML_LIBS) $(EV_LIBS)

ROOMS := base settings system http worker master
SRCS := $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c))
OBJS := $(SRCS:src/%.c=$(B)/%.o)
EXAMPLES := $(patsubst examples/%/,%,$(dir $(wildcard examples/*/*.c)))
EXAMPLE_SOS := $(EXAMPLES:%=$(B)/examples/%.so)
UNIT_SRCS := $(wildcard tests/unit/test_*.c)
UNIT_TESTS := $(UNIT_SRCS:tests/unit/%.c=$(B)/tests/%)

.PHONY: all examples check check-unit check-system check-headers check-includes fuzz bench count \
        install uninstall docs lint clean deps run
.DELETE_ON_ERROR:

all: $(B)/gcorn examples
examples: $(EXAMPLE_SOS)

# ---- building --------------------------------------------------------------------------------

$(B)/gcorn: $(B)/main.o $(OBJS) $(LLHTTP_OBJS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(EXPORT) -o $@ $^ $(LIBS)

$(B)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/llhttp/%.o: $(LLHTTP_DIR)/%.c Makefile
	@mkdir -p $(@D)
	$(CC) -std=c11 $(LLHTTP_CFLAGS) -fPIE $(HARDEN) $(CFLAGS) -w -c -o $@ $<

# An example is compiled the way its reader would: nothing but gcorn.h, warnings on.
$(B)/examples/%.so: examples/%/*.c include/gcorn.h Makefile
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -g -O2 -Wall -Wextra -Wpedantic -Wshadow -Iinclude -shared -fPIC \
	    $(filter-out -fno-sanitize-recover=all,$(if $(SANITIZE),$(HARDEN))) $(CPPFLAGS) -o $@ $(filter %.c,$^)

-include $(OBJS:.o=.d) $(B)/main.d

# ---- testing ---------------------------------------------------------------------------------

check: check-includes check-headers check-unit check-system

$(B)/tests/%: tests/unit/%.c $(OBJS) $(LLHTTP_OBJS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/unit $(ALL_LDFLAGS) -MMD -MP -o $@ $< $(OBJS) $(LLHTTP_OBJS) $(LIBS) -lcmocka

-include $(UNIT_TESTS:=.d)

check-unit: $(UNIT_TESTS)
	@for t in $(UNIT_TESTS); do echo "== $$t"; $$t || exit 1; done

check-system: all check-unit
	GCORN_BUILD=$(abspath $(B)) SANITIZE=$(SANITIZE) $(PYTHON) -B -m pytest -p no:cacheprovider -q tests/system

# Every header compiles alone.
HEADERS := $(wildcard src/*/*.h) include/gcorn.h
check-headers: $(HEADERS:%=$(B)/headers/%.ok)
$(B)/headers/%.ok: % Makefile
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -Werror -fsyntax-only -x c $< && touch $@

check-includes:
	@$(PYTHON) -B tests/check_includes.py

clean:
	rm -rf build
