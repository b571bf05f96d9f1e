/* SPDX-License-Identifier: BSD-2-Clause */
/* A terminal with its folder and PIN pad on the bench, wired to the fake loader. */
#ifndef KL_TESTS_SUPPORT_BENCH_H
#define KL_TESTS_SUPPORT_BENCH_H

#include <limits.h>

#include "terminal-sim/load.h"
#include "terminal-sim/terminal.h"
#include "tests/support/fakeloader.h"

#define PINPAD "P-0001"

enum { MEMORY, TOKEN, PAD_KINDS };

enum bench_fault {
    FAULT_NONE,
    FAULT_BEGIN,     /* the record cannot be begun */
    FAULT_COMPLETE,  /* nor, once the TMK is written, completed */
    DEATH_BEGUN,     /* killed once the record is begun */
    DEATH_WRITTEN,   /* once the TMK is written */
    DEATH_COMPLETED, /* once the record is completed */
};

struct bench {
    int kind;
    char dir[PATH_MAX]; /* the test's own */
    char home[PATH_MAX + 8];
    struct kl_terminal_home *home_open;
    struct kl_pinpad *pad;
    struct kl_terminal_load_params params;
    struct kl_terminal_load *load;
    struct fake_loader loader;
    uint8_t buf[KL_MSG_MAX]; /* what goes back and forth */
    size_t len;
    struct kl_err err;
    enum bench_fault fault; /* of the next load's record */
    char traced[2048];      /* of the load under way */
};

#define ok(b, call) ck_assert_msg((call) == KL_OK, "%s", (b)->err.text)

void bench_write_file(const char *dir, const char *name, const char *text, char path[PATH_MAX]);
void bench_init(struct bench *b, int kind);
void bench_end(struct bench *b);
void bench_close(struct bench *b);
void bench_restart(struct bench *b); /* dies, unless it is closed already, and starts again */
void bench_expect_tmks(struct bench *b, size_t count, uint32_t version0,
                       enum kl_terminal_state state0, uint32_t version1,
                       enum kl_terminal_state state1);
size_t bench_candidates(struct bench *b);
enum kl_rc bench_step(struct bench *b);
void bench_begin(struct bench *b);
void bench_to_certificate(struct bench *b);
void bench_to_master_key(struct bench *b);
void bench_to_loaded(struct bench *b);
enum kl_rc bench_give(struct bench *b, const struct kl_msg *msg);
void bench_confirm(struct bench *b, enum kl_verdict verdict);
void bench_settle(struct bench *b);
void bench_whole_load(struct bench *b);
void bench_expect_refusal(struct bench *b, enum kl_rc want, uint32_t reason);

#endif
