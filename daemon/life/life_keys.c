/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a TMK: working keys under it, TMKs that operators import, and revocation. As in
 * life.c, each function decides first and writes afterwards.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/life/life.h"
#include "daemon/life/life_impl.h"

/* ---- Sign-in ---- */

/* A TMK of that version is not there; which of two reasons? */
static enum kl_rc no_such_tmk(struct kl_store *store, const struct kl_terminal *terminal,
                              struct kl_err *err)
{
    struct kl_err missing = *err;
    uint32_t last;
    enum kl_rc rc = kl_store_tmk_last_version(store, terminal, &last, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (last == 0) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %s has never loaded a TMK",
                          terminal->serial);
    }
    *err = missing;
    return missing.rc;
}

static enum kl_rc check_in_use(const struct kl_tmk *tmk, struct kl_err *err)
{
    if (tmk->state == KL_TMK_ACTIVE) {
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_REFUSED, "terminal %s, TMK version %" PRIu32 ": %s %s",
                      tmk->serial, tmk->version,
                      tmk->state == KL_TMK_PENDING ? "not confirmed yet:" : "no longer in use:",
                      kl_tmk_state_name(tmk->state));
}

enum kl_rc kl_life_sign_in_admit(struct kl_store *store, const struct kl_claim *claim,
                                 uint32_t tmk_version, int64_t now, struct kl_tmk *out,
                                 struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_tmk tmk;
    enum kl_rc rc = kl_life_terminal(store, claim->serial, &terminal, err);

    (void)now; /* a TMK in use has no end of its own */
    if (rc != KL_OK) {
        return rc;
    }
    if (terminal.blocked) {
        return kl_life_blocked(&terminal, err);
    }
    if ((rc = kl_life_check_pinpad(&terminal, claim->pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    rc = kl_store_tmk_get(store, claim->serial, tmk_version, &tmk, err);
    if (rc != KL_OK) {
        return rc == KL_ERR_NOT_FOUND ? no_such_tmk(store, &terminal, err) : rc;
    }
    if ((rc = check_in_use(&tmk, err)) != KL_OK) {
        return rc;
    }
    if (strcmp(tmk.pinpad_serial, claim->pinpad_serial) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "terminal %s has PIN pad %.32s, but its TMK is in %s", tmk.serial,
                          claim->pinpad_serial, tmk.pinpad_serial);
    }
    *out = tmk;
    return KL_OK;
}

enum kl_rc kl_life_signed_in(struct kl_store *store, const struct kl_working *working, int64_t now,
                             struct kl_err *err)
{
    struct kl_working fresh = *working;
    struct kl_claim claim = {.serial = working->serial};
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];
    struct kl_tmk tmk;
    enum kl_rc rc = kl_store_tmk_get(store, working->serial, working->tmk_version, &tmk, err);

    if (rc != KL_OK) {
        return rc;
    }
    claim.pinpad_serial = tmk.pinpad_serial;
    if ((rc = kl_life_sign_in_admit(store, &claim, working->tmk_version, now, &tmk, err)) !=
        KL_OK) {
        return rc;
    }
    if (!kl_stored_key_whole(&working->pik) || !kl_stored_key_whole(&working->mak)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "terminal %s: a working key is incomplete",
                          working->serial);
    }
    fresh.created = now;
    if ((rc = kl_store_working_put(store, &fresh, err)) != KL_OK) {
        return rc;
    }
    kl_kcv_format(fresh.pik.kcv, fresh.pik.kcv_len, pik);
    kl_kcv_format(fresh.mak.kcv, fresh.mak.kcv_len, mak);
    return kl_life_audit(store, now, "working-keys", fresh.serial,
                         KL_LIFE_FIELDS(KL_NUM("tmk", fresh.tmk_version), KL_STR("pik_kcv", pik),
                                        KL_STR("mak_kcv", mak)),
                         err);
}

/* ---- Import ---- */

/* Text of ours that goes into rows and records: no control characters. */
static int is_text(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            return 0;
        }
    }
    return len >= 1 && len <= max;
}

static enum kl_rc audit_import(struct kl_store *store, const char *event,
                               const struct kl_import *import, const char *why, int64_t now,
                               struct kl_err *err)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(import->key.kcv, import->key.kcv_len, kcv);
    return kl_life_audit(store, now, event, import->serial,
                         KL_LIFE_FIELDS(KL_STR("alg", kl_alg_info(import->key.alg)->name),
                                        KL_STR("kcv", kcv), KL_STR("origin", import->origin),
                                        KL_STR("why", why)),
                         err);
}

/* Candidates made from an imported TMK that is not to be loaded any more. */
static enum kl_rc destroy_imported(struct kl_store *store, const char *serial, const char *why,
                                   int64_t now, struct kl_err *err)
{
    const struct kl_life_which which = {.from = KL_TMK_PENDING, .imported_only = 1};

    return kl_life_move_all(store, serial, which, KL_TMK_DESTROYED, why, now, err);
}

