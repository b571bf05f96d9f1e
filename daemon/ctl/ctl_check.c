/* SPDX-License-Identifier: BSD-2-Clause */
/* keyloaderctl hsm check: what the configured module can and cannot do. */
#include <jansson.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "pkcs11/module_check.h"

static void add_row(const char *what, const char *answer, void *arg)
{
    json_array_append_new(arg, json_pack("{s:s, s:s}", "what", what, "answer", answer));
}

enum kl_rc kl_ctl_hsm_check(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    json_t *rows = json_array();
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    if (rc == KL_OK) {
        rc = kl_ctl_hsm_open(&ctl->config, 1, &hsm, err);
    }
    if (rc == KL_OK) {
        rc = kl_module_check(hsm, add_row, rows, err);
    }
    kl_hsm_free(hsm);
    if (rc != KL_OK) {
        json_decref(rows);
        return rc;
    }
    return kl_report_print(rows, ctl->json, err);
}
