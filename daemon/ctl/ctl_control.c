/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl status, sessions, reload, drain, log-level, hsm: what is asked of the running
 * daemon; and request: what waits for a second operator.
 */
#include <string.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_channel.h"

/* Asks the daemon and prints its answer; takes params. */
static enum kl_rc ask(struct kl_ctl *ctl, const char *op, json_t *params, struct kl_err *err)
{
    json_t *result;
    enum kl_rc rc = kl_ctl_call_daemon(ctl, op, params, &result, err);

    return rc == KL_OK ? kl_report_print(result, ctl->json, err) : rc;
}

static enum kl_rc ask_plain(struct kl_ctl *ctl, int argc, char **argv, const char *op,
                            struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    return rc == KL_OK ? ask(ctl, op, json_object(), err) : rc;
}

static enum kl_rc status(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return ask_plain(ctl, argc, argv, "status", err);
}

static enum kl_rc reload(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return ask_plain(ctl, argc, argv, "reload", err);
}

static enum kl_rc drain(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return ask_plain(ctl, argc, argv, "drain", err);
}

static enum kl_rc log_level(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "LEVEL", err);

    return rc == KL_OK ? ask(ctl, "log-level", json_pack("{s:s}", "level", argv[optind]), err) : rc;
}

static enum kl_rc hsm_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    return ask_plain(ctl, argc, argv, "hsm-list", err);
}

static enum kl_rc hsm_retry(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "[SECTION]", err);

    return rc == KL_OK ? ask(ctl, "hsm-retry", json_pack("{s:s*}", "hsm", argv[optind]), err) : rc;
}

/* By number, as there is nothing that lasts to go by. */
static void next_sessions(json_t *params, const json_t *last)
{
    json_int_t skip = json_integer_value(json_object_get(params, "skip"));

    (void)last;
    (void)json_object_set_new(params, "skip", json_integer(skip + 200));
}

static enum kl_rc sessions(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {24, 16, 14, 0};
    int daemon = 0;
    json_t *none;
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    if (rc == KL_OK && (rc = kl_ctl_has_daemon(ctl, &daemon, err)) == KL_OK && !daemon) {
        return kl_ctl_call_daemon(ctl, "sessions", json_object(), &none, err);
    }
    return rc == KL_OK ? kl_ctl_print_each(ctl, "sessions", json_object(), "sessions",
                                           next_sessions, widths, err)
                       : rc;
}

/* ---- Requests ---- */

static enum kl_rc request_list(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {4, 8, 18, 20, 20, 20, 20, 20, 0, 0};
    int pending = 0;
    const struct kl_option options[] = {{"--pending", .flag = &pending}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    return rc == KL_OK
               ? kl_ctl_print_each(ctl, "request-list", json_pack("{s:b}", "pending", pending),
                                   "requests", kl_ctl_next_id, widths, err)
               : rc;
}

/* An operation on the request that the command line names; reason may be NULL. */
static enum kl_rc on_request(struct kl_ctl *ctl, const char *op, const char *id_text,
                             const char *reason, struct kl_err *err)
{
    unsigned id = 0;
    const char *state, *outcome;
    json_t *result;
    enum kl_rc rc;

    if ((rc = kl_options_number("ID", id_text, 1, INT32_MAX, &id, err)) != KL_OK ||
        (rc = kl_ctl_call(ctl, op, json_pack("{s:I, s:s*}", "id", (json_int_t)id, "reason", reason),
                          &result, err)) != KL_OK) {
        return rc;
    }
    state = json_string_value(json_object_get(result, "state"));
    outcome = json_string_value(json_object_get(result, "outcome"));
    if (strcmp(op, "request-approve") == 0 && state && strcmp(state, "failed") == 0) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "approved, and then failed: %.200s",
                        outcome ? outcome : "");
        json_decref(result);
        return rc;
    }
    return kl_report_print(result, ctl->json, err);
}

static enum kl_rc request_show(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "ID", err);

    return rc == KL_OK ? on_request(ctl, "request-show", argv[optind], NULL, err) : rc;
}

static enum kl_rc request_approve(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "ID", err);

    return rc == KL_OK ? on_request(ctl, "request-approve", argv[optind], NULL, err) : rc;
}

static enum kl_rc request_reject(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const char *reason = NULL;
    const struct kl_option options[] = {{"--reason", .text = &reason}, {0}};
    enum kl_rc rc = kl_options_parse(argc, argv, options, "ID", err);

    return rc == KL_OK ? on_request(ctl, "request-reject", argv[optind], reason, err) : rc;
}

const struct kl_ctl_command kl_ctl_control_commands[] = {
    {"status", "", status, "", "how the daemon is: up since when, sessions, store, HSMs"},
    {"sessions", "", sessions, "", "the daemon's connections: address, serial, state, age"},
    {"reload", "", reload, "",
     "has the daemon read its configuration and certificates again, and waits: what went wrong, "
     "or\n"
     "      what needs a restart"},
    {"drain", "", drain, "",
     "has the daemon take no more connections, finish loads under way, and end"},
    {"log-level", "", log_level, "LEVEL",
     "least to log (debug, info, warn, error), until the next reload or restart"},
    {"hsm", "list", hsm_list, "", "the daemon's HSMs: state, workers, jobs, the last trouble"},
    {"hsm", "check", kl_ctl_hsm_check, "",
     "what the configured module can and cannot do of all that is asked of one, by the self-test\n"
     "      with keys that are made on the token for it and destroyed again; for docs/modules.md"},
    {"hsm", "retry", hsm_retry, "[SECTION]",
     "has the daemon try an HSM (like hsm-2; default all) at once, with its PIN read anew: also\n"
     "      one that refused the PIN, once; one that is up is left alone"},
    {"request", "list", request_list, "[--pending]",
     "what operators have requested that takes two of them"},
    {"request", "show", request_show, "ID", "one of these"},
    {"request", "approve", request_approve, "ID",
     "approves another operator's request: it is carried out, or may be now, by who made it"},
    {"request", "reject", request_reject, "ID [--reason TEXT]",
     "rejects a request, or takes one's own back"},
    {0},
};
