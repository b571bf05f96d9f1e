/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a TMK: who may load, what becomes of a candidate, and what operators change. Each
 * function decides first and writes afterwards, so that a refusal has written nothing.
 */
#include "daemon/life.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/log.h"

#define ATTEMPTS_MAX 100
#define EXPIRE_MAX 256
#define BATCH 32

/* ---- Audit ---- */

static enum kl_rc audit(struct kl_store *store, int64_t now, const char *event, const char *serial,
                        const struct kl_log_field *fields, size_t count, struct kl_err *err)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1];

    kl_log_format(detail, sizeof(detail), fields, count);
    return kl_store_audit(store, now, event, serial, detail, err);
}
#define FIELDS(...) \
    (const struct kl_log_field[]){__VA_ARGS__}, \
        sizeof((const struct kl_log_field[]){__VA_ARGS__}) / sizeof(struct kl_log_field)

static enum kl_rc audit_tmk(struct kl_store *store, int64_t now, const char *event,
                            const struct kl_tmk *tmk, const char *why, struct kl_err *err)
{
    char kcv[KL_KCV_TEXT];

    kl_kcv_format(tmk->kcv, tmk->kcv_len, kcv);
    return audit(store, now, event, tmk->serial,
                 FIELDS(KL_NUM("version", tmk->version), KL_STR("alg", kl_alg_info(tmk->alg)->name),
                        KL_STR("kcv", kcv), KL_STR("why", why)),
                 err);
}

enum kl_rc kl_life_alarm(struct kl_store *store, const char *serial, enum kl_rc reason,
                         const char *detail, int64_t now, struct kl_err *err)
{
    return audit(store, now, "alarm", serial,
                 FIELDS(KL_STR("reason", kl_rc_name(reason)), KL_STR("detail", detail)), err);
}

/* ---- Before the load ---- */

static enum kl_rc get_terminal(struct kl_store *store, const char *serial, struct kl_terminal *out,
                               struct kl_err *err)
{
    enum kl_rc rc = kl_store_terminal_get(store, serial, out, err);

    if (rc == KL_ERR_NOT_FOUND) {
        rc = err->rc = KL_ERR_UNKNOWN_TERMINAL;
    }
    return rc;
}

static enum kl_rc blocked(const struct kl_terminal *terminal, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_BLOCKED, "terminal %s is blocked", terminal->serial);
}

static enum kl_rc check_terminal(const struct kl_terminal *terminal, const char *pinpad_serial,
                                 int64_t now, struct kl_err *err)
{
    if (terminal->blocked) {
        return blocked(terminal, err);
    }
    if (terminal->armed_until < now || terminal->attempts_left == 0) {
        return kl_err_set(err, KL_ERR_UNARMED, "terminal %s is not armed%s", terminal->serial,
                          terminal->armed_until == 0     ? ""
                          : terminal->attempts_left == 0 ? ": its attempts are used up"
                                                         : ": its time is over");
    }
    if (terminal->pinpad_serial[0] && strcmp(terminal->pinpad_serial, pinpad_serial) != 0) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "terminal %s has PIN pad %.32s, but is registered with %s",
                          terminal->serial, pinpad_serial, terminal->pinpad_serial);
    }
    return KL_OK;
}

/* kl_life_admit, and the terminal's row for who goes on to change it. */
static enum kl_rc admit(struct kl_store *store, const char *serial, const char *pinpad_serial,
                        int64_t now, struct kl_terminal *terminal, struct kl_admission *out,
                        struct kl_err *err)
{
    uint32_t last = 0;
    enum kl_rc rc;

    if ((rc = get_terminal(store, serial, terminal, err)) != KL_OK ||
        (rc = check_terminal(terminal, pinpad_serial, now, err)) != KL_OK ||
        (rc = kl_store_tmk_last_version(store, serial, &last, err)) != KL_OK) {
        return rc;
    }
    if (last >= KL_VERSION_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "terminal %s has used up its TMK versions", serial);
    }
    out->alg = terminal->alg;
    out->version = last + 1;
    return KL_OK;
}

enum kl_rc kl_life_admit(struct kl_store *store, const char *serial, const char *pinpad_serial,
                         int64_t now, struct kl_admission *out, struct kl_err *err)
{
    struct kl_terminal terminal;

    return admit(store, serial, pinpad_serial, now, &terminal, out, err);
}

static int is_whole(const struct kl_tmk *candidate)
{
    const struct kl_alg_info *info = kl_alg_info(candidate->alg);

    return info && candidate->cryptogram_len == kl_alg_wrapped_len(info) &&
           candidate->kcv_len >= KL_KCV_LEN_MIN && candidate->kcv_len <= KL_KCV_LEN_MAX;
}

