# SPDX-License-Identifier: BSD-2-Clause
# Rooms become static libraries, programs link them; one folder, one library.
#
#   make            programs into build/bin
#   make check      unit and integration tests        make demo   S1 to S9, shown
#   make install DESTDIR= PREFIX=/usr/local

VERSION  := 0.1.0
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
SAN      ?=
WERROR   ?=

PKGS     := p11-kit-1 libcrypto libevent_core sqlite3 inih jansson libsystemd
TESTPKGS := check

WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wconversion -Wno-sign-conversion -Wpointer-arith -Wwrite-strings $(WERROR)
HARDEN := -fstack-protector-strong -fPIE $(if $(filter gcc cc,$(notdir $(CC))),-fstack-clash-protection -fcf-protection)
ifeq ($(SAN),)
OPT    ?= -O2 -g
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
else
OPT    ?= -O1 -g -fno-omit-frame-pointer
SANFLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all
endif

CPPFLAGS += -I. -D_GNU_SOURCE -DKL_VERSION='"$(VERSION)"' -DOPENSSL_API_COMPAT=30000 -DOPENSSL_NO_DEPRECATED
CFLAGS   := -std=c11 $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) $(shell pkg-config --cflags $(PKGS) 2>/dev/null) -pthread
LDFLAGS  += -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack $(SANFLAGS) -pthread
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

# What a room's library leaves out: files with a main().
MAINS := daemon/keyloaderd.c daemon/keyloaderctl.c ca/acquire-ca.c terminal-sim/terminal-sim.c
ROOMS := proto conf pkcs11 daemon ca terminal-sim
BINS  := $(addprefix $(BUILD)/bin/,$(basename $(notdir $(wildcard $(MAINS)))))

room_src = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
objs     = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
libs     = $(foreach r,$(1),$(BUILD)/lib/libkl-$(r).a)

UNIT  := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
INTEG := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(wildcard tests/integration/test_*.c))

.PHONY: all check demo clean deps install check-asan check-tsan tests
.SECONDARY:
.DELETE_ON_ERROR:
all: $(BINS)

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

define room_rule
$(BUILD)/lib/libkl-$(1).a: $(call objs,$(call room_src,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(AR) rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# Each program: its main, its own room, then what rooms may depend on.
BASE := conf pkcs11 conf proto
$(BUILD)/bin/keyloaderd:   $(BUILD)/obj/daemon/keyloaderd.o   $(call libs,daemon $(BASE))
$(BUILD)/bin/keyloaderctl: $(BUILD)/obj/daemon/keyloaderctl.o $(call libs,daemon $(BASE))
$(BUILD)/bin/acquire-ca:   $(BUILD)/obj/ca/acquire-ca.o       $(call libs,ca $(BASE))
$(BUILD)/bin/terminal-sim: $(BUILD)/obj/terminal-sim/terminal-sim.o $(call libs,terminal-sim $(BASE))
$(BUILD)/bin/%:
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) -o $@

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c)) $(call libs,daemon ca terminal-sim $(BASE))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS) $(shell pkg-config --libs $(TESTPKGS)) -o $@

tests: $(UNIT) $(INTEG)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
