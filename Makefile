# SPDX-License-Identifier: BSD-2-Clause
# Rooms become static libraries, programs link them; one folder, one library.
#
#   make                    programs into build/bin (installs missing packages first; NODEPS=1 not);
#                           V=1 shows the commands
#   make check              unit, integration and document tests; also check-unit, check-integration
#   make check-asan         tests under AddressSanitizer and UBSan; check-tsan: ThreadSanitizer;
#                           docs/reliability.md says which
#   make crash-matrix KILLS=n   n kills at random instants under load (SEED=s: those of that seed)
#   make soak SOAK_SECONDS=n   mixed load, attacks, outages, restarts; samples in build/soak.csv
#   make bench              loads/s and CPU against the bare PKCS#11 loop, and the rest of
#                           docs/performance.md; BENCH='NAME ...' BENCH_SECONDS=n BENCH_REPEATS=n
#   make crash-points       every way to die at every commit and every write, CRASH_JOBS (4) at a time
#   make fuzz FUZZ_SECONDS=n   every fuzz target for n seconds, FUZZ_JOBS (1) at a time; docs/fuzzing.md
#   make fuzz-seeds         more seeds for them, from real sessions
#   make coverage           all tests with gcc's coverage; a table for each room, HTML into build/cov
#   make check-docs         holds man pages and programs against each other, and types the examples
#                           of docs/operations.md in a scratch folder (check-operations: only that)
#   make instructions       instructions per load of each process, by callgrind, and their difference to
#                           tests/bench/instructions.txt; instructions-baseline writes that anew
#   make check-nss          integration tests with all keys in NSS softokn instead of SoftHSM
#   make check-valgrind     unit tests without module and daemon under memcheck
#   make modules-table      writes the table of docs/modules.md; MODULES='NAME=PATH' adds a column
#   make check-page         the status page in headless Chromium; alert rules and metrics by promtool
#   make demo               S1 to S9 on a scratch folder, and attacks that must fail; SUITE=classic
#                           or SUITE=hardened-ec: with that suite instead of hardened-rsa
#   make lint               formatting, static analysis, shell scripts
#   make vectors            writes the test vectors of docs/protocol.md anew
#   make man                man pages into build/man
#   make install DESTDIR= PREFIX=/usr/local
#   make deb                Debian packages into build/deb; DEB_BUILD_OPTIONS= runs the unit tests
#   make check-package      that, and installs, upgrades and purges them in a chroot (as root)

VERSION  := 0.3.0~dev
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
SAN      ?=
PLAIN    ?=
WERROR   ?=
NODEPS   ?=
V        ?=
Q        := $(if $(V),,@)
FUZZ_SECONDS ?= 60
FUZZ_JOBS    ?= 1
CHECK_JOBS   ?= 2
KILLS        ?= 3000
SEED         ?=
SUITE        ?= hardened-rsa
BENCH        ?=

# ---- Packages, before pkg-config is asked for flags below ----

GOALS     := $(or $(MAKECMDGOALS),all)
NEEDS     := build $(if $(filter check% crash% soak bench instructions% tests demo fuzz% tools vectors coverage modules-table lint,$(GOALS)),test) \
             $(if $(filter check-page,$(GOALS)),page) $(if $(filter bench,$(GOALS)),bench) $(if $(filter fuzz% check-asan,$(GOALS)),fuzz) \
             $(if $(filter lint format,$(GOALS)),lint) $(if $(filter check-valgrind instructions%,$(GOALS)),valgrind) \
             $(if $(filter deb check-package,$(GOALS)),package) $(if $(filter coverage,$(GOALS)),coverage)
DRY_RUN   := $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
ifeq ($(NODEPS)$(DRY_RUN),)
ifneq ($(filter-out clean,$(GOALS)),)
$(shell .ci/deps.sh $(NEEDS) >&2)
ifneq ($(.SHELLSTATUS),0)
$(error packages are missing: see above, or set NODEPS=1 to go on without them)
endif
endif
endif

PKGS     := p11-kit-1 libcrypto libevent_core libevent_extra sqlite3 inih jansson libsystemd
TESTPKGS := check
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wconversion -Wno-sign-conversion -Wpointer-arith -Wwrite-strings \
        -Wno-missing-field-initializers $(WERROR)
