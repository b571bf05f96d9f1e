/* SPDX-License-Identifier: BSD-2-Clause */
/* What operators ask of the daemon itself. */
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "daemon/control/control_impl.h"
#include "daemon/control/params.h"
#include "daemon/loader/conn.h"
#include "daemon/monitor/status.h"
#include "proto/clock.h"

struct command {
    const char *name;
    enum kl_role role;
    enum kl_rc (*run)(struct kl_control_peer *peer, const json_t *params, struct kl_err *err);
};

static enum kl_rc give(struct kl_control_peer *peer, json_t *result, struct kl_err *err)
{
    if (!result) {
        return kl_err_set(err, KL_ERR_MEMORY, "building a result");
    }
    kl_control_reply(peer, result, NULL);
    return KL_OK;
}

/* ---- What reads ---- */

static enum kl_rc status(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    enum kl_rc rc = kl_params_read(params, NULL, err);

    return rc == KL_OK ? give(peer, kl_status_json(peer->control->service), err) : rc;
}

/* Where they begin and end changes meanwhile: a page is the connections from the n-th on. */
static enum kl_rc sessions(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    const struct kl_service *service = peer->control->service;
    const struct kl_conn *conn = NULL;
    int64_t skip = 0, at = 0;
    const struct kl_param table[] = {{"skip", KL_PARAM_NUMBER, 0, &skip, 0, 1000000}, {0}};
    struct kl_admin_page page = {0};
    json_t *result = NULL;
    enum kl_rc rc = kl_params_read(params, table, err);

    if (rc != KL_OK) {
        return rc;
    }
    page.rows = json_array();
    while (rc == KL_OK && (conn = kl_conn_next(service, conn)) != NULL) {
        struct kl_conn_info info;

        if (at++ >= skip) {
            kl_conn_describe(conn, &info);
            rc = kl_admin_page_add(&page,
                                   json_pack("{s:s, s:s, s:s, s:f}", "address", info.address,
                                             "serial", info.serial, "state", info.state,
                                             "age_seconds", (double)info.age_ms / 1000),
                                   err);
        }
    }
    if ((rc = kl_admin_page_end(&page, "sessions", rc, &result, err)) == KL_OK) {
        kl_control_reply(peer, result, NULL);
    }
    return rc;
}

static enum kl_rc hsm_list(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    enum kl_rc rc = kl_params_read(params, NULL, err);

    return rc == KL_OK
               ? give(peer, json_pack("{s:o}", "hsms", kl_status_hsms(peer->control->service)), err)
               : rc;
}

/* ---- What changes ---- */

/* Which of the HSMs that are named (NULL: all) work, and so need no retry; how many do not. */
static size_t sort_hsms(const struct kl_pool *pool, const char *name, char *up, size_t size)
{
    struct kl_pool_report report;
    size_t others = 0, used = 0;

    up[0] = '\0';
    kl_pool_report(pool, &report);
    for (size_t i = 0; i < report.hsm_count; i++) {
        const struct kl_pool_hsm_report *hsm = &report.hsm[i];

        if (name && strcmp(name, hsm->name) != 0) {
            continue;
        }
        if (hsm->state == KL_BREAKER_UP && hsm->idle + hsm->busy > 0) {
            used += (size_t)snprintf(up + used, size - used, "%s%s", used ? ", " : "", hsm->name);
        } else {
            others++;
        }
    }
    return others;
}

