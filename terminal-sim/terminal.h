/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal's folder, its "first storage": terminal.conf, root.pem (AcquireRCRT, 1 to
 * KL_ANCHOR_MAX of them), device.pem (the terminal's own certificate, if it has one) and the file
 * `record`, and the rules by which folder and PIN pad agree again after a crash at any point.
 *
 * The record alone says what a TMK in the PIN pad is, and it says so positively: the one that it
 * names as active is in use, one that it names as a candidate is unconfirmed, and any other is a
 * stray, never used and destroyed when that is safe. So a TMK that the pad cannot show for a while
 * is missing, and nothing else takes its place. A load makes the record first, then the TMK, then
 * completes the record, then says Loaded. Done, active, takes effect when the record is rewritten,
 * and strays are destroyed after that. Done, drop, first says on record that the TMK is to go.
 *
 * Working keys likewise: the pair that the record names is in use, any other in the pad is a stray.
 * They belong to one TMK, and go when another becomes active. Before Loaded of a sign-in goes out
 * the record says that they are in doubt, and until a Done takes the new pair into use none is
 * used.
 */
#ifndef KL_TERMINAL_SIM_TERMINAL_H
#define KL_TERMINAL_SIM_TERMINAL_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "terminal-sim/candidate.h"
#include "terminal-sim/pinpad/pinpad.h"

enum kl_pinpad_kind { KL_PINPAD_TOKEN, KL_PINPAD_MEMORY };
extern const char *const kl_pinpad_kinds[]; /* by enum kl_pinpad_kind; ends with NULL */

struct kl_terminal_setup { /* what `init` was told; borrowed */
    const char *dir;
    const char *serial, *pinpad_serial;
    const char *roots[KL_ANCHOR_MAX]; /* PEM files with AcquireRCRT */
    size_t root_count;
    enum kl_pinpad_kind kind;
    /* Kind token only. init_reserved NULL: none; so_pin_source is not used with existing_token. */
    const char *module, *init_reserved, *pin_source, *so_pin_source;
    int existing_token; /* 1: the token of that label is there already */
};

/* Makes the folder (mode 0700) and, for kind token, initialises the PIN pad's token, labelled with
 * its serial, unless it exists. terminal.conf comes last: with it the terminal exists.
 * KL_ERR_EXISTS if it does. */
enum kl_rc kl_terminal_init(const struct kl_terminal_setup *setup,
                            struct kl_err *err) KL_MUST_CHECK;

struct kl_terminal_home;

/* Reads the folder. exclusive 1: nobody else may work in it until it is freed (KL_ERR_BUSY); what
 * killed commands have left half written is removed. */
enum kl_rc kl_terminal_open(const char *dir, int exclusive, struct kl_terminal_home **out,
                            struct kl_err *err) KL_MUST_CHECK;
void kl_terminal_free(struct kl_terminal_home *terminal); /* takes NULL */

const char *kl_terminal_serial(const struct kl_terminal_home *);        /* borrowed */
const char *kl_terminal_pinpad_serial(const struct kl_terminal_home *); /* borrowed */
enum kl_pinpad_kind kl_terminal_pinpad_kind(const struct kl_terminal_home *);
STACK_OF(X509) * kl_terminal_roots(const struct kl_terminal_home *); /* AcquireRCRT; borrowed */
/* The terminal's own certificate, as Hello carries it: borrowed; returns how many, 0 = it has none.
 */
size_t kl_terminal_chain(const struct kl_terminal_home *, struct kl_bytes out[KL_CHAIN_MAX]);
/* In use; version 0 = none yet. Borrowed until the record changes. */
const struct kl_pinpad_tmk *kl_terminal_active(const struct kl_terminal_home *);
/* On record as in use; number 0 = none. Borrowed likewise. */
const struct kl_pinpad_pair *kl_terminal_keys(const struct kl_terminal_home *);
/* 1: the last sign-in got no Done, so that they must not be used before the next. */
int kl_terminal_keys_in_doubt(const struct kl_terminal_home *);
/* Those keys, to be used at once, by the record as it now stands on disk: KL_ERR_KEY if there are
 * none, KL_ERR_BUSY if they are in doubt. */
enum kl_rc kl_terminal_usable_keys(const struct kl_terminal_home *terminal,
                                   struct kl_pinpad_pair *out, struct kl_err *err) KL_MUST_CHECK;

/* The folder's PIN pad; the caller frees it. */
enum kl_rc kl_terminal_open_pinpad(const struct kl_terminal_home *terminal, struct kl_pinpad **out,
                                   struct kl_err *err) KL_MUST_CHECK;

/* First thing after a start, before any Confirm. A candidate that is not whole goes, TMK and
 * record: its Loaded was never sent, or it was told DROP. One whose TMK the pad does not hold
 * stays, for the loader may count it as active; see kl_terminal_next. What is left on record is
 * made durable. Then strays are destroyed, but none unless the pad holds the very TMK that is in
 * use. */
enum kl_rc kl_terminal_recover(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                               struct kl_err *err) KL_MUST_CHECK;

/* The version of a TMK that was given up without the loader's word; 0 if none. */
uint32_t kl_terminal_abandoned(const struct kl_terminal_home *);

/* Candidates on record, oldest first; borrowed until the next call below. */
size_t kl_terminal_candidates(const struct kl_terminal_home *terminal,
                              const struct kl_candidate **out);

/* The candidate to confirm next, the youngest; NULL if none is left. Borrowed until the record
 * changes. KL_ERR_KEY, with what to do, if the pad does not hold it, or if an older one was given
 * up without the loader's word: the loader may count that one as active. */
enum kl_rc kl_terminal_next(const struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                            const struct kl_candidate **out, struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_KEY, with what to do, if the pad does not hold the TMK in use, or holds TMKs while the
 * record knows of none in use. */
enum kl_rc kl_terminal_check(const struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                             struct kl_err *err) KL_MUST_CHECK;

/* Whether a load would find room for its candidate, on record and in the pad; else KL_ERR_REFUSED.
 */
enum kl_rc kl_terminal_room(const struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                            struct kl_err *err) KL_MUST_CHECK;

/* Gives up the oldest candidate, TMK and record, without the loader's word; that it did is on
 * record until the next one is active. *version: which. KL_ERR_NOT_FOUND if there is none. */
enum kl_rc kl_terminal_abandon(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                               uint32_t *version, struct kl_err *err) KL_MUST_CHECK;

enum kl_terminal_state {
    KL_TERMINAL_UNCONFIRMED,
    KL_TERMINAL_ACTIVE,
    KL_TERMINAL_STRAY,   /* held, but not on record */
    KL_TERMINAL_MISSING, /* the one in use, not held */
    KL_TERMINAL_LOST,    /* unconfirmed, not held */
};
const char *kl_terminal_state_name(enum kl_terminal_state state);

struct kl_terminal_tmk {
    struct kl_pinpad_tmk tmk;
    enum kl_terminal_state state;
};
#define KL_TERMINAL_TMK_MAX (KL_PINPAD_TMK_MAX + KL_CANDIDATES_MAX + 1)

/* What the PIN pad holds, and should hold, lowest version first, by the record as it now stands on
 * disk. Superseded ones are only there, as strays, between a crash and the next start. KL_ERR_BUSY
 * if the record does not stop changing. */
enum kl_rc kl_terminal_list(const struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                            struct kl_terminal_tmk out[KL_TERMINAL_TMK_MAX], size_t *count,
                            struct kl_err *err) KL_MUST_CHECK;

/* Puts a candidate on record, durably, or says of the one put there last that it is whole; see
 * kl_terminal_load_params.record. Should it fail, the file may have either list. */
enum kl_rc kl_terminal_record(struct kl_terminal_home *terminal,
                              const struct kl_candidate *candidate,
                              struct kl_err *err) KL_MUST_CHECK;

/* Carries a proven verdict out, in the PIN pad and on record. ACTIVE: that version is in use from
 * now on, and every other is destroyed but younger candidates; KL_ERR_KEY if the pad lost it:
 * nothing changes then. DROP: it is destroyed. May be repeated after a failure or a crash at any
 * point in it. */
enum kl_rc kl_terminal_settle(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                              uint32_t version, enum kl_verdict verdict,
                              struct kl_err *err) KL_MUST_CHECK;

/* Says on record, durably, that the working keys are in doubt: as kl_signin_params.doubt has to. */
enum kl_rc kl_terminal_doubt_keys(struct kl_terminal_home *terminal,
                                  struct kl_err *err) KL_MUST_CHECK;

/* Takes working keys into use that an authentic Done has made current: on record first, which ends
 * all doubt, then every other pair is destroyed. May be repeated after a failure or a crash.
 * KL_ERR_KEY if the pad lacks them, KL_ERR_VERIFY if they are not of the TMK in use. */
enum kl_rc kl_terminal_take_keys(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                                 const struct kl_pinpad_pair *pair,
                                 struct kl_err *err) KL_MUST_CHECK;

/* Destroys what a sign-in that failed has left in the pad. */
enum kl_rc kl_terminal_drop_keys(struct kl_terminal_home *terminal, struct kl_pinpad *pad,
                                 struct kl_err *err) KL_MUST_CHECK;

#endif
