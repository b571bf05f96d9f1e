/* SPDX-License-Identifier: BSD-2-Clause */
/* Two operators for what keyloaderctl does with the HSM. */
#include "daemon/ctl/ctl_dual.h"

#include <stdio.h>

#include "daemon/ctl/ctl_channel.h"

enum kl_rc kl_ctl_dual_begin(struct kl_ctl *ctl, const struct kl_ctl_dual *dual, struct kl_err *err)
{
    json_t *result;
    enum kl_rc rc;
    int id;

    if (dual->request) {
        return KL_OK;
    }
    rc = kl_ctl_call(ctl, dual->kind, json_incref(dual->params), &result, err);
    if (rc == KL_OK && json_object_get(result, "request")) {
        id = (int)json_integer_value(json_object_get(json_object_get(result, "request"), "id"));
        rc = kl_ctl_print_result(ctl, result, err);
        return rc == KL_ERR_BUSY
                   ? kl_err_set(err, rc,
                                "nothing is done yet: once a second operator has approved request "
                                "%d (keyloaderctl request approve %d), the same again with "
                                "--request %d",
                                id, id, id)
                   : rc;
    }
    json_decref(result);
    return rc;
}

enum kl_rc kl_ctl_dual_use(struct kl_ctl *ctl, struct kl_ctl_dual *dual, struct kl_err *err)
{
    json_t *result;
    enum kl_rc rc;

    if (!dual->request) {
        return KL_OK;
    }
    rc = kl_ctl_call_daemon(ctl, "request-use",
                            json_pack("{s:i, s:s, s:O}", "id", (int)dual->request, "kind",
                                      dual->kind, "params", dual->params),
                            &result, err);
    if (rc == KL_OK) {
        json_decref(result);
        dual->used = 1;
    }
    return rc;
}

enum kl_rc kl_ctl_dual_end(struct kl_ctl *ctl, struct kl_ctl_dual *dual, enum kl_rc rc,
                           const struct kl_err *err)
{
    struct kl_err lost = KL_ERR_INIT;
    json_t *result = NULL;

    if (rc != KL_OK && dual->used &&
        kl_ctl_call_daemon(ctl, "request-failed",
                           json_pack("{s:i, s:s}", "id", (int)dual->request, "reason", err->text),
                           &result, &lost) != KL_OK) {
        fprintf(stderr, "keyloaderctl: warning: that request %u failed is not recorded: %s\n",
                dual->request, lost.text);
    }
    json_decref(result);
    json_decref(dual->params);
    dual->params = NULL;
    return rc;
}