static enum kl_rc hsm_retry(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    struct kl_service *service = peer->control->service;
    const char *name = NULL;
    const struct kl_param table[] = {{"hsm", KL_PARAM_TEXT, 0, &name, 0, 16}, {0}};
    char up[KL_HSM_MAX * 16];
    int tried = 0;
    enum kl_rc rc = kl_params_read(params, table, err);

    if (rc == KL_OK && service->pool == NULL) {
        rc = kl_err_set(err, KL_ERR_UNAVAILABLE, "the daemon has no HSM workers yet");
    }
    if (rc == KL_OK) {
        tried = sort_hsms(service->pool, name, up, sizeof(up)) > 0;
        if (tried || !up[0]) { /* none at all: it says so */
            rc = kl_pool_retry(service->pool, name, err);
        }
    }
    if (rc != KL_OK) {
        return rc;
    }
    if (tried) {
        kl_control_record(peer->control, peer->id.actor, "hsm-retry-asked", name ? name : "all");
    }
    return give(peer,
                json_pack("{s:b, s:s, s:s}", "tried", tried, "hsm", name ? name : "all",
                          "up_and_left_alone", up),
                err);
}

static void on_reloaded(const struct kl_err *err, const struct kl_config_kept *kept, void *arg)
{
    struct kl_control_peer *peer = arg;
    char text[1024] = "";

    peer->reloading = 0;
    if (!err) {
        kl_reload_kept_text(kept, text, sizeof(text));
    }
    kl_control_reply(peer,
                     err ? NULL : json_pack("{s:b, s:s}", "reloaded", 1, "needs_restart", text),
                     err);
}

static enum kl_rc reload(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    enum kl_rc rc = kl_params_read(params, NULL, err);

    if (rc == KL_OK) {
        kl_control_record(peer->control, peer->id.actor, "reload-asked", "");
        peer->reloading = 1;
        kl_reload_request(peer->control->service->reload, on_reloaded, peer);
    }
    return rc;
}

static enum kl_rc drain(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    enum kl_rc rc = kl_params_read(params, NULL, err);

    if (rc == KL_OK) {
        kl_control_record(peer->control, peer->id.actor, "drain-asked", "");
        peer->drains = 1;
        rc = give(peer, json_pack("{s:b}", "draining", 1), err);
    }
    return rc;
}

static enum kl_rc log_level(struct kl_control_peer *peer, const json_t *params, struct kl_err *err)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *level = NULL;
    const struct kl_param table[] = {{"level", KL_PARAM_TEXT, 1, &level, 0, 8}, {0}};
    enum kl_rc rc = kl_params_read(params, table, err);

    for (int i = 0; rc == KL_OK && i < 4; i++) {
        if (strcmp(level, names[i]) == 0) {
            kl_log_set_level((enum kl_log_level)i);
            kl_control_record(peer->control, peer->id.actor, "log-level-set", names[i]);
            return give(peer, json_pack("{s:s}", "level", names[i]), err);
        }
    }
    return rc == KL_OK
               ? kl_err_set(err, KL_ERR_INPUT, "'%.8s' must be debug, info, warn or error", level)
               : rc;
}

static const struct command commands[] = {
    {"status", KL_ROLE_AUDITOR, status},        {"sessions", KL_ROLE_AUDITOR, sessions},
    {"reload", KL_ROLE_OPERATOR, reload},       {"drain", KL_ROLE_OPERATOR, drain},
    {"log-level", KL_ROLE_OPERATOR, log_level}, {"hsm-list", KL_ROLE_AUDITOR, hsm_list},
    {"hsm-retry", KL_ROLE_OPERATOR, hsm_retry},
};

enum kl_rc kl_control_do(struct kl_control_peer *peer, const char *name, const json_t *params,
                         int *known, struct kl_err *err)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *command = &commands[i];

        if (strcmp(command->name, name) != 0) {
            continue;
        }
        *known = 1;
        if (peer->role < command->role) {
            return kl_err_set(err, KL_ERR_PERMISSION, "%s is for an %s, not for an %s", name,
                              kl_role_name(command->role), kl_role_name(peer->role));
        }
        kl_log(command->role == KL_ROLE_AUDITOR ? KL_LOG_DEBUG : KL_LOG_INFO, "control",
               KL_STR("op", name), KL_STR("actor", peer->id.actor));
        return command->run(peer, params, err);
    }
    return KL_OK;
}
