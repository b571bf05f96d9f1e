/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a crash test keeps of a terminal's loads, and the proof, by audit of store and PIN pad, that
 * nothing was lost: every MasterKey that was on the wire, and every load that ended in Done. What
 * does not hold fails the test (ck_abort_msg), unless it is asked for as a text.
 */
#ifndef KL_TESTS_SUPPORT_PROOF_H
#define KL_TESTS_SUPPORT_PROOF_H

#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "tests/support/lab.h"

#define PROOF_KEYS 512

struct proof_key { /* a TMK that was on the wire */
    uint32_t version;
    char kcv[KL_KCV_TEXT];
    uint8_t ctmk[KL_CTMK_LEN_MAX];
    size_t ctmk_len;
    int done; /* the terminal said that its load is over */
};

struct proof {
    char serial[KL_SERIAL_MAX + 1];
    size_t count;
    struct proof_key keys[PROOF_KEYS];
};

void proof_begin(struct proof *proof, const char *serial);
/* Takes every MasterKey out of a relay's recording; fails the test at a TMK that was sent before:
 * same version, KCV or Ctmk. */
void proof_wire(struct proof *proof, const char *record);
/* terminal-sim load ended well: the newest that it was sent is its TMK. */
void proof_done(struct proof *proof, uint32_t version);

#define PROOF_TEXT 256
/* 1 if all of this holds, else 0 and why:
 * - what the PIN pad holds, in any state, the store has, with the same KCV;
 * - the PIN pad has lost nothing that it should hold;
 * - what was on the wire, the store has, with the same KCV;
 * - what was done, the store has had active (active or superseded now), and the PIN pad's active
 *   one is as new or newer;
 * - if `settled`: PIN pad and store have the same active TMK. */
int proof_holds(const struct proof *proof, struct lab *lab, int settled, char why[PROOF_TEXT]);
/* The same, or the test fails. */
void proof_check(const struct proof *proof, struct lab *lab, int settled);
/* Of the whole store: audit chain intact, no two terminals or attempts have one key. */
void proof_store(struct lab *lab);

#endif
