/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a TMK: who may load, and what becomes of a candidate. Each function decides first and
 * writes afterwards, so that a refusal has written nothing.
 */
#include "daemon/life/life.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#include "conf/cli.h"
#include "daemon/life/life_impl.h"

/* ---- Audit ---- */

enum kl_rc kl_life_audit(struct kl_store *store, int64_t now, const char *event, const char *serial,
                         const struct kl_log_field *fields, size_t count, struct kl_err *err)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1];

    kl_log_format(detail, sizeof(detail), fields, count);
    return kl_store_audit(store, now, event, serial, detail, err);
}

static enum kl_rc audit_tmk(struct kl_store *store, int64_t now, const char *event,
                            const struct kl_tmk *tmk, const char *why, struct kl_err *err)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    return kl_life_audit(store, now, event, tmk->serial,
                         KL_LIFE_FIELDS(KL_NUM("version", tmk->version),
                                        KL_STR("alg", kl_alg_info(tmk->alg)->name),
                                        KL_STR("kcv", kcv),
                                        KL_STR("origin", tmk->imported ? "imported" : "generated"),
                                        KL_STR("why", why)),
                         err);
}

enum kl_rc kl_life_alarm(struct kl_store *store, const char *serial, enum kl_rc reason,
                         const char *detail, int64_t now, struct kl_err *err)
{
    return kl_life_audit(store, now, "alarm", serial,
                         KL_LIFE_FIELDS(KL_STR("reason", kl_rc_name(reason)),
                                        KL_STR("detail", detail)),
                         err);
}

/* ---- What there is ---- */

enum kl_rc kl_life_terminal(struct kl_store *store, const char *serial, struct kl_terminal *out,
                            struct kl_err *err)
{
    enum kl_rc rc = kl_store_terminal_get(store, serial, out, err);

    if (rc == KL_ERR_NOT_FOUND) {
        rc = err->rc = KL_ERR_UNKNOWN_TERMINAL;
    }
    return rc;
}

enum kl_rc kl_life_answer(enum kl_rc rc, const struct kl_err *looked, int *found,
                          struct kl_err *err)
{
    if (rc != KL_OK && rc != KL_ERR_NOT_FOUND) {
        *err = *looked;
        return rc;
    }
    *found = rc == KL_OK;
    return KL_OK;
}

enum kl_rc kl_life_waiting(struct kl_store *store, const char *serial, struct kl_import *out,
                           int *found, struct kl_err *err)
{
    struct kl_err looked = KL_ERR_INIT;

    return kl_life_answer(kl_store_import_get(store, serial, out, &looked), &looked, found, err);
}

enum kl_rc kl_life_holder(struct kl_store *store, const char *serial, int others,
                          const struct kl_stored_key *key, struct kl_holder *out, int *found,
                          struct kl_err *err)
{
    struct kl_err looked = KL_ERR_INIT;
    enum kl_rc rc = kl_store_key_holder(store, serial, others, key->cryptogram, key->cryptogram_len,
                                        out, &looked);

    return kl_life_answer(rc, &looked, found, err);
}

int kl_life_same(const struct kl_stored_key *key, const struct kl_tmk *tmk)
{
    return key->cryptogram_len == tmk->cryptogram_len &&
           memcmp(key->cryptogram, tmk->cryptogram, key->cryptogram_len) == 0;
}

/* ---- Before the load ---- */

enum kl_rc kl_life_blocked(const struct kl_terminal *terminal, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_BLOCKED, "terminal %s is blocked", terminal->serial);
}

enum kl_rc kl_life_check_pinpad(const struct kl_terminal *terminal, const char *pinpad_serial,
                                struct kl_err *err)
{
    if (terminal->pinpad_serial[0] && strcmp(terminal->pinpad_serial, pinpad_serial) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "terminal %s has PIN pad %.32s, but is registered with %s",
                          terminal->serial, pinpad_serial, terminal->pinpad_serial);
    }
    return KL_OK;
}

static enum kl_rc check_terminal(const struct kl_terminal *terminal, const char *pinpad_serial,
                                 int64_t now, struct kl_err *err)
{
    if (terminal->blocked) {
        return kl_life_blocked(terminal, err);
    }
    if (terminal->armed_until < now || terminal->attempts_left == 0) {
        return kl_err_set(err, KL_ERR_UNARMED, "terminal %s is not armed%s", terminal->serial,
                          terminal->armed_until == 0     ? ""
                          : terminal->attempts_left == 0 ? ": its attempts are used up"
                                                         : ": its time is over");
    }
    return kl_life_check_pinpad(terminal, pinpad_serial, err);
}

