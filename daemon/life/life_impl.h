/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of a TMK's life share; for nobody else. */
#ifndef KL_DAEMON_LIFE_LIFE_IMPL_H
#define KL_DAEMON_LIFE_LIFE_IMPL_H

#include "conf/log.h"
#include "daemon/life/life.h"
#include "pkcs11/binding.h"

#define KL_LIFE_BATCH 32
#define KL_LIFE_SWEEP_MAX 256 /* TMKs that one sweep changes */

/* One audit record of logfmt fields. */
enum kl_rc kl_life_audit(struct kl_store *store, int64_t now, const char *event, const char *serial,
                         const struct kl_log_field *fields, size_t count,
                         struct kl_err *err) KL_MUST_CHECK;
#define KL_LIFE_FIELDS(...) \
    (const struct kl_log_field[]){__VA_ARGS__}, \
        sizeof((const struct kl_log_field[]){__VA_ARGS__}) / sizeof(struct kl_log_field)

/* As the store's, but KL_ERR_UNKNOWN_TERMINAL: for what a peer asks. */
enum kl_rc kl_life_terminal(struct kl_store *store, const char *serial, struct kl_terminal *out,
                            struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_life_blocked(const struct kl_terminal *terminal, struct kl_err *err);
/* KL_ERR_REFUSED if the terminal is registered with another PIN pad. */
enum kl_rc kl_life_check_pinpad(const struct kl_terminal *terminal, const char *pinpad_serial,
                                struct kl_err *err) KL_MUST_CHECK;

/* 1 if both cryptograms are the same, and so the keys. */
int kl_life_same(const struct kl_stored_key *key, const struct kl_tmk *tmk);

/* Nothing there (KL_ERR_NOT_FOUND) is an answer, not a failure: *found 0. */
enum kl_rc kl_life_answer(enum kl_rc rc, const struct kl_err *looked, int *found,
                          struct kl_err *err) KL_MUST_CHECK;
/* What waits for the terminal; *found 0 if nothing. */
enum kl_rc kl_life_waiting(struct kl_store *store, const char *serial, struct kl_import *out,
                           int *found, struct kl_err *err) KL_MUST_CHECK;
/* Who has that cryptogram (kl_store_key_holder); *found 0 if nobody. */
enum kl_rc kl_life_holder(struct kl_store *store, const char *serial, int others,
                          const struct kl_stored_key *key, struct kl_holder *out, int *found,
                          struct kl_err *err) KL_MUST_CHECK;

/* Moves a TMK into a state, with its audit record. */
enum kl_rc kl_life_move(struct kl_store *store, const struct kl_tmk *tmk, enum kl_tmk_state state,
                        const char *why, int64_t now, struct kl_err *err) KL_MUST_CHECK;

/* Which TMKs of a terminal are meant: those in a state, ... */
struct kl_life_which {
    enum kl_tmk_state from;
    uint32_t but;      /* version to leave out; 0 = none */
    int imported_only; /* 1: those that were imported */
};
enum kl_rc kl_life_move_all(struct kl_store *store, const char *serial, struct kl_life_which which,
                            enum kl_tmk_state to, const char *why, int64_t now,
                            struct kl_err *err) KL_MUST_CHECK;
/* The pending ones, but version `but` (0 = all). */
enum kl_rc kl_life_destroy_pending(struct kl_store *store, const char *serial, uint32_t but,
                                   const char *why, int64_t now, struct kl_err *err) KL_MUST_CHECK;

#endif
