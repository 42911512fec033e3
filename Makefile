# gcorn - see README.md. `make deps run` serves the hello example, `make deps check` tests.
#
# Everything built goes to $(B): build/, or build/sanitize-... under SANITIZE=address,undefined.

VERSION := 0.1.0

# One build with all cores (make JOBS=1 for fewer); a make started by this one shares them.
JOBS ?= $(shell nproc)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif
MAKEFLAGS += --no-print-directory

# ---- dependencies ----------------------------------------------------------------------------
#
# `make deps GOAL...` first installs what is missing from Debian's packages, then makes the goals in
# a make of its own, which sees what is there now.
ifneq ($(filter deps deps-bench,$(MAKECMDGOALS)),)

DEPS_BUILD := gcc libc6-dev pkg-config libev-dev libyaml-dev libjansson-dev libdw-dev
DEPS_TEST := libssl-dev zlib1g-dev libsqlite3-dev libcurl4-openssl-dev libcmocka-dev python3 python3-pytest nginx-light curl g++ procps logrotate systemd \
             locales libc-l10n libcap2-bin \
             gdb valgrind linux-perf strace wrk nghttp2-client clang libclang-rt-dev help2man groff-base musl-tools \
             apache2-utils nodejs bindgen libclang-dev
DEPS_DOCS := help2man
DEPS_LINT := clang clang-format clang-tidy cppcheck universal-ctags python3-pyflakes libcmocka-dev
DEPS_BENCH := nghttp2-client valgrind strace wrk nginx-light kore libh2o-evloop-dev libssl-dev gunicorn
GOALS := $(filter-out deps deps-bench,$(MAKECMDGOALS))
DEPS := $(DEPS_BUILD) $(if $(filter check% fuzz msan coverage zerodrop% soak,$(GOALS)),$(DEPS_TEST)) \
        $(if $(filter docs man install,$(GOALS)),$(DEPS_DOCS)) \
        $(if $(filter lint figures,$(GOALS)),$(DEPS_LINT)) \
        $(if $(filter deps-bench,$(MAKECMDGOALS)),$(DEPS_BENCH))
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# RUNLEVEL=1: a server that comes as a dependency of the tests is not started
APT_GET := $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get

.PHONY: deps deps-bench $(GOALS)
# libllhttp-dev where the distribution has it, else the C sources that node-llhttp brings
deps deps-bench &:
	@missing=; for package in $(DEPS); do \
	    dpkg -s $$package 2>/dev/null | grep -q '^Status: .* installed' || missing="$$missing $$package"; done; \
	if ! dpkg -s libllhttp-dev >/dev/null 2>&1 && ! dpkg -s node-llhttp >/dev/null 2>&1; then \
	    missing="$$missing llhttp"; fi; \
	if [ -z "$$missing" ]; then echo "deps: all there"; exit 0; fi; \
	$(APT_GET) update -q && \
	case "$$missing" in *" llhttp"*) \
	    if apt-cache show libllhttp-dev >/dev/null 2>&1; then llhttp=libllhttp-dev; \
	    else llhttp=node-llhttp; fi; missing="$${missing% llhttp} $$llhttp";; esac; \
	echo "deps: installing$$missing" && \
	$(APT_GET) install -y -q --no-install-recommends $$missing

ifneq ($(GOALS),)
$(firstword $(GOALS)): deps
	@$(MAKE) $(GOALS)
$(wordlist 2,99,$(GOALS)): $(firstword $(GOALS))
	@:
endif

else # the rest of this file

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
LIBDIR     ?= $(PREFIX)/lib
MANDIR     ?= $(PREFIX)/share/man

ifeq ($(origin CC),default)
CC := gcc
endif
# with sanitizers -O3 finds only warnings that are none
CFLAGS     ?= $(if $(SANITIZE),-O2,-O3) -g
PKG_CONFIG ?= pkg-config
PYTHON     ?= /usr/bin/python3

comma := ,
define newline


endef
# The flags among $(1) that this compiler takes without a word.
has = $(shell for flag in $(1); do echo 'int i;' | \
          $(CC) $(CFLAGS) $(CPPFLAGS) -Werror $(2) $$flag -x c -c -o /dev/null - >/dev/null 2>&1 && echo $$flag; done)

ifdef COVERAGE
B := build/coverage
HARDEN := --coverage -O0
HARDEN_LD := --coverage
else ifdef SANITIZE
B := build/sanitize-$(subst $(comma),-,$(SANITIZE))
HARDEN := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
# clang leaves out what C++ applications need of the sanitizers, unless told
HARDEN_LD := -fsanitize=$(SANITIZE) $(if $(shell command -v $(CXX)),\
             $(addsuffix $(if ,) -lstdc++,$(call has,-fsanitize-link-c++-runtime)))