/* Is the device key recorded for another terminal? Then *other is that one's serial, else "". */
static enum kl_rc look_device_key(struct kl_store *store, const char *serial,
                                  const uint8_t *device_key, char other[KL_SERIAL_MAX + 1],
                                  struct kl_err *err)
{
    struct kl_err looked = KL_ERR_INIT;
    int found;
    enum kl_rc rc = kl_life_answer(kl_store_device_key_owner(store, device_key, other, &looked),
                                   &looked, &found, err);

    if (rc == KL_OK && (!found || strcmp(other, serial) == 0)) {
        other[0] = '\0';
    }
    return rc;
}

static enum kl_rc check_device_key(struct kl_store *store, const struct kl_claim *claim,
                                   struct kl_err *err)
{
    char other[KL_SERIAL_MAX + 1];
    enum kl_rc rc;

    if (!claim->device_key) {
        return KL_OK;
    }
    if ((rc = look_device_key(store, claim->serial, claim->device_key, other, err)) == KL_OK &&
        other[0]) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "terminal %s has the device key of terminal %s",
                        claim->serial, other);
    }
    return rc;
}

/* The imported TMK that waits, if one does. It is the same on every attempt, so that whoever posed
 * as the terminal once would know it for good. */
static enum kl_rc admit_import(struct kl_store *store, const struct kl_claim *claim,
                               const struct kl_terminal *terminal, struct kl_admission *out,
                               struct kl_err *err)
{
    struct kl_import import = {0};
    enum kl_rc rc = kl_life_waiting(store, terminal->serial, &import, &out->imported, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (out->imported && !claim->authenticated && !terminal->accept_imported) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "an imported TMK waits for terminal %s, which is not authenticated "
                          "(see terminal accept-imported)",
                          terminal->serial);
    }
    out->key = import.key;
    return KL_OK;
}

/* kl_life_admit, and the terminal's row for who goes on to change it. */
static enum kl_rc admit(struct kl_store *store, const struct kl_claim *claim, int64_t now,
                        struct kl_terminal *terminal, struct kl_admission *out, struct kl_err *err)
{
    struct kl_admission admission = {0};
    uint32_t last = 0;
    enum kl_rc rc;

    if ((rc = kl_life_terminal(store, claim->serial, terminal, err)) != KL_OK ||
        (rc = check_terminal(terminal, claim->pinpad_serial, now, err)) != KL_OK ||
        (rc = check_device_key(store, claim, err)) != KL_OK ||
        (rc = admit_import(store, claim, terminal, &admission, err)) != KL_OK ||
        (rc = kl_store_tmk_last_version(store, terminal, &last, err)) != KL_OK) {
        return rc;
    }
    if (last >= KL_VERSION_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "terminal %s has used up its TMK versions",
                          claim->serial);
    }
    admission.alg = terminal->alg;
    admission.version = last + 1;
    *out = admission;
    return KL_OK;
}

enum kl_rc kl_life_admit(struct kl_store *store, const struct kl_claim *claim, int64_t now,
                         struct kl_admission *out, struct kl_err *err)
{
    struct kl_terminal terminal;

    return admit(store, claim, now, &terminal, out, err);
}

/* As far as both are known. */
static int same_kcv(const struct kl_stored_key *a, const struct kl_stored_key *b)
{
    return memcmp(a->kcv, b->kcv, a->kcv_len < b->kcv_len ? a->kcv_len : b->kcv_len) == 0;
}

/* Is the candidate what was admitted? */
static enum kl_rc check_candidate(const struct kl_tmk *tmk, const struct kl_admission *admission,
                                  struct kl_err *err)
{
    struct kl_stored_key key = kl_tmk_key(tmk);

    if (tmk->version != admission->version) {
        return kl_err_set(err, KL_ERR_BUSY, "terminal %s: another load took TMK version %" PRIu32,
                          tmk->serial, tmk->version);
    }
    if (tmk->imported != admission->imported ||
        (tmk->imported && !kl_life_same(&admission->key, tmk))) {
        return kl_err_set(err, KL_ERR_BUSY,
                          "terminal %s: what is imported for it has changed meanwhile",
                          tmk->serial);
    }
    if (tmk->imported && !same_kcv(&admission->key, &key)) {
        return kl_err_set(err, KL_ERR_HSM,
                          "terminal %s: the imported TMK has not the KCV that it came with",
                          tmk->serial);
    }
    if (tmk->alg != admission->alg) {
        return kl_err_set(err, KL_ERR_REFUSED, "terminal %s: the TMK has not its algorithm",
                          tmk->serial);
    }
    if (!kl_stored_key_whole(&key) || !kl_serial_ok(tmk->pinpad_serial)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "terminal %s: the candidate is incomplete",
                          tmk->serial);
    }
    return KL_OK;
}

