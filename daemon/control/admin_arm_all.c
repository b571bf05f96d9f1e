/* SPDX-License-Identifier: BSD-2-Clause */
/* Arming every terminal at once, a step at a time. */
#include <string.h>

#include "daemon/control/admin_json.h"
#include "daemon/control/admin_terminal.h"
#include "daemon/life/life.h"

enum kl_rc kl_admin_arming_settle(struct kl_admin_arming *arming, int64_t now, struct kl_err *err)
{
    if (arming->seconds && arming->until) {
        return kl_err_set(err, KL_ERR_INPUT, "\"for\" and \"until\" exclude each other");
    }
    if (!arming->until) {
        arming->until = now + (arming->seconds ? arming->seconds : KL_ADMIN_ARM_FOR);
    }
    if (arming->until <= now || arming->until > now + KL_ADMIN_ARM_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "\"until\" must be in the future, by 30 days at most");
    }
    return KL_OK;
}

struct wish {
    struct kl_admin_arming arming;
    const char *after, *prefix;
    enum kl_alg alg; /* 0 = any */
};

static enum kl_rc read_filter(const json_t *filter, struct wish *wish, struct kl_err *err)
{
    const char *alg = NULL;
    const struct kl_param table[] = {
        {"algorithm", KL_PARAM_TEXT, 0, &alg, 0, 16},
        {"prefix", KL_PARAM_SERIAL, 0, &wish->prefix, 0, 0},
        {0},
    };
    const struct kl_alg_info *info;
    enum kl_rc rc = filter ? kl_params_read(filter, table, err) : KL_OK;

    if (rc != KL_OK || !alg) {
        return rc;
    }
    if (!(info = kl_alg_by_name(alg))) {
        return kl_err_set(err, KL_ERR_INPUT, "\"algorithm\": '%.40s' is not known", alg);
    }
    wish->alg = info->alg;
    return KL_OK;
}

static enum kl_rc read_wish(const json_t *params, struct wish *wish, struct kl_err *err)
{
    json_t *filter = NULL;
    const struct kl_param table[] = {
        KL_ADMIN_ARMING_PARAMS(&wish->arming),
        {"filter", KL_PARAM_OBJECT, 0, &filter, 0, 0},
        {"after", KL_PARAM_SERIAL, 0, &wish->after, 0, 0},
        {0},
    };
    enum kl_rc rc;

    *wish = (struct wish){.arming = KL_ADMIN_ARMING_INIT, .after = "", .prefix = ""};
    rc = kl_params_read(params, table, err);
    return rc == KL_OK ? read_filter(filter, wish, err) : rc;
}

enum kl_rc kl_admin_arm_all_canon(const json_t *params, json_t **out, struct kl_err *err)
{
    struct wish wish;
    json_t *canon;
    enum kl_rc rc = read_wish(params, &wish, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (wish.after[0] || (wish.arming.seconds && wish.arming.until)) {
        return kl_err_set(
            err, KL_ERR_INPUT,
            "\"after\" is no request's, and \"for\" and \"until\" exclude each other");
    }
    canon = json_pack("{s:I, s:{s:s*, s:s*}}", "attempts", (json_int_t)wish.arming.attempts,
                      "filter", "algorithm", wish.alg ? kl_alg_info(wish.alg)->name : NULL,
                      "prefix", wish.prefix[0] ? wish.prefix : NULL);
    if (canon && json_object_set_new(canon, wish.arming.until ? "until" : "for",
                                     json_integer(wish.arming.until     ? wish.arming.until
                                                  : wish.arming.seconds ? wish.arming.seconds
                                                                        : KL_ADMIN_ARM_FOR)) != 0) {
        json_decref(canon);
        canon = NULL;
    }
    return kl_admin_give(canon, out, err);
}

/* The terminals that a step looks at. fn of an iteration must not write: first they are gathered.
 */
struct step {
    const struct wish *wish;
    int64_t now;
    size_t seen, count;
    int more;
    char last[KL_SERIAL_MAX + 1];
    char serial[KL_ADMIN_STEP][KL_SERIAL_MAX + 1];
};

static enum kl_rc gather(const struct kl_terminal *t, void *arg, struct kl_err *err)
{
    struct step *step = arg;
    const struct wish *wish = step->wish;
    size_t prefix = strlen(wish->prefix);

    if (step->seen == KL_ADMIN_STEP) {
        step->more = 1;
        return kl_err_set(err, KL_ERR_BUSY, "the step is full");
    }
    step->seen++;
    memcpy(step->last, t->serial, sizeof(step->last));
    if (!t->blocked && !(t->armed_until >= step->now && t->attempts_left > 0) &&
        (!wish->alg || t->alg == wish->alg) && strncmp(t->serial, wish->prefix, prefix) == 0) {
        memcpy(step->serial[step->count++], t->serial, sizeof(step->last));
    }
    return KL_OK;
}

enum kl_rc kl_admin_arm_all(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                            struct kl_err *err)
{
    struct step step = {.now = ask->now};
    struct wish wish;
    enum kl_rc rc;

    if ((rc = read_wish(ask->params, &wish, err)) != KL_OK ||
        (rc = kl_admin_arming_settle(&wish.arming, ask->now, err)) != KL_OK) {
        return rc;
    }
    step.wish = &wish;
    rc = kl_store_terminal_from(store, wish.after, gather, &step, err);
    if (rc != KL_OK && !step.more) {
        return rc;
    }
    rc = KL_OK;
    for (size_t i = 0; i < step.count && rc == KL_OK; i++) {
        rc = kl_life_arm(store, step.serial[i], wish.arming.until, (uint32_t)wish.arming.attempts,
                         ask->now, err);
    }
    return rc == KL_OK ? kl_admin_give(json_pack("{s:I, s:s, s:b}", "armed", (json_int_t)step.count,
                                                 "after", step.last, "more", step.more),
                                       out, err)
                       : rc;
}