static enum kl_rc drop_waiting(struct kl_store *store, const struct kl_import *waiting,
                               const char *why, int64_t now, struct kl_err *err)
{
    enum kl_rc rc;

    if ((rc = destroy_imported(store, waiting->serial, why, now, err)) != KL_OK ||
        (rc = kl_store_import_remove(store, waiting->serial, err)) != KL_OK) {
        return rc;
    }
    return audit_import(store, "import-dropped", waiting, why, now, err);
}

static enum kl_rc check_import(const struct kl_import *import, const struct kl_terminal *terminal,
                               struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(import->key.alg);

    if (!info || import->key.alg != terminal->alg) {
        return kl_err_set(err, KL_ERR_INPUT, "terminal %s: the key is %s, its TMK must be %s",
                          terminal->serial, info ? info->name : "of an unknown algorithm",
                          kl_alg_info(terminal->alg)->name);
    }
    if (!kl_stored_key_whole(&import->key) || !is_text(import->origin, KL_ORIGIN_MAX)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "terminal %s: the imported key is incomplete",
                          terminal->serial);
    }
    return KL_OK;
}

static enum kl_rc is_others(const struct kl_import *import, const struct kl_holder *holder,
                            struct kl_err *err)
{
    if (holder->version == 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "terminal %s: the same key has been imported for terminal %s",
                          import->serial, holder->serial);
    }
    return kl_err_set(err, KL_ERR_REFUSED,
                      "terminal %s: the same key is terminal %s's TMK version %" PRIu32,
                      import->serial, holder->serial, holder->version);
}

/* Keys that were destroyed before the storage key was changed are known by what they were under
 * that. */
static enum kl_rc check_known(struct kl_store *store, const struct kl_import *import,
                              struct kl_err *err)
{
    struct kl_holder holder;
    struct kl_err looked = KL_ERR_INIT;
    int found = 0;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < import->known_count && rc == KL_OK && !found; i++) {
        rc = kl_life_answer(kl_store_digest_holder(store, import->serial, import->known[i], &holder,
                                                   &looked),
                            &looked, &found, err);
    }
    return rc == KL_OK && found ? is_others(import, &holder, err) : rc;
}

static enum kl_rc check_others(struct kl_store *store, const struct kl_import *import,
                               struct kl_err *err)
{
    struct kl_holder holder;
    int found;
    enum kl_rc rc = kl_life_holder(store, import->serial, 1, &import->key, &holder, &found, err);

    if (rc != KL_OK || !found) {
        return rc == KL_OK ? check_known(store, import, err) : rc;
    }
    return is_others(import, &holder, err);
}

/* One that was in use once or is revoked does not come back. Its cryptogram is gone; so the KCV
 * must do. */
static enum kl_rc check_past(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    const struct kl_stored_key *key = arg;
    size_t len = key->kcv_len < tmk->kcv_len ? key->kcv_len : tmk->kcv_len;

    if (tmk->cryptogram_len > 0 || (tmk->state != KL_TMK_REVOKED && tmk->activated == 0) ||
        tmk->alg != key->alg || memcmp(tmk->kcv, key->kcv, len) != 0) {
        return KL_OK;
    }
    return kl_err_set(err, KL_ERR_REFUSED,
                      "terminal %s: the key has the KCV of TMK version %" PRIu32 ", which was %s",
                      tmk->serial, tmk->version, kl_tmk_state_name(tmk->state));
}

/* Did the terminal have that key before? *active: it has it now. */
static enum kl_rc check_own(struct kl_store *store, const struct kl_import *import, int *active,
                            struct kl_err *err)
{
    struct kl_stored_key key = import->key;
    struct kl_holder holder;
    struct kl_tmk tmk;
    int found;
    enum kl_rc rc = kl_life_holder(store, import->serial, 0, &key, &holder, &found, err);

    *active = 0;
    if (rc != KL_OK) {
        return rc;
    }
    if (!found) {
        return kl_store_tmk_each(store, import->serial, 0, check_past, &key, err);
    }
    if ((rc = kl_store_tmk_get(store, import->serial, holder.version, &tmk, err)) != KL_OK) {
        return rc;
    }
    if (tmk.state != KL_TMK_ACTIVE) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "terminal %s: the key is its TMK version %" PRIu32 ", which is %s",
                          tmk.serial, tmk.version, kl_tmk_state_name(tmk.state));
    }
    *active = 1;
    return KL_OK;
}

enum kl_rc kl_life_import(struct kl_store *store, const struct kl_import *import, int replace,
                          int64_t now, struct kl_err *err)
{
    struct kl_import fresh = *import, waiting;
    struct kl_terminal terminal;
    int found, active;
    enum kl_rc rc;

    if ((rc = kl_store_terminal_get(store, import->serial, &terminal, err)) != KL_OK ||
        (rc = check_import(import, &terminal, err)) != KL_OK ||
        (rc = check_others(store, import, err)) != KL_OK ||
        (rc = kl_life_waiting(store, import->serial, &waiting, &found, err)) != KL_OK) {
        return rc;
    }
    if (found && waiting.key.cryptogram_len == import->key.cryptogram_len &&
        memcmp(waiting.key.cryptogram, import->key.cryptogram, import->key.cryptogram_len) == 0) {
        return KL_OK;
    }
    if (found && !replace) {
        return kl_err_set(err, KL_ERR_EXISTS,
                          "another imported TMK (%s) waits for terminal %s already", waiting.origin,
                          import->serial);
    }
    if ((rc = check_own(store, import, &active, err)) != KL_OK ||
        (found && (rc = drop_waiting(store, &waiting, "replaced", now, err)) != KL_OK) || active) {
        return rc;
    }
    fresh.created = now;
    rc = kl_store_import_put(store, &fresh, err);
    return rc == KL_OK ? audit_import(store, "tmk-imported", &fresh, "operator", now, err) : rc;
}