/* A generated key that anyone had, be it the terminal itself, comes from a generator that repeats
 * itself. */
static enum kl_rc check_unique(struct kl_store *store, const struct kl_tmk *tmk, struct kl_err *err)
{
    struct kl_stored_key key = kl_tmk_key(tmk);
    struct kl_holder holder;
    int found;
    enum kl_rc rc =
        kl_life_holder(store, tmk->imported ? tmk->serial : "", 1, &key, &holder, &found, err);

    if (rc == KL_OK && found) {
        rc = kl_err_set(err, KL_ERR_HSM, "terminal %s: its new TMK is terminal %s's already",
                        tmk->serial, holder.serial);
    }
    return rc;
}

enum kl_rc kl_life_pend(struct kl_store *store, const struct kl_life_policy *policy,
                        const struct kl_claim *claim, const struct kl_tmk *candidate, int64_t now,
                        struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_admission admission;
    struct kl_tmk tmk = *candidate;
    enum kl_rc rc = admit(store, claim, now, &terminal, &admission, err);

    if (rc != KL_OK) {
        return rc;
    }
    snprintf(tmk.serial, sizeof(tmk.serial), "%s", claim->serial);
    snprintf(tmk.pinpad_serial, sizeof(tmk.pinpad_serial), "%s", claim->pinpad_serial);
    tmk.state = KL_TMK_PENDING;
    tmk.imported = !!candidate->imported;
    tmk.has_device_key = claim->device_key != NULL;
    memset(tmk.device_key, 0, sizeof(tmk.device_key));
    if (claim->device_key) {
        memcpy(tmk.device_key, claim->device_key, sizeof(tmk.device_key));
    }
    tmk.created = now;
    tmk.expires = now + (int64_t)policy->candidate_lifetime;
    tmk.activated = tmk.superseded = 0;
    terminal.attempts_left--;
    if ((rc = check_candidate(&tmk, &admission, err)) != KL_OK ||
        (rc = check_unique(store, &tmk, err)) != KL_OK ||
        (rc = kl_store_tmk_add(store, &tmk, err)) != KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return audit_tmk(store, now, "tmk-pending", &tmk, "load", err);
}

enum kl_rc kl_life_spend(struct kl_store *store, const char *serial, int64_t now,
                         struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = kl_life_terminal(store, serial, &terminal, err);

    if (rc != KL_OK || terminal.attempts_left == 0) {
        return rc;
    }
    terminal.attempts_left--;
    if ((rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return kl_life_audit(store, now, "attempt-spent", serial,
                         KL_LIFE_FIELDS(KL_NUM("attempts_left", terminal.attempts_left)), err);
}

/* ---- After it ---- */

enum kl_rc kl_life_move(struct kl_store *store, const struct kl_tmk *tmk, enum kl_tmk_state state,
                        const char *why, int64_t now, struct kl_err *err)
{
    char event[KL_AUDIT_EVENT_MAX + 1];
    int64_t activated = state == KL_TMK_ACTIVE ? now : tmk->activated;
    int64_t superseded = state == KL_TMK_SUPERSEDED ? now : tmk->superseded;
    enum kl_rc rc =
        kl_store_tmk_set_state(store, tmk->serial, tmk->version, state, activated, superseded, err);

    if (rc != KL_OK) {
        return rc;
    }
    snprintf(event, sizeof(event), "tmk-%s", kl_tmk_state_name(state));
    return audit_tmk(store, now, event, tmk, why, err);
}

/* The first few: an iteration must not write, so they are gathered first. */
struct batch {
    struct kl_tmk tmks[KL_LIFE_BATCH];
    size_t count;
    struct kl_life_which which;
};

static enum kl_rc gather(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    struct batch *batch = arg;

    (void)err;
    if (batch->count < KL_LIFE_BATCH && (tmk->imported || !batch->which.imported_only)) {
        batch->tmks[batch->count++] = *tmk;
    }
    return KL_OK;
}

enum kl_rc kl_life_move_all(struct kl_store *store, const char *serial, struct kl_life_which which,
                            enum kl_tmk_state to, const char *why, int64_t now, struct kl_err *err)
{
    struct batch batch; /* large, and what of it is not counted is not looked at */
    enum kl_rc rc;

    batch.which = which;
    do {
        batch.count = 0;
        rc = kl_store_tmk_others(store, serial, which.but, which.from, gather, &batch, err);
        for (size_t i = 0; i < batch.count && rc == KL_OK; i++) {
            rc = kl_life_move(store, &batch.tmks[i], to, why, now, err);
        }
    } while (rc == KL_OK && batch.count == KL_LIFE_BATCH);
    return rc;
}

enum kl_rc kl_life_destroy_pending(struct kl_store *store, const char *serial, uint32_t but,
                                   const char *why, int64_t now, struct kl_err *err)
{
    const struct kl_life_which pending = {.from = KL_TMK_PENDING, .but = but};

    return kl_life_move_all(store, serial, pending, KL_TMK_DESTROYED, why, now, err);
}

/* The device key that asked for the TMK is the terminal's from now on. */
static enum kl_rc take_device_key(struct kl_store *store, const struct kl_tmk *tmk,
                                  struct kl_terminal *terminal, int64_t now, struct kl_err *err)
{
    char key[2 * KL_HASH_LEN + 1] = "", before[2 * KL_HASH_LEN + 1] = "";

    if (!tmk->has_device_key || (terminal->has_device_key &&
                                 memcmp(terminal->device_key, tmk->device_key, KL_HASH_LEN) == 0)) {
        return KL_OK;
    }
    kl_hex_format(tmk->device_key, KL_HASH_LEN, key);
    if (terminal->has_device_key) {
        kl_hex_format(terminal->device_key, KL_HASH_LEN, before);
    }
    terminal->has_device_key = 1;
    memcpy(terminal->device_key, tmk->device_key, KL_HASH_LEN);
    return kl_life_audit(store, now, before[0] ? "device-key-changed" : "device-key-recorded",
                         tmk->serial, KL_LIFE_FIELDS(KL_STR("key", key), KL_STR("before", before)),
                         err);
}

/* An imported TMK has arrived: it waits no longer. Another one may by now, if this one was
 * cancelled and the candidate with it; then we are not here. */
static enum kl_rc consume_import(struct kl_store *store, const struct kl_tmk *tmk,
                                 struct kl_err *err)
{
    struct kl_import import;
    int found;
    enum kl_rc rc;

    if (!tmk->imported) {
        return KL_OK;
    }
    rc = kl_life_waiting(store, tmk->serial, &import, &found, err);
    if (rc != KL_OK || !found || !kl_life_same(&import.key, tmk)) {
        return rc;
    }
    return kl_store_import_remove(store, tmk->serial, err);
}

static enum kl_rc activate(struct kl_store *store, const struct kl_tmk *tmk,
                           struct kl_terminal *terminal, int64_t now, struct kl_err *err)
{
    const struct kl_life_which active = {.from = KL_TMK_ACTIVE, .but = tmk->version};
    const char *why = terminal->armed_until < now ? "confirmed-late" : "confirmed";
    enum kl_rc rc;

    if ((rc = kl_store_working_remove(store, tmk->serial, err)) != KL_OK ||
        (rc = kl_life_move_all(store, tmk->serial, active, KL_TMK_SUPERSEDED, "newer-active", now,
                               err)) != KL_OK ||
        (rc = kl_life_destroy_pending(store, tmk->serial, tmk->version, "newer-active", now,
                                      err)) != KL_OK ||
        (rc = kl_life_move(store, tmk, KL_TMK_ACTIVE, why, now, err)) != KL_OK ||
        (rc = consume_import(store, tmk, err)) != KL_OK ||
        (rc = take_device_key(store, tmk, terminal, now, err)) != KL_OK) {
        return rc;
    }
    if (terminal->pinpad_serial[0] == '\0') {
        memcpy(terminal->pinpad_serial, tmk->pinpad_serial, sizeof(terminal->pinpad_serial));
    }
    terminal->armed_until = 0;
    terminal->attempts_left = 0;
    return kl_store_terminal_update(store, terminal, err);
}

/* Which of the two was wrong is for the log; both compares always run. */
static enum kl_rc check_loaded(const struct kl_tmk *tmk, const struct kl_loaded *loaded,
                               struct kl_err *err)
{
    int mac_ok = CRYPTO_memcmp(tmk->ack_mac, loaded->mac, KL_MAC_LEN) == 0;
    int kcv_ok =
        tmk->kcv_len == loaded->kcv_len && CRYPTO_memcmp(tmk->kcv, loaded->kcv, tmk->kcv_len) == 0;

    if (!kcv_ok) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "terminal %s, TMK version %" PRIu32 ": the KCV differs", tmk->serial,
                          tmk->version);
    }
    if (!mac_ok) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "terminal %s, TMK version %" PRIu32 ": the MAC of Loaded is wrong",
                          tmk->serial, tmk->version);
    }
    return KL_OK;
}

