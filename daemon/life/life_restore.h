/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a store that comes back from a backup must forget and must not do again. The backup does not
 * know what was done after it was made, the terminals do: so no TMK version that can have been
 * given out meanwhile is given out again, no window for loads is open, no candidate of an earlier
 * window can become active, and no working keys count as current.
 */
#ifndef KL_DAEMON_LIFE_LIFE_RESTORE_H
#define KL_DAEMON_LIFE_LIFE_RESTORE_H

#include <stdint.h>

#include "daemon/store/store.h"
#include "proto/err.h"

#define KL_META_FLOOR "version-floor"     /* versions up to it are taken in this store */
#define KL_META_RESTORED "restored"       /* id of the last audit record store-restored */
#define KL_META_RESTORED_AT "restored-at" /* Unix time of that */

/* At least so many versions are passed over for each restore: more than any terminal is given
 * between two backups (each costs a share of an arming, an operator's act, of at most 100). */
#define KL_RESTORE_LEAP 1000000
/* And one for every second second since then (2025-01-01), so that a store that is restored twice
 * from one backup, on another machine perhaps, does not count from the same number again. */
#define KL_RESTORE_EPOCH 1735689600

/* What there was in the store's place, as far as it could be read. */
struct kl_restore_past {
    struct kl_store *replaced; /* borrowed; NULL: nothing that could be read */
    const char *kept;          /* name of the file that has it now; "" = there was none */
};

struct kl_restored {
    uint32_t floor;                         /* the next version of every terminal is above it */
    uint64_t terminals;                     /* all of them */
    uint64_t disarmed, candidates, working; /* armings ended, candidates destroyed, pairs removed */
    uint64_t behind; /* terminals whose TMK in use was another in the replaced store */
};

/* Makes store, which has come from a backup, fit to be used. KL_ERR_REFUSED: its versions are used
 * up. */
enum kl_rc kl_life_restored(struct kl_store *store, const struct kl_restore_past *past, int64_t now,
                            struct kl_restored *out, struct kl_err *err) KL_MUST_CHECK;

/* Of a terminal that has just been registered: in a store that was restored its PIN pad may have
 * been here before. */
enum kl_rc kl_life_floor(struct kl_store *store, const char *serial,
                         struct kl_err *err) KL_MUST_CHECK;

/* ---- How the terminals are doing since ---- */

enum kl_since_restore {
    KL_SINCE_LOADED,    /* has loaded a TMK since */
    KL_SINCE_SIGNED_IN, /* has shown in a sign-in that it has the TMK that the store has */
    KL_SINCE_BEHIND,    /* is known to have another: arm it */
    KL_SINCE_UNHEARD,   /* nobody knows yet */
    KL_SINCE_NO_TMK,    /* the store has none in use for it */
};
const char *kl_since_restore_name(enum kl_since_restore since);

typedef enum kl_rc (*kl_since_fn)(const struct kl_terminal *terminal, enum kl_since_restore since,
                                  void *arg, struct kl_err *err);
/* Calls fn for each terminal in order of serial. KL_ERR_NOT_FOUND: the store was never restored. */
enum kl_rc kl_life_since_restore(struct kl_store *store, kl_since_fn fn, void *arg,
                                 struct kl_err *err) KL_MUST_CHECK;

#endif