HARDEN := -fstack-protector-strong $(if $(filter gcc cc,$(notdir $(CC))),-fstack-clash-protection -fcf-protection)
ifeq ($(SAN),)
OPT    ?= -O2 -g
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
else
OPT    ?= -O1 -g -fno-omit-frame-pointer
SANFLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all
endif

CPPFLAGS += -I. -I$(BUILD)/gen -D_GNU_SOURCE -DKL_VERSION='"$(VERSION)"' -DOPENSSL_API_COMPAT=30000 -DOPENSSL_NO_DEPRECATED
CFLAGS   := -std=c11 $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) $(PKG_CFLAGS) -pthread
LDFLAGS  += -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack $(SANFLAGS) -pthread
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

# What a room's library leaves out: files with a main().
MAINS := daemon/keyloaderd.c daemon/keyloaderctl.c ca/acquire-ca.c terminal-sim/terminal-sim.c
ROOMS := proto conf pkcs11 daemon ca terminal-sim
BINS  := $(addprefix $(BUILD)/bin/,$(basename $(notdir $(wildcard $(MAINS)))))
# Beside the build PLAIN, ThreadSanitizer looks at what has threads: every daemon, and some unit tests below.
ifneq (,$(and $(PLAIN),$(findstring thread,$(SAN))))
BINS  := $(BUILD)/bin/keyloaderd
endif

room_src = $(filter-out $(MAINS),$(wildcard $(1)/*.c $(1)/*/*.c))
objs     = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
libs     = $(foreach r,$(1),$(BUILD)/lib/libkl-$(r).a)

UNIT  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
INTEG := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/integration/test_*.c))
# A process under a sanitizer is too large to be looked through, its malloc is another, and a look that counts
# each step is too slow.
ifneq (,$(SAN)$(findstring --coverage,$(OPT)))
INTEG := $(filter-out %/test_memory,$(INTEG))
endif
ifneq (,$(findstring thread,$(SAN)))
UNIT  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(shell grep -lE \
         '(pthread|thread|committer|monitor_http|relay)\.h"?>?$$|kl_store_wal_aside' tests/unit/test_*.c))