/* Why a pending candidate with a good Loaded must not become active; NULL if it may. */
static enum kl_rc find_objection(struct kl_store *store, const struct kl_tmk *tmk,
                                 const struct kl_terminal *terminal, int64_t now,
                                 enum kl_tmk_state *to, const char **why, struct kl_err *err)
{
    char other[KL_SERIAL_MAX + 1] = "";
    enum kl_rc rc = KL_OK;

    *why = NULL;
    *to = KL_TMK_DESTROYED;
    if (terminal->blocked) {
        *why = "terminal-blocked";
    } else if (tmk->expires <= now) {
        *to = KL_TMK_EXPIRED;
        *why = "overdue";
    } else if (tmk->has_device_key &&
               (rc = look_device_key(store, tmk->serial, tmk->device_key, other, err)) == KL_OK &&
               other[0]) {
        *why = "device-key-shared";
        rc = kl_life_alarm(store, tmk->serial, KL_ERR_REFUSED,
                           "another terminal's TMK with the same device key was confirmed first",
                           now, err);
    }
    return rc;
}

/* A pending candidate with a good Loaded: it is decided now, for ever. */
static enum kl_rc decide(struct kl_store *store, struct kl_tmk *tmk, int64_t now,
                         struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_tmk_state to;
    const char *why;
    enum kl_rc rc;

    if ((rc = kl_life_terminal(store, tmk->serial, &terminal, err)) != KL_OK ||
        (rc = find_objection(store, tmk, &terminal, now, &to, &why, err)) != KL_OK) {
        return rc;
    }
    tmk->state = why ? to : KL_TMK_ACTIVE;
    return why ? kl_life_move(store, tmk, to, why, now, err)
               : activate(store, tmk, &terminal, now, err);
}