enum kl_rc kl_life_import_cancel(struct kl_store *store, const char *serial, int64_t now,
                                 struct kl_err *err)
{
    struct kl_import waiting;
    struct kl_terminal terminal;
    enum kl_rc rc;

    if ((rc = kl_store_terminal_get(store, serial, &terminal, err)) != KL_OK ||
        (rc = kl_store_import_get(store, serial, &waiting, err)) != KL_OK) {
        return rc;
    }
    return drop_waiting(store, &waiting, "cancelled", now, err);
}

enum kl_rc kl_life_accept_imported(struct kl_store *store, const char *serial, int accept,
                                   int64_t now, struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = kl_store_terminal_get(store, serial, &terminal, err);

    if (rc != KL_OK || terminal.accept_imported == !!accept) {
        return rc;
    }
    terminal.accept_imported = !!accept;
    if ((!accept && (rc = destroy_imported(store, serial, "not-accepted", now, err)) != KL_OK) ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return kl_life_audit(store, now, "terminal-accept-imported", serial,
                         KL_LIFE_FIELDS(KL_STR("accept", accept ? "yes" : "no")), err);
}

/* ---- Revocation ---- */

static int is_live(enum kl_tmk_state state)
{
    return state == KL_TMK_PENDING || state == KL_TMK_ACTIVE || state == KL_TMK_SUPERSEDED;
}

static enum kl_rc revoke_one(struct kl_store *store, const char *serial, uint32_t version,
                             const struct kl_import *waiting, const char *why, int64_t now,
                             struct kl_err *err)
{
    struct kl_tmk tmk;
    enum kl_rc rc = kl_store_tmk_get(store, serial, version, &tmk, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!is_live(tmk.state)) {
        return kl_err_set(err, KL_ERR_REFUSED, "terminal %s, TMK version %" PRIu32 ": it is %s",
                          serial, version, kl_tmk_state_name(tmk.state));
    }
    if ((rc = kl_life_move(store, &tmk, KL_TMK_REVOKED, why, now, err)) != KL_OK) {
        return rc;
    }
    if (tmk.state == KL_TMK_ACTIVE && (rc = kl_store_working_remove(store, serial, err)) != KL_OK) {
        return rc;
    }
    return waiting && kl_life_same(&waiting->key, &tmk)
               ? drop_waiting(store, waiting, "revoked", now, err)
               : KL_OK;
}

static enum kl_rc count_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    (void)err;
    *(size_t *)arg += is_live(tmk->state);
    return KL_OK;
}

static enum kl_rc revoke_all(struct kl_store *store, const char *serial,
                             const struct kl_import *waiting, const char *why, int64_t now,
                             struct kl_err *err)
{
    static const enum kl_tmk_state live[] = {KL_TMK_PENDING, KL_TMK_ACTIVE, KL_TMK_SUPERSEDED};
    size_t count = 0;
    enum kl_rc rc = kl_store_tmk_each(store, serial, 0, count_tmk, &count, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (count == 0 && !waiting) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "terminal %s has no TMK to revoke", serial);
    }
    for (size_t i = 0; i < sizeof live / sizeof live[0] && rc == KL_OK; i++) {
        struct kl_life_which which = {.from = live[i]};

        rc = kl_life_move_all(store, serial, which, KL_TMK_REVOKED, why, now, err);
    }
    if (rc == KL_OK && waiting) {
        rc = drop_waiting(store, waiting, "revoked", now, err);
    }
    return rc == KL_OK ? kl_store_working_remove(store, serial, err) : rc;
}

enum kl_rc kl_life_revoke(struct kl_store *store, const char *serial, uint32_t version,
                          const char *why, int64_t now, struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_import import, *waiting;
    int found;
    enum kl_rc rc;

    if (!is_text(why, KL_REASON_MAX)) {
        return kl_err_set(err, KL_ERR_INPUT, "a reason must be 1 to %d bytes of text",
                          KL_REASON_MAX);
    }
    if ((rc = kl_store_terminal_get(store, serial, &terminal, err)) != KL_OK ||
        (rc = kl_life_waiting(store, serial, &import, &found, err)) != KL_OK) {
        return rc;
    }
    waiting = found ? &import : NULL;
    rc = version ? revoke_one(store, serial, version, waiting, why, now, err)
                 : revoke_all(store, serial, waiting, why, now, err);
    return rc == KL_OK ? kl_life_disarm(store, serial, now, err) : rc;
}