endif
# A fuzz target is tests/fuzz/fuzz_NAME.c; what the targets share is the rest of that folder. Each is
# a libFuzzer program, and a plain one (replay) that gives it the inputs in the tree.
FUZZ  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/replay/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SHARED := $(call objs,$(filter-out tests/fuzz/fuzz_%.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))
# A PKCS#11 module is a tool named *_p11.c, a library to preload *_preload.c; the other tools are
# programs.
TOOLS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out %_p11.c %_preload.c,$(wildcard tests/tools/*.c))) \
         $(patsubst tests/%.c,$(BUILD)/tests/%.so,$(wildcard tests/tools/*_p11.c tests/tools/*_preload.c))
SUPPORT := $(call objs,$(wildcard tests/support/*.c))
# make bench is two programs, the orchestrator and the bare loop; what they share is the rest of that
# folder, and has tests of its own.
BENCH_MAINS := tests/bench/bench.c tests/bench/bare.c
BENCHES := $(patsubst tests/%.c,$(BUILD)/tests/%,$(BENCH_MAINS))
BENCH_SHARED := $(call objs,$(filter-out $(BENCH_MAINS),$(wildcard tests/bench/*.c)))

SOURCES := $(wildcard $(addsuffix /*.[ch],$(ROOMS)) $(addsuffix /*/*.[ch],$(ROOMS)) tests/*/*.[ch])
SCRIPTS := $(wildcard .ci/run .ci/*.sh tests/*.sh tests/bench/*.sh tests/fuzz/*.sh conf/completion/*.bash conf/debian/*.sh conf/debian/*.postinst conf/debian/*.prerm conf/debian/*.postrm)

.PHONY: all deps tests tools check check-unit check-integration check-nss check-valgrind modules-table check-asan check-tsan \
        check-docs check-operations check-page bench fuzz soak fuzzers fuzz-run fuzz-seeds coverage demo lint format \
        vectors man install deb check-package clean
.SECONDARY:
.DELETE_ON_ERROR:
all: $(BINS)

deps:
	.ci/deps.sh build test fuzz lint

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "CC $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIE -MMD -MP -c $< -o $@

# The status page as bytes of a program.
PAGE := $(BUILD)/gen/status_page.inc
$(PAGE): conf/status.html
	@mkdir -p $(@D)
	$(Q)od -An -v -td1 $< | sed 's|  *\(-\{0,1\}[0-9][0-9]*\)|\1,|g' > $@
$(BUILD)/obj/daemon/monitor/status_page.o $(BUILD)/lint/daemon/monitor/status_page.tidy: $(PAGE)

# The scenarios of terminal-sim attack, as rows of a table.
SCENARIOS := $(sort $(wildcard conf/scenarios/*.ini))
SCENARIO_TABLE := $(BUILD)/gen/scenarios.inc
$(SCENARIO_TABLE): conf/scenarios $(SCENARIOS)
	@mkdir -p $(@D)
	$(Q)for f in $(SCENARIOS); do \
	    echo "{\"$$(basename $$f .ini)\","; \
	    sed 's|\\|\\\\|g; s|"|\\"|g; s|^|"|; s|$$|\\n"|' $$f; \
	    echo "},"; \
	done > $@
$(BUILD)/obj/terminal-sim/attack/scenarios.o $(BUILD)/lint/terminal-sim/attack/scenarios.tidy: $(SCENARIO_TABLE)

define room_rule
$(BUILD)/lib/libkl-$(1).a: $(call objs,$(call room_src,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# Each program: its main, its own room, then what rooms may depend on.
BASE := conf pkcs11 proto
$(BUILD)/bin/keyloaderd:   $(BUILD)/obj/daemon/keyloaderd.o   $(call libs,daemon $(BASE))
$(BUILD)/bin/keyloaderctl: $(BUILD)/obj/daemon/keyloaderctl.o $(call libs,daemon $(BASE))
$(BUILD)/bin/acquire-ca:   $(BUILD)/obj/ca/acquire-ca.o       $(call libs,ca $(BASE))
$(BUILD)/bin/terminal-sim: $(BUILD)/obj/terminal-sim/terminal-sim.o $(call libs,terminal-sim $(BASE))
$(BUILD)/bin/%:
	@mkdir -p $(@D)
	$(if $(V),,@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) -o $@
# Beside a keyloaderd under a sanitizer most suites take the other programs from the build PLAIN: they start in
# a fifth of the time, which is most of what they take.
ifneq ($(PLAIN),)
MIXED := $(addprefix $(BUILD)/mixed/,bin/keyloaderd bin/keyloaderctl bin/acquire-ca bin/terminal-sim tests)
$(BUILD)/mixed/bin/keyloaderd: $(BUILD)/bin/keyloaderd
$(filter-out %/keyloaderd %/tests,$(MIXED)): $(BUILD)/mixed/%: $(PLAIN)/%
$(BUILD)/mixed/tests: | $(TOOLS)
$(MIXED):
	@mkdir -p $(@D)
	$(Q)ln -sfnr $(if $(filter %/tests,$@),$(BUILD)/tests,$<) $@
endif

# ---- Tests ----

TEST_LIBS := $(call libs,daemon ca terminal-sim $(BASE))

# What programs load is without sanitizers: a runtime of theirs must come first, and not every program has one.
LOADED = $(CC) $(CPPFLAGS) $(filter-out $(SANFLAGS),$(CFLAGS)) -U_FORTIFY_SOURCE -fPIC -shared -MMD -MP \
         -MF $(patsubst $(BUILD)/%.so,$(BUILD)/obj/%.d,$@) -Wl,-z,relro,-z,now $< -o $@
$(filter %.so,$(TOOLS)): $(BUILD)/tests/%.so: tests/%.c Makefile
	@mkdir -p $(@D) $(BUILD)/obj/$(dir tests/$*)
	$(if $(V),,@echo "LD $@")
	$(Q)$(LOADED)

# As archives: a target takes what it uses, and may stand in for the rest (fake_pool.c and fake_committer.c do so
# for the HSM pool and the store thread).
$(BUILD)/lib/libkl-fuzz.a: $(FUZZ_SHARED)
$(BUILD)/lib/libkl-support.a: $(SUPPORT)
$(BUILD)/lib/libkl-fuzz.a $(BUILD)/lib/libkl-support.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^
FUZZ_LIBS := $(BUILD)/lib/libkl-fuzz.a $(BUILD)/lib/libkl-support.a $(TEST_LIBS)

$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(FUZZ_LIBS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) $(shell pkg-config --libs $(TESTPKGS)) -o $@

$(BUILD)/tests/replay/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(FUZZ_LIBS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) $(shell pkg-config --libs $(TESTPKGS)) -o $@

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(SUPPORT) $(TEST_LIBS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "LD $@")
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) $(shell pkg-config --libs $(TESTPKGS)) -o $@

$(BENCHES) $(filter %/test_bench %/test_bench_calls,$(UNIT)): $(BENCH_SHARED)

tests: $(UNIT) $(INTEG) $(REPLAY) tools
tools: $(TOOLS) $(BENCHES) $(MIXED)

# Those that are about the other programs, or give them damaged files, take them from BUILD, too.
WHOLE := operations.sh modules.sh test_attack test_audit test_backup test_ca_program test_ceremony test_dual \
         test_fleet_run test_import_refused test_key_import test_refusals test_secrets test_tmk_import
$(foreach s,$(WHOLE),$(if $(wildcard tests/$s tests/integration/$s.c),,$(error there is no $s)))
RUN_TESTS = SAN=$(SAN) CHECK_JOBS=$(CHECK_JOBS) MIXED=$(if $(PLAIN),$(BUILD)/mixed) \
            WHOLE="$(if $(findstring thread,$(SAN)),,$(WHOLE))" tests/run.sh $(BUILD)

# Man pages against programs and sources, which sanitizers add nothing to; the examples of
# docs/operations.md; docs/modules.md.
DOCTESTS := $(if $(SAN),,tests/man.sh) tests/operations.sh tests/modules.sh

# The long ones first, so that no CPU is idle at the end.
check: all tests man
	@$(RUN_TESTS) $(DOCTESTS) $(INTEG) $(UNIT) $(REPLAY)
check-unit: $(UNIT) $(REPLAY) tools
	@$(RUN_TESTS) $(UNIT) $(REPLAY)
check-integration: all $(INTEG) tools
	@$(RUN_TESTS) $(INTEG)
# One build for the tests and for the fuzz targets, which take most of its objects.
FUZZED := --no-print-directory NODEPS=1 BUILD=$(BUILD)/fuzz CC=clang SAN=address,undefined,fuzzer-no-link
check-asan: all
	@$(MAKE) $(FUZZED) PLAIN=$(BUILD) check
check-tsan: all
	@$(MAKE) --no-print-directory NODEPS=1 BUILD=$(BUILD)/tsan PLAIN=$(BUILD) SAN=thread check

# Mixed load, attacks, reloads, outages and restarts for SOAK_SECONDS; samples in soak.csv.
SOAK_SECONDS ?= 3600
soak: all $(BUILD)/tests/integration/test_soak tools
	@KL_SOAK_SECONDS=$(SOAK_SECONDS) KL_SOAK_OUT=$(abspath $(BUILD))/soak.csv \
	    KL_SUITE_SECONDS=$$(($(SOAK_SECONDS) * 2 + 600)) \
	    $(RUN_TESTS) $(BUILD)/tests/integration/test_soak
	@grep '^soak:' $(BUILD)/tests/log/test_soak.log; echo "samples: $(BUILD)/soak.csv"

fuzz fuzz-seeds: | $(filter check-asan,$(GOALS))
fuzz:
	@$(MAKE) $(FUZZED) FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz-run
fuzzers: $(FUZZ)
fuzz-run: fuzzers
	@FUZZ_JOBS=$(FUZZ_JOBS) tests/fuzz.sh $(BUILD) $(FUZZ_SECONDS) $(FUZZ)
fuzz-seeds: all $(BUILD)/tests/tools/relay
	@$(MAKE) $(FUZZED) fuzzers
	@tests/fuzz/seeds.sh $(BUILD) $(BUILD)/fuzz

# What was killed has said nothing of its lines: the figures are a lower bound.
COVERAGE ?= check-unit check-integration
COVERED  := BUILD=$(BUILD)/cov CC=gcc OPT="-Og -g --coverage -fprofile-update=atomic"
coverage:
	@LDFLAGS=--coverage $(MAKE) --no-print-directory NODEPS=1 $(COVERED) all tests
	@LDFLAGS=--coverage tests/coverage.sh $(BUILD)/cov \
	    '$(MAKE) -k --no-print-directory NODEPS=1 $(COVERED) $(COVERAGE)'

# Everything that is measured, under 10 minutes: docs/performance.md.
bench: all $(BENCHES) tools
	@KL_BUILD=$(BUILD) BENCH="$(BENCH)" $(BUILD)/tests/bench/bench
	@echo "report: $(BUILD)/bench.html, $(BUILD)/bench.json"

# Long runs of two tests that are short in check: docs/reliability.md.
CRASH_JOBS ?= 4
CRASH_RUN = KL_CRASH_SEED=$(SEED) KL_SUITE_SECONDS=86400 $(RUN_TESTS)
.PHONY: crash-matrix crash-points
crash-matrix: all tools $(BUILD)/tests/integration/test_crash_matrix
	@KL_CRASH_KILLS=$(KILLS) $(CRASH_RUN) $(BUILD)/tests/integration/test_crash_matrix
	@tail -n 2 $(BUILD)/tests/log/test_crash_matrix.log
crash-points: all tools $(BUILD)/tests/integration/test_crash_points
	@KL_CRASH_POINTS=writes KL_CRASH_JOBS=$(CRASH_JOBS) $(CRASH_RUN) $(BUILD)/tests/integration/test_crash_points
	@awk '/ points, / { print; n += $$2 } END { print n " deaths" }' $(BUILD)/tests/log/test_crash_points.log

# In a file, so that a review sees what a change costs; docs/performance.md.
.PHONY: instructions instructions-baseline
INSTRUCTIONS := tests/bench/instructions.txt
instructions: all tools
	@tests/bench/instructions.sh $(BUILD) $(INSTRUCTIONS)
instructions-baseline: all tools
	@tests/bench/instructions.sh $(BUILD) > $(BUILD)/instructions.txt
	@cp $(BUILD)/instructions.txt $(INSTRUCTIONS)
	@cat $(INSTRUCTIONS)

check-docs: all man tools
	@$(RUN_TESTS) $(DOCTESTS)
check-operations: all
	@tests/operations.sh $(BUILD)

check-page: all
	@tests/page.sh $(BUILD)

demo: all $(BUILD)/tests/tools/relay
	@tests/demo.sh $(BUILD) $(SUITE)

# The integration tests with all keys in NSS softokn; NSS_SUITES='load ...' for some of them.
# docs/modules.md says why those named here are not among them.
NSS_OUT    := bench_run ca_program ceremony key_import refusals tmk_import units
NSS_SUITES ?= $(filter-out $(NSS_OUT),$(patsubst $(BUILD)/tests/integration/test_%,%,$(INTEG)))
check-nss: all $(INTEG) tools
	@KL_TEST_MODULE=nss $(RUN_TESTS) $(addprefix $(BUILD)/tests/integration/test_,$(NSS_SUITES))

# Suites that open no module and end within two minutes or so under memcheck (docs/reliability.md);
# VALGRIND_SUITES='weakness ...' takes others.
VALGRIND_SUITES ?= alarm alg allow audit_event bench breaker cli clockwatch conn_io csv err field62 \
                   hsm_trail ini job life_restore log metrics monitor_where options process scenario store_keys \
                   store_rows store_wrap suite syslog uri vectors_signin
check-valgrind: $(addprefix $(BUILD)/tests/unit/test_,$(VALGRIND_SUITES))
	@CHECK_JOBS=$(CHECK_JOBS) tests/valgrind.sh $(BUILD) $(VALGRIND_SUITES)

modules-table: all tools
	@tests/modules.sh $(BUILD) --update $(MODULES)

vectors: $(BUILD)/tests/tools/vectors
	$(BUILD)/tests/tools/vectors --data tests/data --update docs/protocol.md

# ---- Static checks ----

# One stamp a file, so that only what changed is looked at again, and -j helps. Tests are spared the
# analyzer of paths, which takes most of the time: they run under sanitizers.
TIDY := $(patsubst %.c,$(BUILD)/lint/%.tidy,$(filter %.c,$(SOURCES)))
$(BUILD)/lint/%.tidy: %.c .clang-tidy $(filter %.h,$(SOURCES))
	@mkdir -p $(@D)
	@echo "clang-tidy $<"
	@clang-tidy --quiet $(if $(filter tests/%,$<),'--checks=-clang-analyzer-*') $< -- $(CPPFLAGS) -std=c11 $(PKG_CFLAGS) 2>$@.log >$@.out || \
	    { cat $@.out; grep -v 'warnings generated' $@.log; false; }
	@touch $@

lint: man
	$(if $(V),,@echo "clang-format, every source file")
	$(Q)clang-format --dry-run -Werror $(SOURCES)
	shellcheck $(SCRIPTS)
	mandoc -Tlint -Wwarning $(MAN)
	@$(MAKE) --no-print-directory NODEPS=1 -j $$(nproc) lint-tidy
.PHONY: lint-tidy
lint-tidy: $(TIDY)

format:
	clang-format -i $(SOURCES)

# ---- Man pages ----

# The configuration's page is made from what the program itself says of its keys.
MAN := $(addprefix $(BUILD)/man/,$(notdir $(wildcard docs/man/*.[1-9])) keyloaderd.conf.5)
man: $(MAN)
$(BUILD)/man/keyloaderd.conf.5: docs/man/keyloaderd.conf.5.in docs/man/conf.awk $(BUILD)/bin/keyloaderd
	@mkdir -p $(@D) $(BUILD)/obj
	$(Q)$(BUILD)/bin/keyloaderd --help-config > $(BUILD)/obj/help-config
	$(Q)awk -f docs/man/conf.awk $(BUILD)/obj/help-config $< > $@
$(BUILD)/man/%: docs/man/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

# ---- Installation ----

SHARE := $(DESTDIR)$(PREFIX)/share
LIBDIR := $(DESTDIR)$(PREFIX)/lib
DOC   := $(SHARE)/doc/keyloader
install: all man
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DOC)/examples $(DOC)/docs
	install -m 0755 $(BUILD)/bin/keyloaderd $(BUILD)/bin/keyloaderctl $(DESTDIR)$(PREFIX)/sbin/
	install -m 0755 $(BUILD)/bin/acquire-ca $(BUILD)/bin/terminal-sim $(DESTDIR)$(PREFIX)/bin/
	install -d $(DOC)/examples/monitoring
	install -m 0644 conf/keyloaderd.conf $(DOC)/examples/
	install -m 0644 $(wildcard conf/monitoring/*) $(DOC)/examples/monitoring/
	install -m 0644 LICENSE README.md $(DOC)/
	install -d $(LIBDIR)/systemd/system $(LIBDIR)/sysusers.d $(LIBDIR)/tmpfiles.d $(DOC)/examples/systemd
	sed 's|@sbindir@|$(PREFIX)/sbin|' conf/systemd/keyloaderd.service > $(LIBDIR)/systemd/system/keyloaderd.service
	chmod 0644 $(LIBDIR)/systemd/system/keyloaderd.service
	install -m 0644 $(wildcard conf/systemd/*.socket) $(LIBDIR)/systemd/system/
	install -m 0644 conf/systemd/keyloader.sysusers $(LIBDIR)/sysusers.d/keyloader.conf
	install -m 0644 conf/systemd/keyloader.tmpfiles $(LIBDIR)/tmpfiles.d/keyloader.conf
	install -m 0644 $(wildcard conf/systemd/examples/*.conf) $(DOC)/examples/systemd/
	install -m 0644 CHANGELOG.md $(wildcard docs/*.md) $(DOC)/docs/
	install -d $(SHARE)/keyloader/scenarios
	install -m 0644 $(SCENARIOS) $(SHARE)/keyloader/scenarios/
	install -d $(addprefix $(SHARE)/man/man,1 5 8) $(SHARE)/bash-completion/completions
	$(foreach p,$(notdir $(BINS)),install -m 0644 conf/completion/keyloader.bash \
	    $(SHARE)/bash-completion/completions/$(p) &&) :
	$(foreach n,1 5 8,install -m 0644 $(filter %.$(n),$(MAN)) $(SHARE)/man/man$(n)/ &&) :

# ---- Debian packages ----

# A source tree of its own, with debian/ at its root, so that nothing here is touched. Its unit
# tests are not run again unless asked for: .ci/run has done so.
DEB := $(BUILD)/deb/keyloader-$(VERSION)
export DEB_BUILD_OPTIONS ?= nocheck
deb:
	rm -rf $(DEB)
	mkdir -p $(DEB)
	tar -c --exclude-vcs $(ROOMS) docs tests .ci Makefile LICENSE $(wildcard *.md) | tar -x -C $(DEB)
	mv $(DEB)/conf/debian $(DEB)/debian
	sed -i 's/^VERSION  *:=.*/VERSION := $(VERSION)/' $(DEB)/Makefile
	$(DEB)/debian/changelog.sh $(VERSION) CHANGELOG.md > $(DEB)/debian/changelog
	cd $(DEB) && env -u MAKEFLAGS -u MAKELEVEL -u DESTDIR dpkg-buildpackage -us -uc -b
	@ls -1 $(BUILD)/deb/*.deb

check-package: deb
	@tests/package.sh $(BUILD) $(VERSION)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