enum kl_rc kl_life_confirm(struct kl_store *store, const char *serial, uint32_t tmk_version,
                           const struct kl_loaded *loaded, int64_t now, struct kl_answer *out,
                           struct kl_err *err)
{
    struct kl_tmk tmk;
    int was_pending;
    enum kl_rc rc;

    if ((rc = kl_store_tmk_get(store, serial, tmk_version, &tmk, err)) != KL_OK ||
        (rc = check_loaded(&tmk, loaded, err)) != KL_OK) {
        return rc;
    }
    was_pending = tmk.state == KL_TMK_PENDING;
    if (was_pending && (rc = decide(store, &tmk, now, err)) != KL_OK) {
        return rc;
    }
    out->verdict = tmk.state == KL_TMK_ACTIVE ? KL_VERDICT_ACTIVE : KL_VERDICT_DROP;
    out->tmk_version = tmk_version;
    memcpy(out->mac, out->verdict == KL_VERDICT_ACTIVE ? tmk.active_mac : tmk.drop_mac, KL_MAC_LEN);
    out->changed = was_pending && tmk.state == KL_TMK_ACTIVE;
    return KL_OK;
}

/* ---- Sweeps ---- */

typedef enum kl_rc (*due_fn)(struct kl_store *store, int64_t when, struct kl_tmk *out, size_t max,
                             size_t *count, struct kl_err *err);

/* Moves what is due on, some hundred at most. */
static enum kl_rc sweep(struct kl_store *store, due_fn due, int64_t when, enum kl_tmk_state to,
                        const char *why, int64_t now, size_t *count, struct kl_err *err)
{
    struct kl_tmk tmks[KL_LIFE_BATCH];
    size_t total = 0, n;
    enum kl_rc rc;

    do {
        rc = due(store, when, tmks, KL_LIFE_BATCH, &n, err);
        for (size_t i = 0; rc == KL_OK && i < n; i++) {
            rc = kl_life_move(store, &tmks[i], to, why, now, err);
        }
        if (rc == KL_OK) {
            total += n;
        }
    } while (rc == KL_OK && n == KL_LIFE_BATCH && total < KL_LIFE_SWEEP_MAX);
    if (rc == KL_OK) {
        *count = total;
    }
    return rc;
}

enum kl_rc kl_life_expire(struct kl_store *store, int64_t now, size_t *count, struct kl_err *err)
{
    return sweep(store, kl_store_tmk_expired, now, KL_TMK_EXPIRED, "overdue", now, count, err);
}

enum kl_rc kl_life_retire(struct kl_store *store, uint64_t grace, int64_t now, size_t *count,
                          struct kl_err *err)
{
    /* A clock before the grace has no moment that long ago. */
    if (now < 0 || grace > (uint64_t)now) {
        *count = 0;
        return KL_OK;
    }
    return sweep(store, kl_store_tmk_superseded, now - (int64_t)grace, KL_TMK_DESTROYED,
                 "grace-over", now, count, err);
}
