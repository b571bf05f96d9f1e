/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl report: what auditors ask for. Reads only.
 */
#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_channel.h"

/* No two terminals have the same key (PCI PIN v3.1, 20-1). */
static enum kl_rc report_unique(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    json_int_t shared;
    json_t *result;
    enum kl_rc rc;

    if ((rc = kl_options_parse(argc, argv, NULL, "", err)) != KL_OK ||
        (rc = kl_ctl_call(ctl, "report-unique", json_object(), &result, err)) != KL_OK) {
        return rc;
    }
    shared = json_integer_value(json_object_get(result, "shared"));
    rc = kl_report_print(result, ctl->json, err);
    if (rc == KL_OK && shared > 0) {
        rc = kl_err_set(err, KL_ERR_REFUSED,
                        "%" JSON_INTEGER_FORMAT " time(s) a terminal has a key of another's",
                        shared);
    }
    return rc;
}

const struct kl_ctl_command kl_ctl_report_commands[] = {
    {"report", "unique", report_unique, "",
     "what has been compared, and terminals that have a TMK or a device key in common, each with\n"
     "      the first of those that do (exit status 77 if there are any); as \"possible\" those "
     "whose\n"
     "      TMKs merely have the same KCV"},
    {0},
};
