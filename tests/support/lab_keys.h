/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lab's keys: what sign-ins have left on both sides, and what is in the loader's store, in
 * clear. That comes out of the loader's token under a key of the test's, and goes no further.
 */
#ifndef KL_TESTS_SUPPORT_LAB_KEYS_H
#define KL_TESTS_SUPPORT_LAB_KEYS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store/store.h"
#include "tests/support/lab.h"

/* ---- Programs ---- */

/* `terminal-sim ARGS... --dir DIR` of that terminal (NULL-terminated): starts it, or runs it to its
 * end and returns its exit status. */
void lab_sim_start(struct lab *lab, const char *serial, struct proc *proc, ...)
    __attribute__((sentinel));
int lab_sim(struct lab *lab, const char *serial, struct proc *proc, ...) __attribute__((sentinel));

/* `keyloaderctl ARGS...`: its exit status, whatever it is. */
int lab_ctl_run(struct lab *lab, struct proc *proc, ...) __attribute__((sentinel));
/* keyloaderctl must end with that status and, unless words is NULL, say them on stderr. */
void lab_ctl_ends(struct lab *lab, int status, const char *words, ...) __attribute__((sentinel));
/* The JSON that `keyloaderctl --json ARGS...` prints; the caller releases it. */
json_t *lab_ctl_json(struct lab *lab, ...) __attribute__((sentinel));
/* Waits until the first checkpoint of the audit trail, which a daemon has signed once it runs and
 * there is a record, has been: that job stands in nobody's way any more. */
void lab_wait_checkpoint(struct lab *lab);
/* A string or number of an object, as text; fails the test if there is none. Borrowed, or static.
 */
const char *lab_text(const json_t *object, const char *key);

/* ---- Sign-in ---- */

/* Signs in over 127.0.0.1:port; format "keys" or "field62". proc (may be NULL): what it said. */
int lab_sign_in(struct lab *lab, const char *serial, uint16_t port, const char *format,
                struct proc *proc);

struct lab_pair {
    unsigned tmk_version; /* 0 = there is no pair */
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];
    int in_doubt; /* the PIN pad's: Loaded went out, no Done came. Even without a pair */
};
/* As terminal show, and as pinpad show, has it (which must hold what it has on record). */
struct lab_pair lab_store_pair(struct lab *lab, const char *serial);
struct lab_pair lab_pad_pair(struct lab *lab, const char *serial);
int lab_same_pair(const struct lab_pair *a, const struct lab_pair *b);
/* Both have the same pair, there is one, and the terminal is sure of it. */
void lab_pairs_agree(struct lab *lab, const char *serial);

/* ---- Keys in clear ---- */

/* Two values whose sum is a key of info's length, as custodians have them: in files DIR/first.pin
 * and DIR/second.pin, whose SRCs are `sources`, with the KCVs of each and of the key. DES keys have
 * odd parity, so that a byte of the second differs from the sum where that would have it even. */
struct lab_components {
    char sources[2][PATH_MAX + 8];
    uint8_t values[2][KL_TMK_LEN_MAX];
    char kcvs[2][KL_KCV_TEXT], kcv[KL_KCV_TEXT];
};
void lab_components(struct lab *lab, const struct kl_alg_info *info, const uint8_t *value,
                    struct lab_components *out);
uint8_t lab_odd(uint8_t byte); /* with its parity bit set so */

/* Rows of the store. */
struct kl_working lab_working(struct lab *lab, const char *serial);
struct kl_tmk lab_tmk_row(struct lab *lab, const char *serial, unsigned version);

/* The key in a cryptogram under the loader's storage key; out gets the algorithm's length. */
void lab_clear_key(struct lab *lab, enum kl_alg alg, const uint8_t *cryptogram, size_t len,
                   uint8_t out[KL_TMK_LEN_MAX]);

/* The terminal's pin-block and mac give what is recomputed here from the loader's PIK and MAK. */
void lab_keys_work(struct lab *lab, const char *serial);

/* Every row of the store, audit trail included, as text to be compared; malloc'ed. */
char *lab_store_dump(struct lab *lab);

/* ---- Past our own programs ---- */

/* Statements on the store at that path, as whoever can write its file could run them. Returns how
 * many rows the last of them changed. */
int lab_sql(const char *path, const char *statements);

#endif
