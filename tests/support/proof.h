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

/* Equal KCVs will be taken for equal keys: lab_set(lab, "policy", "kcv-length", "4"). */
void proof_begin(struct proof *proof, const char *serial);

struct proof_load { /* terminal-sim load through a relay that records */
    struct proc terminal;
    struct relay *relay;
    char record[PATH_MAX];
};
/* Starts it, with that plan for the relay (NULL: to pass on all); its record is ours. */
void proof_load_start(const struct proof *proof, struct lab *lab, const struct relay_plan *plan,
                      struct proof_load *load);
/* It is over, with that status, or killed (-1): stops the relay, and takes every MasterKey out of
 * the recording. Fails the test at a TMK that was sent before: same version, KCV or Ctmk. Status 0:
 * the version that the terminal reports is done. */
void proof_load_end(struct proof *proof, struct proof_load *load, int status);

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
