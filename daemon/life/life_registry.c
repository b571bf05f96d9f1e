/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a TMK: the registry of terminals and their armings, as operators change them. As in
 * life.c, each function decides first and writes afterwards.
 */
#include <string.h>

#include "conf/cli.h"
#include "daemon/life/life.h"
#include "daemon/life/life_impl.h"
#include "daemon/life/life_restore.h"

#define ATTEMPTS_MAX 100

/* An unknown PIN pad is "". */
static enum kl_rc check_pad_serial(const char *pinpad_serial, struct kl_err *err)
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
        (rc = check_pad_serial(terminal->pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    if (!info) {
        return kl_err_set(err, KL_ERR_INPUT, "unknown algorithm %d", (int)terminal->alg);
    }
    memcpy(fresh.serial, terminal->serial, sizeof(fresh.serial));
    memcpy(fresh.pinpad_serial, terminal->pinpad_serial, sizeof(fresh.pinpad_serial));
    if ((rc = kl_store_terminal_add(store, &fresh, err)) != KL_OK ||
        (rc = kl_life_floor(store, fresh.serial, err)) != KL_OK) {
        return rc;
    }
    return kl_life_audit(store, now, "terminal-registered", fresh.serial,
                         KL_LIFE_FIELDS(KL_STR("alg", info->name),
                                        KL_STR("pinpad", fresh.pinpad_serial)),
                         err);
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
        return kl_life_blocked(&terminal, err);
    }
    terminal.armed_until = until;
    terminal.attempts_left = attempts;
    if ((rc = kl_life_destroy_pending(store, serial, 0, "armed-again", now, err)) != KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    kl_time_format(until, text);
    return kl_life_audit(store, now, "terminal-armed", serial,
                         KL_LIFE_FIELDS(KL_STR("until", text), KL_NUM("attempts", attempts)), err);
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
    if ((rc = kl_life_destroy_pending(store, serial, 0, "disarmed", now, err)) != KL_OK ||
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

    if (rc != KL_OK || (rc = check_pad_serial(pinpad_serial, err)) != KL_OK) {
        return rc;
    }
    memcpy(before, terminal.pinpad_serial, sizeof(before));
    memcpy(terminal.pinpad_serial, pinpad_serial, strlen(pinpad_serial) + 1);
    if (pinpad_serial[0] && strcmp(before, pinpad_serial) != 0 &&
        (rc = kl_store_working_remove(store, serial, err)) != KL_OK) {
        return rc;
    }
    if ((rc = kl_life_destroy_pending(store, serial, 0, "pinpad-changed", now, err)) != KL_OK ||
        (rc = kl_store_terminal_update(store, &terminal, err)) != KL_OK) {
        return rc;
    }
    return kl_life_audit(store, now, "terminal-pinpad", serial,
                         KL_LIFE_FIELDS(KL_STR("pinpad", pinpad_serial), KL_STR("before", before)),
                         err);
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

enum kl_rc kl_life_clock_stepped(struct kl_store *store, int64_t seconds, int64_t now,
                                 size_t *armings, struct kl_err *err)
{
    size_t shortened = 0;
    enum kl_rc rc = KL_OK;

    if (seconds < 0) {
        rc = kl_store_armings_shorten(store, now, -seconds, &shortened, err);
    }
    if (rc == KL_OK) {
        rc = kl_life_audit(store, now, "clock-stepped", "",
                           KL_LIFE_FIELDS(KL_NUM("seconds", seconds), KL_NUM("armings", shortened)),
                           err);
    }
    if (rc == KL_OK) {
        *armings = shortened;
    }
    return rc;
}
