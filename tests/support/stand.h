/* SPDX-License-Identifier: BSD-2-Clause */
/* A terminal with its folder and PIN pad in a test stand, wired to the rogue loader. */
#ifndef KL_TESTS_SUPPORT_STAND_H
#define KL_TESTS_SUPPORT_STAND_H

#include <limits.h>

#include "terminal-sim/load.h"
#include "terminal-sim/terminal.h"
#include "tests/support/fakeloader.h"

#define STAND_PINPAD "P-0001"

enum { STAND_MEMORY, STAND_TOKEN, STAND_KINDS };

enum stand_fault {
    STAND_FAULT_NONE,
    STAND_FAULT_BEGIN,     /* the record cannot be begun */
    STAND_FAULT_COMPLETE,  /* nor, once the TMK is written, completed */
    STAND_DEATH_BEGUN,     /* killed once the record is begun */
    STAND_DEATH_WRITTEN,   /* once the TMK is written */
    STAND_DEATH_COMPLETED, /* once the record is completed */
};

struct stand {
    int kind;
    char dir[PATH_MAX]; /* the test's own */
    char home[PATH_MAX + 8];
    struct kl_terminal_home *home_open;
    struct kl_pinpad *pad;
    struct kl_terminal_load_params params;
    struct kl_terminal_load *load;
    struct kl_rogue loader;
    uint8_t buf[KL_MSG_MAX]; /* what goes back and forth */
    size_t len;
    struct kl_err err;
    enum stand_fault fault; /* of the next load's record */
    char traced[2048];      /* of the load under way */
};

#define stand_ok(b, call) ck_assert_msg((call) == KL_OK, "%s", (b)->err.text)

void stand_write_file(const char *dir, const char *name, const char *text, char path[PATH_MAX]);
void stand_init(struct stand *b, int kind);
void stand_end(struct stand *b);
void stand_close(struct stand *b);
void stand_restart(struct stand *b); /* dies, unless it is closed already, and starts again */
void stand_expect_tmks(struct stand *b, size_t count, uint32_t version0,
                       enum kl_terminal_state state0, uint32_t version1,
                       enum kl_terminal_state state1);
size_t stand_candidates(struct stand *b);
enum kl_rc stand_step(struct stand *b);
void stand_begin(struct stand *b);
void stand_to_certificate(struct stand *b);
void stand_to_master_key(struct stand *b);
void stand_to_loaded(struct stand *b);
enum kl_rc stand_give(struct stand *b, const struct kl_msg *msg);
void stand_confirm(struct stand *b, enum kl_verdict verdict);
void stand_settle(struct stand *b);
void stand_whole_load(struct stand *b);
void stand_expect_refusal(struct stand *b, enum kl_rc want, uint32_t reason);

#endif