enum kl_rc kl_life_pend(struct kl_store *store, const struct kl_life_policy *policy,
                        const struct kl_tmk *candidate, int64_t now, struct kl_err *err)
{
    struct kl_terminal terminal;
    struct kl_admission admission;
    struct kl_tmk tmk = *candidate;
    enum kl_rc rc = admit(store, tmk.serial, tmk.pinpad_serial, now, &terminal, &admission, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (tmk.version != admission.version) {
        return kl_err_set(err, KL_ERR_BUSY, "terminal %s: another load took TMK version %" PRIu32,
                          tmk.serial, tmk.version);
    }
    if (tmk.alg != admission.alg) {
        return kl_err_set(err, KL_ERR_REFUSED, "terminal %s: the TMK has not its algorithm",
                          tmk.serial);
    }
    if (!is_whole(&tmk) || !kl_serial_ok(tmk.pinpad_serial)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "terminal %s: the candidate is incomplete",
                          tmk.serial);
    }
    tmk.state = KL_TMK_PENDING;
    tmk.created = now;
    tmk.expires = now + (int64_t)policy->candidate_lifetime;
    tmk.activated = 0;
    terminal.attempts_left--;
    if ((rc = kl_store_tmk_add(store, &tmk, err)) != KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return audit_tmk(store, now, "tmk-pending", &tmk, "load", err);
}

enum kl_rc kl_life_spend(struct kl_store *store, const char *serial, int64_t now,
                         struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = get_terminal(store, serial, &terminal, err);

    if (rc != KL_OK || terminal.attempts_left == 0) {
        return rc;
    }
    terminal.attempts_left--;
    if ((rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return audit(store, now, "attempt-spent", serial,
                 FIELDS(KL_NUM("attempts_left", terminal.attempts_left)), err);
}

/* ---- After it ---- */

static enum kl_rc move(struct kl_store *store, const struct kl_tmk *tmk, enum kl_tmk_state state,
                       const char *why, int64_t now, struct kl_err *err)
{
    char event[KL_AUDIT_EVENT_MAX + 1];
    int64_t activated = state == KL_TMK_ACTIVE ? now : tmk->activated;
    enum kl_rc rc = kl_store_tmk_set_state(store, tmk->serial, tmk->version, state, activated, err);

    if (rc != KL_OK) {
        return rc;
    }
    snprintf(event, sizeof(event), "tmk-%s", kl_tmk_state_name(state));
    return audit_tmk(store, now, event, tmk, why, err);
}

/* TMKs in one state, the first few: an iteration must not write, so they are gathered first. */
struct batch {
    struct kl_tmk tmks[BATCH];
    size_t count;
    uint32_t but; /* version to leave out */
};

static enum kl_rc gather(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    struct batch *batch = arg;

    (void)err;
    if (batch->count < BATCH && tmk->version != batch->but) {
        batch->tmks[batch->count++] = *tmk;
    }
    return KL_OK;
}

/* Moves every TMK of the terminal that is in `from`, but version `but` (0 = all). */
static enum kl_rc move_all(struct kl_store *store, const char *serial, uint32_t but,
                           enum kl_tmk_state from, enum kl_tmk_state to, const char *why,
                           int64_t now, struct kl_err *err)
{
    struct batch batch;
    enum kl_rc rc;

    do {
        batch.count = 0;
        batch.but = but;
        rc = kl_store_tmk_each(store, serial, from, gather, &batch, err);
        for (size_t i = 0; i < batch.count && rc == KL_OK; i++) {
            rc = move(store, &batch.tmks[i], to, why, now, err);
        }
    } while (rc == KL_OK && batch.count == BATCH);
    return rc;
}

static enum kl_rc activate(struct kl_store *store, const struct kl_tmk *tmk,
                           struct kl_terminal *terminal, int64_t now, struct kl_err *err)
{
    const char *why = terminal->armed_until < now ? "confirmed-late" : "confirmed";
    enum kl_rc rc;

    if ((rc = move_all(store, tmk->serial, tmk->version, KL_TMK_ACTIVE, KL_TMK_SUPERSEDED,
                       "newer-active", now, err)) != KL_OK ||
        (rc = move_all(store, tmk->serial, tmk->version, KL_TMK_PENDING, KL_TMK_DESTROYED,
                       "newer-active", now, err)) != KL_OK ||
        (rc = move(store, tmk, KL_TMK_ACTIVE, why, now, err)) != KL_OK) {
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

/* A pending candidate with a good Loaded: it is decided now, for ever. */
static enum kl_rc decide(struct kl_store *store, struct kl_tmk *tmk, int64_t now,
                         struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = get_terminal(store, tmk->serial, &terminal, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (terminal.blocked) {
        tmk->state = KL_TMK_DESTROYED;
        return move(store, tmk, tmk->state, "terminal-blocked", now, err);
    }
    if (tmk->expires <= now) {
        tmk->state = KL_TMK_EXPIRED;
        return move(store, tmk, tmk->state, "overdue", now, err);
    }
    tmk->state = KL_TMK_ACTIVE;
    return activate(store, tmk, &terminal, now, err);
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

enum kl_rc kl_life_expire(struct kl_store *store, int64_t now, size_t *count, struct kl_err *err)
{
    struct kl_tmk overdue[BATCH];
    size_t total = 0, n;
    enum kl_rc rc;

    do {
        rc = kl_store_tmk_expired(store, now, overdue, BATCH, &n, err);
        for (size_t i = 0; rc == KL_OK && i < n; i++) {
            rc = move(store, &overdue[i], KL_TMK_EXPIRED, "overdue", now, err);
        }
        if (rc == KL_OK) {
            total += n;
        }
    } while (rc == KL_OK && n == BATCH && total < EXPIRE_MAX);
    if (rc == KL_OK) {
        *count = total;
    }
    return rc;
}

/* ---- What operators do ---- */

/* An unknown PIN pad is "". */
static enum kl_rc check_pinpad(const char *pinpad_serial, struct kl_err *err)
{
    return pinpad_serial[0] ? kl_serial_check("PIN pad serial", pinpad_serial, err) : KL_OK;
}

enum kl_rc kl_life_register(struct kl_store *store, const struct kl_terminal *terminal, int64_t now,
                            struct kl_err *err)
{
    struct kl_terminal fresh = {.alg = terminal->alg, .created = now};
    const struct kl_alg_info *info = kl_alg_info(terminal->alg);
    enum kl_rc rc;

    if ((rc = kl_serial_check("serial", terminal->serial, err)) != KL_OK ||
        (rc = check_pinpad(terminal->pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT, "unknown algorithm %d", (int)terminal->alg);
    }
    memcpy(fresh.serial, terminal->serial, sizeof(fresh.serial));
    memcpy(fresh.pinpad_serial, terminal->pinpad_serial, sizeof(fresh.pinpad_serial));
    if ((rc = kl_store_terminal_add(store, &fresh, err)) != KL_OK) {
        return rc;
    }
    return audit(store, now, "terminal-registered", fresh.serial,
                 FIELDS(KL_STR("alg", info->name), KL_STR("pinpad", fresh.pinpad_serial)), err);
}

enum kl_rc kl_life_arm(struct kl_store *store, const char *serial, int64_t until, uint32_t attempts,
                       int64_t now, struct kl_err *err)
{
    struct kl_terminal terminal;
    char text[KL_TIME_TEXT];
    enum kl_rc rc;

    if (attempts < 1 || attempts > ATTEMPTS_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "attempts must be 1 to %d", ATTEMPTS_MAX);
    }
    if (until <= now) {
        return kl_err_set(err, KL_ERR_INPUT, "an arming must end in the future");
    }
    if ((rc = kl_store_terminal_get(store, serial, &terminal, err)) != KL_OK) {
        return rc;
    }
    if (terminal.blocked) {
        return blocked(&terminal, err);
    }
    terminal.armed_until = until;
    terminal.attempts_left = attempts;
    if ((rc = move_all(store, serial, 0, KL_TMK_PENDING, KL_TMK_DESTROYED, "armed-again", now,
                       err)) != KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    kl_time_format(until, text);
    return audit(store, now, "terminal-armed", serial,
                 FIELDS(KL_STR("until", text), KL_NUM("attempts", attempts)), err);
}

enum kl_rc kl_life_disarm(struct kl_store *store, const char *serial, int64_t now,
                          struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = kl_store_terminal_get(store, serial, &terminal, err);

    if (rc != KL_OK) {
        return rc;
    }
    terminal.armed_until = 0;
    terminal.attempts_left = 0;
    if ((rc = move_all(store, serial, 0, KL_TMK_PENDING, KL_TMK_DESTROYED, "disarmed", now, err)) !=
            KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return kl_store_audit(store, now, "terminal-disarmed", serial, "", err);
}

enum kl_rc kl_life_pinpad(struct kl_store *store, const char *serial, const char *pinpad_serial,
                          int64_t now, struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = kl_store_terminal_get(store, serial, &terminal, err);
    char before[KL_SERIAL_MAX + 1];

    if (rc != KL_OK || (rc = check_pinpad(pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    memcpy(before, terminal.pinpad_serial, sizeof(before));
    memcpy(terminal.pinpad_serial, pinpad_serial, strlen(pinpad_serial) + 1);
    if ((rc = move_all(store, serial, 0, KL_TMK_PENDING, KL_TMK_DESTROYED, "pinpad-changed", now,
                       err)) != KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return audit(store, now, "terminal-pinpad", serial,
                 FIELDS(KL_STR("pinpad", pinpad_serial), KL_STR("before", before)), err);
}

enum kl_rc kl_life_block(struct kl_store *store, const char *serial, int blocked_now, int64_t now,
                         struct kl_err *err)
{
    struct kl_terminal terminal;
    enum kl_rc rc = kl_store_terminal_get(store, serial, &terminal, err);

    if (rc != KL_OK || terminal.blocked == !!blocked_now) {
        return rc;
    }
    terminal.blocked = !!blocked_now;
    terminal.armed_until = 0;
    terminal.attempts_left = 0;
    if ((rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return kl_store_audit(store, now, blocked_now ? "terminal-blocked" : "terminal-unblocked",
                          serial, "", err);
}
