/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under which storage key the store's cryptograms are, and the rotation from one to the next. Each
 * row has the generation of the key that it is (or, its cryptogram gone, its digest was) under;
 * meta says which label each generation has, and whether a rotation is under way. As in store.h:
 * what writes needs a transaction; times are Unix seconds.
 */
#ifndef KL_DAEMON_STORE_STORE_WRAP_H
#define KL_DAEMON_STORE_STORE_WRAP_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/store/store.h"
#include "pkcs11/binding.h"
#include "proto/err.h"

#define KL_GENERATION_MAX 1000

struct kl_wrap_state {
    uint32_t generation;              /* from 1 */
    char label[KL_KEY_LABEL_MAX + 1]; /* of that storage key; "" = nobody has said so yet */
    char to[KL_KEY_LABEL_MAX + 1];    /* a rotation to that one is half done; "" = none is */
};
enum kl_rc kl_store_wrap_state(struct kl_store *store, struct kl_wrap_state *out,
                               struct kl_err *err) KL_MUST_CHECK;

/* May rows be read and written by who is configured with that storage key? KL_ERR_CONFIG if the
 * rows are under another one, KL_ERR_STORE if a rotation is half done; the text says what to do. */
enum kl_rc kl_store_wrap_check(struct kl_store *store, const char *label,
                               struct kl_err *err) KL_MUST_CHECK;
/* The same; and a store that does not know its storage key yet is told: that one. Writes. */
enum kl_rc kl_store_wrap_adopt(struct kl_store *store, const char *label,
                               struct kl_err *err) KL_MUST_CHECK;

/* The same in a transaction of its own, if one is needed: for the daemon's start. */
enum kl_rc kl_store_wrap_start(struct kl_store *store, const char *label,
                               struct kl_err *err) KL_MUST_CHECK;

/* Label of a generation; KL_ERR_NOT_FOUND. */
enum kl_rc kl_store_wrap_label(struct kl_store *store, uint32_t generation,
                               char out[KL_KEY_LABEL_MAX + 1], struct kl_err *err) KL_MUST_CHECK;

/* What still needs a storage key of that label, for who would destroy it: `live` cryptograms are
 * under it; by `digests` of destroyed keys, which no import could be compared with any more, the
 * key would be forgotten; known 1: it is or was the storage key of this store; current 1: it
 * is, even if nothing is under it yet; rotating 1: a rotation from or to it is half done. */
struct kl_wrap_needs {
    uint64_t live, digests;
    int known, current, rotating;
};
enum kl_rc kl_store_wrap_needs(struct kl_store *store, const char *label, struct kl_wrap_needs *out,
                               struct kl_err *err) KL_MUST_CHECK;

/* Earlier generations by whose key only digests are left; up to max, the latest first. */
enum kl_rc kl_store_wrap_retired(struct kl_store *store, uint32_t *out, size_t max, size_t *count,
                                 struct kl_err *err) KL_MUST_CHECK;

/* ---- The cryptograms of a store, one row at a time ---- */

struct kl_wrapped {
    enum kl_binding_kind kind; /* KL_BINDING_TMK, KL_BINDING_IMPORT; KL_BINDING_PIK: both PIK
                                  and MAK */
    char serial[KL_SERIAL_MAX + 1];
    uint32_t version; /* as in struct kl_binding_of */
    uint32_t generation;
    size_t count; /* of keys: 1, or 2 */
    struct kl_stored_key keys[2];
};
/* Role of its i-th key, for its binding. */
enum kl_binding_kind kl_wrapped_kind(const struct kl_wrapped *row, size_t i);

/* Up to max rows after `after` (NULL: from the first), of generation `generation` (0: of all), in
 * order of kind, serial and version. *count: how many. */
enum kl_rc kl_store_wrapped(struct kl_store *store, uint32_t generation,
                            const struct kl_wrapped *after, struct kl_wrapped *out, size_t max,
                            size_t *count, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_store_wrapped_count(struct kl_store *store, uint32_t generation, uint64_t *out,
                                  struct kl_err *err) KL_MUST_CHECK;

/* ---- Rotation ---- */

/* From now on kl_store_wrap_check refuses, until the end. from is read if the store does not know
 * its storage key. KL_ERR_REFUSED: another rotation is half done, or `to` is or was the storage key
 * of this store. A rotation to the same that is half done is KL_OK, and goes on. */
enum kl_rc kl_store_rotation_begin(struct kl_store *store, const char *from, const char *to,
                                   struct kl_err *err) KL_MUST_CHECK;
/* The row as it is now, if it is still what `before` says, with its keys under the next
 * generation's key. *done 0: it has changed meanwhile, and is to be looked at again. */
enum kl_rc kl_store_rotation_put(struct kl_store *store, const struct kl_wrapped *before,
                                 const struct kl_wrapped *after, int *done,
                                 struct kl_err *err) KL_MUST_CHECK;
/* KL_ERR_STORE if a cryptogram is left under the old key. */
enum kl_rc kl_store_rotation_end(struct kl_store *store, struct kl_err *err) KL_MUST_CHECK;

#endif