else
B := build
# Of -fcf-protection only the shadow stack: Linux has no indirect branch tracking for programs, and
# its endbr64 are 13 instructions a request. Flags of a distribution may say FORTIFY themselves.
HARDEN := -fstack-protector-strong $(call has,-fstack-clash-protection -fcf-protection=return) \
          $(if $(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,-U_FORTIFY_SOURCE \
            $(firstword $(call has,-D_FORTIFY_SOURCE=3 -D_FORTIFY_SOURCE=2,-U_FORTIFY_SOURCE -include string.h)))
HARDEN_LD := -Wl,-z,relro,-z,now
endif

# The bytes of a build do not depend on its directory: debug information names files from here on.
# gcc takes the name of this directory from PWD, where it may be another; the assembler has its own.
export PWD := $(CURDIR)
DEBUG_INFO := -ffile-prefix-map='$(CURDIR)'=. $(call has,-Wa$(comma)--debug-prefix-map=$(CURDIR)=.)
# clang writes no address ranges unasked, without which libdw before 0.189 finds no line.
ARANGES := $(call has,-gdwarf-aranges)
DEBUG_INFO += $(ARANGES)

# gcorn itself is optimised as one piece, so that the path of a request may be cut into rooms and
# small functions at no cost (an eighth of its instructions). The objects are good for linking
# without that, too: the tests would otherwise pay for it, each anew. For memset gcc would take
# x86's rep stos from some hundred bytes on, which takes longer to begin than to do.
X86_64 := $(filter x86_64-%,$(shell $(CC) -dumpmachine))
WHOLE := -flto=auto -ffat-lto-objects -fno-plt $(if $(X86_64),-mmemset-strategy=libcall:-1:noalign) \
         --param max-inline-insns-auto=100 --param inline-unit-growth=100 -fconserve-stack
ifneq ($(SANITIZE)$(COVERAGE),)
else ifeq ($(shell echo 'int main(void) {return 0;}' | \
    $(CC) $(WHOLE) -Werror -x c -o /dev/null - >/dev/null 2>&1 && echo yes),yes)
LTO := $(WHOLE)
LTO_NOT := -fno-lto
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

# Only gcornctl's tables need jansson.
ifeq ($(shell $(PKG_CONFIG) --exists jansson 2>/dev/null && echo yes),yes)
JANSSON_CFLAGS := -DHAVE_JANSSON $(shell $(PKG_CONFIG) --cflags jansson)
JANSSON_LIBS := $(shell $(PKG_CONFIG) --libs jansson)
else
JANSSON_NOTE := @echo "  without jansson (libjansson-dev) gcornctl has only --json"
endif

# Only the stacks of workers (system/trace/stacks.c) need libdw.
ifeq ($(shell $(PKG_CONFIG) --exists libdw 2>/dev/null && echo yes),yes)
DW_CFLAGS := -DHAVE_LIBDW $(shell $(PKG_CONFIG) --cflags libdw)
DW_LIBS := $(shell $(PKG_CONFIG) --libs libdw)
else
DW_NOTE := @echo "  without libdw (libdw-dev) gcornctl dump shows no stacks"
endif

# What gcorn --version says of them. FORTIFY is known to the code itself.
BUILD_OPTIONS := $(strip $(filter -O%,$(CFLAGS)) $(if $(LTO),-flto) -fPIE -pie \
                 $(filter-out -U% -D_FORTIFY_SOURCE=%,$(HARDEN)) $(filter-out -lstdc++,$(HARDEN_LD)))

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -DGCORN_VERSION='"$(VERSION)"' \
             $(WARNINGS) -fno-common -fvisibility=hidden -fPIE $(HARDEN) $(DEBUG_INFO) \
             $(LLHTTP_CFLAGS) $(YAML_CFLAGS) $(LTO) $(CFLAGS) $(CPPFLAGS)
ALL_LDFLAGS = -pie $(HARDEN_LD) $(LDFLAGS)
# Applications find the gcorn_* functions, and only those, in the binary that loads them.
EXPORT := -Wl,--export-dynamic-symbol='gcorn_*'
# before glibc 2.34 dlopen and threads are libraries of their own
LIBS := $(LLHTTP_LIBS) $(YAML_LIBS) $(EV_LIBS) $(DW_LIBS) -ldl -pthread

ROOMS := base settings init system http worker master
SRCS := $(filter-out $(if $(SANITIZE),,src/system/code/sanitizer.c),\
          $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c src/$(room)/*/*.c)))
OBJS := $(SRCS:src/%.c=$(B)/%.o)

# What an example needs beside gcorn.h: pkg-config's names. Where that is not there, it is left out.
NEEDS_middleware := zlib
NEEDS_notes := jansson sqlite3
NEEDS_hash := libcrypto
NEEDS_upload := libcrypto
NEEDS_upstream := libcurl
EXAMPLES_ALL := $(sort $(patsubst examples/%/,%,$(dir $(wildcard examples/*/*.c examples/*/*.cc))))
EXAMPLES_OUT := $(foreach e,$(EXAMPLES_ALL),$(if $(NEEDS_$e),$(shell \
                $(PKG_CONFIG) --exists $(NEEDS_$e) 2>/dev/null || echo $e))) \
                $(shell command -v $(CXX) >/dev/null || echo cxx)
EXAMPLES := $(filter-out $(EXAMPLES_OUT),$(EXAMPLES_ALL))
EXAMPLE_SOS := $(EXAMPLES:%=$(B)/examples/%.so)
example_flags = $(if $(NEEDS_$1),$(shell $(PKG_CONFIG) --cflags --libs $(NEEDS_$1)))
UNIT_SRCS := $(wildcard tests/unit/test_*.c)
UNIT_TESTS := $(UNIT_SRCS:tests/unit/%.c=$(B)/tests/%)

.PHONY: all objects coverage examples check check-corpus fuzz-run check-unit check-system check-count check-headers check-includes fuzz bench count \
        install uninstall docs man lint clean run zerodrop zerodrop-short soak
.DELETE_ON_ERROR:

all: $(B)/gcorn $(B)/gcornctl $(B)/libgcorn-test.a examples
examples: $(EXAMPLE_SOS)
	$(foreach e,$(strip $(EXAMPLES_OUT)),@echo "  the example $e is left out: it needs $(or $(NEEDS_$e),$(CXX))"$(newline)	)

# ---- building --------------------------------------------------------------------------------
#
# `make V=1` shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $@")

# Without warnings: each file has had its own, and what gcc sees in all at once is often not there.
$(B)/gcorn: $(B)/main.o $(B)/version.o $(OBJS) $(LLHTTP_OBJS)
	$(call say,LD)
	$(DW_NOTE)
	$(Q)$(CC) $(filter-out $(WARNINGS),$(ALL_CFLAGS)) $(ALL_LDFLAGS) $(EXPORT) -o $@ $^ $(LIBS)

# What reads JSON is left out without jansson.
CTL_SRCS := src/gcornctl.c src/ctl/ask.c $(if $(JANSSON_LIBS),src/ctl/show.c src/ctl/top.c)
CTL_OBJS := $(CTL_SRCS:src/%.c=$(B)/%.o)

$(B)/gcornctl: $(CTL_OBJS) $(filter $(B)/base/% $(B)/settings/%,$(OBJS))
	$(call say,LD)
	$(JANSSON_NOTE)
	$(Q)$(CC) $(ALL_CFLAGS) $(LTO_NOT) $(ALL_LDFLAGS) -o $@ $^ $(YAML_LIBS) $(JANSSON_LIBS)

# For the tests of applications: one object, of whose names only gcorn_* are seen, so that none meets
# one of the application's; and no matter which compiler links it.
# The application's metrics are counted as in a worker, in a slot.
TESTLIB_SRCS := $(wildcard src/testlib/*.c src/testlib/*/*.c)
TESTLIB_OBJS := $(TESTLIB_SRCS:src/%.c=$(B)/%.o) $(filter $(B)/base/% $(B)/http/%,$(OBJS)) \
                $(B)/worker/call/app_metrics.o \
                $(addprefix $(B)/system/,ipc/metric_slots.o ipc/scoreboard.o ipc/shared.o file/memfile.o)
OBJCOPY ?= objcopy

$(B)/libgcorn-test.a: $(TESTLIB_OBJS) $(LLHTTP_OBJS)
	$(call say,AR)
	$(Q)$(CC) -r -nostdlib $(LTO_NOT) -o $(B)/testlib/all.o $^
	$(Q)$(OBJCOPY) --wildcard --keep-global-symbol='gcorn_*' --remove-section='.gnu.lto_*' \
	    --remove-section='.gnu.debuglto_*' $(B)/testlib/all.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(B)/testlib/all.o

# Compiles without linking: make objects CC=aarch64-linux-gnu-gcc B=build/aarch64
objects: $(B)/main.o $(B)/version.o $(OBJS) $(LLHTTP_OBJS) $(CTL_OBJS) $(TESTLIB_OBJS)

# The same with musl's headers, to which come those of libraries and of Linux, and none of glibc.
# What glibc has and musl has not is in base/compat.h.
MUSL_CC ?= musl-gcc
MUSL_HEADERS := ev.h yaml.h jansson.h jansson_config.h elfutils libelf.h gelf.h llhttp.h linux asm asm-generic
.PHONY: musl
musl:
	@mkdir -p build/musl/headers; for h in $(MUSL_HEADERS); do \
	    for d in /usr/include /usr/include/$$($(CC) -print-multiarch); do \
	        if [ -e $$d/$$h ]; then ln -sfn $$d/$$h build/musl/headers/$$h; fi; done; done
	@$(MAKE) objects CC=$(MUSL_CC) B=build/musl LTO= SANITIZE= COVERAGE= CFLAGS='-O1 -g' CPPFLAGS='-idirafter build/musl/headers'

$(CTL_OBJS): override CPPFLAGS += $(JANSSON_CFLAGS)
$(B)/system/trace/stacks.o $(B)/tests/test_stacks $(B)/version.o: override CPPFLAGS += $(DW_CFLAGS)
$(B)/version.o: override CPPFLAGS += -DHAS_OWN_LLHTTP=$(if $(LLHTTP_OBJS),1,0)
$(B)/init/files.o: $(wildcard src/init/template/*)
$(B)/init/files.o: override LTO :=
$(B)/base/build_info.o: override CPPFLAGS += -DBUILD_OPTIONS='"$(BUILD_OPTIONS)"'

$(B)/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/llhttp/%.o: $(LLHTTP_DIR)/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 $(LLHTTP_CFLAGS) -fPIE $(HARDEN) $(DEBUG_INFO) $(LTO) $(CFLAGS) -w -c -o $@ $<

# An example is compiled the way its reader would: nothing but gcorn.h, warnings on.
EXAMPLE_CFLAGS = -g -O2 -Wall -Wextra -Wpedantic -Wshadow $(if $(DEV),-Werror) -Iinclude -shared -fPIC \
                 $(filter-out -fno-sanitize-recover=all,$(if $(SANITIZE),$(HARDEN))) $(CPPFLAGS)
$(B)/examples/%.so: examples/%/*.c include/gcorn.h Makefile
	@mkdir -p $(@D)
	$(call say,SO)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(EXAMPLE_CFLAGS) $(ARANGES) -o $@ $(filter %.c,$^) $(call example_flags,$*)

$(B)/examples/%.so: examples/%/*.cc include/gcorn.h Makefile
	@mkdir -p $(@D)
	$(call say,SO)
	$(Q)$(CXX) -std=c++17 $(EXAMPLE_CFLAGS) -o $@ $(filter %.cc,$^)

-include $(OBJS:.o=.d) $(B)/main.d $(B)/version.d $(CTL_OBJS:.o=.d) $(TESTLIB_OBJS:.o=.d)

# ---- testing ---------------------------------------------------------------------------------

check: check-includes check-headers check-unit check-corpus check-system check-count

# What they test is optimised; they need not be, and that is half of the time they take to build.
$(B)/tests/%: tests/unit/%.c $(OBJS) $(LLHTTP_OBJS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(LTO_NOT) -O1 -Itests/unit $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $(filter %.c %.o,$^) $(LIBS) -lcmocka

-include $(UNIT_TESTS:=.d)

# The examples' own, as their authors would have them: with libgcorn-test and nothing else of gcorn.
EXAMPLE_TESTS := $(foreach e,$(EXAMPLES),$(if $(wildcard tests/examples/test_$e.c),$(B)/tests/example_$e))
$(B)/tests/example_%: tests/examples/test_%.c examples/%/*.c include/gcorn_test.h $(B)/libgcorn-test.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Wshadow $(if $(DEV),-Werror) -Iinclude $(HARDEN) -o $@ $(filter %.c,$^) \
	    $(B)/libgcorn-test.a $(call example_flags,$*) $(LLHTTP_LIBS) $(EV_LIBS) -pthread -lcmocka

# The test library's own, which are an application's, too: as C and as C++.
TESTLIB_NAMES := $(patsubst tests/testlib/test_%.c,%,$(wildcard tests/testlib/test_*.c))
TESTLIB_TESTS := $(TESTLIB_NAMES:%=$(B)/tests/testlib_%) \
                 $(if $(shell command -v $(CXX)),$(TESTLIB_NAMES:%=$(B)/tests/testlib_cxx_%))
TESTLIB_FLAGS = -D_GNU_SOURCE -g -O1 -Wall -Wextra -Wpedantic -Wshadow $(if $(DEV),-Werror) -Iinclude $(HARDEN)
TESTLIB_LIBS = $(B)/libgcorn-test.a $(LLHTTP_LIBS) $(EV_LIBS) -pthread -lcmocka
TESTLIB_NEEDS := tests/testlib/case.h include/gcorn.h include/gcorn_test.h $(B)/libgcorn-test.a
$(B)/tests/testlib_cxx_%: tests/testlib/test_%.c $(TESTLIB_NEEDS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CXX) -std=c++17 $(TESTLIB_FLAGS) -o $@ -x c++ $< -x none $(TESTLIB_LIBS)

$(B)/tests/testlib_%: tests/testlib/test_%.c $(TESTLIB_NEEDS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 $(TESTLIB_FLAGS) -o $@ $< $(TESTLIB_LIBS)

# Beside each other; each says its piece when it is over.
UNIT_RUNS := $(patsubst %,run-%,$(UNIT_TESTS) $(EXAMPLE_TESTS) $(TESTLIB_TESTS))
.PHONY: $(UNIT_RUNS)
check-unit: $(UNIT_RUNS)
$(UNIT_RUNS): run-%: %
	@$< > $<.log 2>&1; status=$$?; echo "== $<"; cat $<.log; exit $$status

# The system tests, in SYSTEM_RUNS runs at once that take equally long (tests/balance.py), and those of
# serving a second time with calls in threads: most tests wait for processes, not for the processor.
# The tests that were skipped are listed at the end. `make durations` measures each file again.
SYSTEM_RUNS ?= 6
SYSTEM_NAMES := $(shell seq $(SYSTEM_RUNS)) threaded
SYSTEM_FILES_threaded := $(patsubst %,tests/system/test_%.py,serving clients waiting rfc)
SYSTEM_ARGS_threaded := -k "serving or clients or waiting or 6.3 or 7.1 or 9.3"
PYTEST = GCORN_BUILD=$(abspath $(B)) SANITIZE=$(SANITIZE) $(PYTHON) -B -m pytest -p no:cacheprovider -q
SYSTEM_AT_ONCE ?= $(words $(SYSTEM_NAMES))
check-system: all check-unit check-corpus
	@$(MAKE) --no-print-directory -k -j$(SYSTEM_AT_ONCE) $(SYSTEM_NAMES:%=system-%) 2>$(B)/system.log; status=$$?; \
	cat $(SYSTEM_NAMES:%=$(B)/system-%.log) | grep -v '^SKIPPED'; \
	cat $(SYSTEM_NAMES:%=$(B)/system-%.log) | sed -n 's/^SKIPPED /not tested: /p' | sort -u; exit $$status
.PHONY: $(SYSTEM_NAMES:%=system-%) durations
$(SYSTEM_NAMES:%=system-%): system-%:
	@$(if $(filter threaded,$*),GCORN_THREADS_OF_TESTS=4 GCORN_DURATIONS=) $(PYTEST) -rs \
	    $(or $(SYSTEM_FILES_$*),$$($(PYTHON) -B tests/balance.py $* $(SYSTEM_RUNS))) \
	    $(SYSTEM_ARGS_$*) > $(B)/system-$*.log 2>&1

durations:
	@rm -f $(B)/durations; $(MAKE) check-system && $(PYTHON) -B tests/balance.py --record $(B)/durations
durations: export GCORN_DURATIONS := $(abspath $(B))/durations

# The fuzz targets: over their corpus with every check, for FUZZ_SECONDS each by `make fuzz`.
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang

$(B)/tests/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/feed.c tests/fuzz/replay.c $(OBJS) $(LLHTTP_OBJS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(LTO_NOT) $(ALL_LDFLAGS) -Itests/fuzz -o $@ $(filter-out %.h,$^) $(LIBS)

$(FUZZERS:%=$(B)/tests/replay_%): $(wildcard tests/fuzz/*.h)

# What runs a worker without sockets, epoll and time: tests/fake/.
FAKED := $(B)/tests/replay_conn $(B)/fuzz/conn $(B)/tests/test_conn $(B)/tests/test_conn_interim $(B)/tests/test_conn_body \
         $(B)/tests/test_receive
$(FAKED): $(wildcard tests/fake/*.c tests/fake/*.h)
$(FAKED): private LDFLAGS += -Wl,--wrap=now_ns,--wrap=now_ms,--wrap=time
$(FAKED): private CPPFLAGS += -Itests/fake
$(B)/fuzz/conn: private CPPFLAGS += -fsanitize-coverage-ignorelist=tests/fuzz/uncovered.txt

# The outcome of each input, answers to the byte, is the recorded one: a change that is meant to alter
# none proves it. `replay_request --print FILE` shows an outcome in full.
check-corpus: $(FUZZERS:%=$(B)/tests/replay_%)
	@for f in $(FUZZERS); do echo "== $$f"; \
	    $(B)/tests/replay_$$f --check tests/fuzz/answers/$$f tests/fuzz/corpus/$$f/* || exit 1; done

.PHONY: record-corpus
record-corpus: $(FUZZERS:%=$(B)/tests/replay_%)
	@for f in $(FUZZERS); do $(B)/tests/replay_$$f tests/fuzz/corpus/$$f/* > tests/fuzz/answers/$$f || exit 1; done

fuzz:
	@command -v $(FUZZ_CC) >/dev/null || { echo "fuzz: $(FUZZ_CC) is not installed (clang, libclang-rt-dev)"; exit 1; }
	@$(MAKE) CC=$(FUZZ_CC) SANITIZE=fuzzer-no-link,address,undefined fuzz-run

fuzz-run: $(FUZZERS:%=$(B)/fuzz/%)
	@for f in $(FUZZERS); do echo "== fuzz $$f for $(FUZZ_SECONDS) s"; mkdir -p $(B)/corpus/$$f; \
	    $(B)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -print_final_stats=1 -verbosity=0 -artifact_prefix=$(B)/ \
	    -dict=tests/fuzz/$$f.dict $(FUZZ_FLAGS) $(B)/corpus/$$f tests/fuzz/corpus/$$f || exit 1; done

# MemorySanitizer (clang): nothing reads memory that was never written. It covers http/, settings/ and
# the codecs of base/, by the corpora with their recorded outcomes and by the unit tests below. Not the
# worker and the master, which call libraries that are not built with it. Of those here cmocka only
# reads, and what libyaml writes is marked as written (tests/fuzz/msan_yaml.c).
MSAN_REPLAYS := chunked config proxy request
MSAN_UNITS := access_log arena ascii body chunk config config_text config_yaml environ json owned \
              proxy_protocol request response scan spool strbuf syntax utf8
.PHONY: msan msan-run
msan:
	@command -v $(FUZZ_CC) >/dev/null || { echo "msan: $(FUZZ_CC) is not installed (clang, libclang-rt-dev)"; exit 1; }
	@$(MAKE) CC=$(FUZZ_CC) SANITIZE=memory CFLAGS='-O1 -g' msan-run

MSAN_PROGRAMS := $(MSAN_REPLAYS:%=$(B)/tests/replay_%) $(MSAN_UNITS:%=$(B)/tests/test_%)
ifeq ($(SANITIZE),memory)
$(B)/tests/%: LIBS += -Wl,--wrap=yaml_parser_parse $(B)/tests/msan_yaml.o
$(MSAN_PROGRAMS): | $(B)/tests/msan_yaml.o
$(B)/tests/msan_yaml.o: tests/fuzz/msan_yaml.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
endif
msan-run: $(MSAN_PROGRAMS)
	@for f in $(MSAN_REPLAYS); do echo "== $$f"; \
	    $(B)/tests/replay_$$f --check tests/fuzz/answers/$$f tests/fuzz/corpus/$$f/* || exit 1; done
	@for t in $(MSAN_UNITS); do $(B)/tests/test_$$t > $(B)/tests/$$t.log 2>&1 || \
	    { cat $(B)/tests/$$t.log; echo "msan: test_$$t failed"; exit 1; }; done; \
	    echo "msan: $(words $(MSAN_REPLAYS)) corpora and $(words $(MSAN_UNITS)) unit tests are clean"

# How much of http/ the corpus reaches.
coverage:
	@find build/coverage -name '*.gcda' -delete 2>/dev/null; $(MAKE) COVERAGE=1 check-corpus
	@for f in src/http/*.c src/http/*/*.c; do gcov -n -o build/coverage/$$(dirname $${f#src/}) $$f 2>/dev/null | grep -A1 "File '$$f'"; done | \
	    awk -F"[':% ]+" '/^File/ {file = $$2} /^Lines/ {printf "%6.1f %% of %4d lines  %s\n", $$3, $$5, file; \
	    lines += $$5; run += $$3 * $$5 / 100} END {printf "%6.1f %% of %4d lines\n", 100 * run / lines, lines}'

$(B)/fuzz/%: tests/fuzz/fuzz_%.c tests/fuzz/feed.c tests/fuzz/entry.c $(OBJS) $(LLHTTP_OBJS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -Itests/fuzz -o $@ $(filter-out %.h,$^) $(LIBS)

# Every header compiles alone.
HEADERS := $(wildcard src/*.h src/*/*.h src/*/*/*.h) include/gcorn.h include/gcorn_test.h
check-headers: $(HEADERS:%=$(B)/headers/%.ok)
$(B)/headers/%.ok: % Makefile
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -Werror -fsyntax-only -x c $< && touch $@

check-includes:
	@$(PYTHON) -B tests/check_includes.py

# No deploy, restart, recycle or upgrade drops a request: minutes; zerodrop-short a tenth, in less than one.
$(B)/tests/zerodrop/client: tests/zerodrop/client.c Makefile
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g $(WARNINGS) -o $@ $<

zerodrop zerodrop-short: all $(B)/tests/zerodrop/client
	GCORN_BUILD=$(abspath $(B)) $(PYTHON) -B tests/zerodrop/run.py $(if $(filter %-short,$@),--short)

# Nothing grows over 100,000 requests of every kind, a third of them left half-way by their clients;
# under SANITIZE=address,undefined nothing leaks. The tests have a short form of it.
SOAK_REQUESTS ?= 100000
soak: all
	@GCORN_SOAK=$(SOAK_REQUESTS) $(PYTEST) -s tests/system/test_soak.py

# ---- using -----------------------------------------------------------------------------------

run: all
	@echo "try: curl -i http://127.0.0.1:8000/"
	$(B)/gcorn --bind 127.0.0.1:8000 $(B)/examples/hello.so:handler

# The sample is made of the same rows as the settings; a test compares them.
# The manual pages come from --help and from the headers' comments.
HELP2MAN := $(shell command -v help2man 2>/dev/null)
MAN3 := $(patsubst include/%,$(B)/man/%.3,$(wildcard include/*.h))
MANS := $(if $(HELP2MAN),$(B)/man/gcorn.1 $(B)/man/gcornctl.1) $(MAN3)
docs: $(B)/gcorn man
	$(B)/gcorn --print-sample > gunicorn-c.yaml

man: $(MANS)
ifeq ($(HELP2MAN),)
	@echo "  without help2man there are no manual pages of gcorn and gcornctl"
endif

$(B)/man/gcorn.1: NAME_LINE := pre-fork HTTP application server for programs in C
$(B)/man/gcornctl.1: NAME_LINE := ask a running gcorn, and tell it things
$(B)/man/%.1: $(B)/%
	@mkdir -p $(@D)
	$(call say,MAN)
	$(Q)$(HELP2MAN) -N --version-string=$(VERSION) -n '$(NAME_LINE)' -o $@ $<

$(B)/man/%.3: include/% src/man3.awk
	@mkdir -p $(@D)
	$(call say,MAN)
	$(Q)awk -v version=$(VERSION) -v header=$* -f src/man3.awk $< > $@

install: all man
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(B)/gcorn $(B)/gcornctl $(DESTDIR)$(BINDIR)
	install -m 644 include/gcorn.h include/gcorn_test.h $(DESTDIR)$(INCLUDEDIR)
	install -m 644 $(B)/libgcorn-test.a $(DESTDIR)$(LIBDIR)
	printf '%s\n' 'includedir=$(INCLUDEDIR)' 'Name: gcorn' \
	    'Description: pre-fork HTTP application server in C' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir}' > $(B)/gcorn.pc
	printf '%s\n' 'includedir=$(INCLUDEDIR)' 'libdir=$(LIBDIR)' 'Name: gcorn-test' \
	    'Description: tests of gcorn applications without a server' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir} -pthread' \
	    'Libs: -L$${libdir} -lgcorn-test $(LLHTTP_LIBS) $(EV_LIBS) -pthread' > $(B)/gcorn-test.pc
	install -m 644 $(B)/gcorn.pc $(B)/gcorn-test.pc $(DESTDIR)$(LIBDIR)/pkgconfig
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man3
	$(if $(filter %.1,$(MANS)),install -m 644 $(filter %.1,$(MANS)) $(DESTDIR)$(MANDIR)/man1)
	install -m 644 $(MAN3) $(DESTDIR)$(MANDIR)/man3

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/gcorn $(DESTDIR)$(BINDIR)/gcornctl $(DESTDIR)$(INCLUDEDIR)/gcorn.h \
	    $(DESTDIR)$(INCLUDEDIR)/gcorn_test.h $(DESTDIR)$(LIBDIR)/libgcorn-test.a \
	    $(DESTDIR)$(LIBDIR)/pkgconfig/gcorn.pc $(DESTDIR)$(LIBDIR)/pkgconfig/gcorn-test.pc \
	    $(DESTDIR)$(MANDIR)/man1/gcorn.1 $(DESTDIR)$(MANDIR)/man1/gcornctl.1 \
	    $(MAN3:$(B)/man/%=$(DESTDIR)$(MANDIR)/man3/%)

# ---- measuring -------------------------------------------------------------------------------

# What a request costs in instructions and system calls: the measure for every hot-path change.
count: all
	@$(PYTHON) -B tests/bench/count.py $(B)

# They are held against tests/bench/counts.txt. A build of another kind has other counts.
check-count: all check-system
ifeq ($(SANITIZE)$(COVERAGE)$(filter-out -O3 -g,$(CFLAGS)),)
	@$(PYTHON) -B tests/bench/count.py --check $(B)
endif

# gcorn beside its peers; LOAD=keepalive,counts measures only these, ROUNDS and SECONDS are of a load.
# A peer that is not installed is left out (make deps-bench installs all that Debian has).
BENCH := load limit bodies.so
ifeq ($(shell $(PKG_CONFIG) --exists libh2o-evloop 2>/dev/null && echo yes),yes)
BENCH += peer_h2o
endif
ifneq ($(wildcard /usr/include/kore/kore.h),)
BENCH += peer_kore.so
endif
bench: all $(BENCH:%=$(B)/bench/%)
	@$(PYTHON) -B tests/bench/bench.py $(B) $(LOAD)

BENCH_CFLAGS := -std=c11 -D_GNU_SOURCE -g -O2 -Wall -Wextra -Wshadow
$(B)/bench/%: tests/bench/%.c Makefile
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(BENCH_CFLAGS) -o $@ $< $(BENCH_LIBS)

$(B)/bench/%.so: tests/bench/%.c include/gcorn.h Makefile
	@mkdir -p $(@D)
	$(call say,SO)
	$(Q)$(CC) $(BENCH_CFLAGS) -Iinclude -shared -fPIC -o $@ $<

$(B)/bench/limit $(B)/bench/peer_h2o: tests/bench/listen.h
$(B)/bench/peer_h2o: BENCH_LIBS = $(shell $(PKG_CONFIG) --cflags --libs libh2o-evloop)
# their headers have warnings of their own
$(B)/bench/peer_h2o $(B)/bench/peer_kore.so: BENCH_CFLAGS += -Wno-unused-parameter -Wno-sign-compare

# ---- keeping ---------------------------------------------------------------------------------

# An application may set a locale: these functions of the C library then speak another language, or
# know other letters (base/ascii.h is for what they would do). And localtime_r has a lock.
LOCALE_ROOMS := base http worker
LOCALE_CALLS := (wcs|str)(f?time|ptime)|str(n?casecmp|casestr|coll|xfrm|signal)|(__xpg_)?strerror(_r)?|perror|psignal|psiginfo|(v)?warnx?|verrx?|errx?|error|(__)?str(to|tof)(d|f|ld)|atof|to(upper|lower)|__ctype_(b|tolower|toupper)_loc|is(alnum|alpha|blank|cntrl|digit|graph|lower|print|punct|space|upper|xdigit)|(local|gm|mk)time(_r)?|timelocal|(a?sc|c)time(_r)?|setlocale|uselocale|localeconv|nl_langinfo|fnmatch|regcomp|(mb|wc)s?r?to(wc|mb)s?|mblen|isw.*|tow.*

.PHONY: check-locale
check-locale: $(foreach room,$(LOCALE_ROOMS),$(filter $(B)/$(room)/%,$(OBJS)))
	@found=$$(nm -u -A --quiet $^ | grep -E ' U ($(LOCALE_CALLS))(@.*)?$$'); [ -z "$$found" ] || \
	    { echo "$$found"; echo "lint: what a locale changes is not for the server's text: see base/ascii.h"; exit 1; }
	@found=$$(grep -nE '"[^"]*%[-+ #0-9.*]*[lL]?[aefgAEFG][^"]*"' $(wildcard $(foreach room,$(LOCALE_ROOMS),src/$(room)/*.c src/$(room)/*/*.c))); [ -z "$$found" ] || \
	    { echo "$$found"; echo "lint: a locale changes the point of a decimal"; exit 1; }

# clang-format in place of arguments about layout; clang-tidy with clang's warnings (.clang-tidy says
# which), cppcheck and pyflakes where installed: `make deps lint` installs them.
LINT_FLAGS = $(filter-out -fno-sanitize-recover=all $(LTO),$(ALL_CFLAGS)) $(JANSSON_CFLAGS) $(DW_CFLAGS)
LINT_SRCS := $(SRCS) src/main.c $(CTL_SRCS) $(TESTLIB_SRCS)
lint: check-locale check-includes
	@clang-format --dry-run -Werror $(wildcard src/*/*.[ch] src/*/*/*.[ch] src/*.c include/*.h tests/unit/*.[ch] tests/testlib/*.[ch] tests/examples/*.c examples/*/*.c)
	@printf '%s\n' $(LINT_FLAGS) -I$(CURDIR)/include -I$(CURDIR)/src > $(B)/compile_flags.txt
	@if command -v clang-tidy >/dev/null; then \
	    printf '%s\n' $(LINT_SRCS) | xargs -P $(JOBS) -n 4 clang-tidy --quiet -p $(B) 2>/dev/null; fi
	@if command -v cppcheck >/dev/null; then cppcheck -q -j $(JOBS) --std=c11 --error-exitcode=1 \
	    --enable=warning,portability --inline-suppr --suppress=missingIncludeSystem -Isrc -Iinclude \
	    -DGCORN_VERSION='"$(VERSION)"' src; fi
	@if $(PYTHON) -c 'import pyflakes' 2>/dev/null; then $(PYTHON) -B -m pyflakes tests; fi

# The yardstick of a review: functions, comments, asserts, mutable objects; with a build made for it also
# which lines and branches the unit tests and the corpus reach (make figures COVERED=1).
.PHONY: figures
figures:
	@$(if $(COVERED),find build/coverage -name '*.gcda' -delete 2>/dev/null; $(MAKE) COVERAGE=1 check-unit check-corpus >/dev/null)
	@$(PYTHON) -B tests/figures.py $(if $(COVERED),build/coverage)

clean:
	rm -rf build

endif
