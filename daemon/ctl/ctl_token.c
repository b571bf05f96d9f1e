/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl token: makes the token that all keys of this loader are in.
 */
#include <jansson.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "pkcs11/ceremony.h"

static enum kl_rc token_init(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    const struct kl_hsm_where where = kl_config_hsm(&ctl->config, 0);
    const char *so_source = NULL, *module, *label;
    const struct kl_option options[] = {{"--so-pin-source", .text = &so_source}, {0}};
    struct kl_uri *uri = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "", err);

    if (rc == KL_OK) {
        rc = kl_uri_parse(where.token, &uri, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    label = kl_uri_token(uri);
    if (!label) {
        rc = kl_err_set(err, KL_ERR_CONFIG,
                        "[hsm] token: the URI must have token=LABEL for a token to be made");
    } else if ((rc = kl_hsm_module_path(&where, uri, &module, err)) == KL_OK) {
        rc = kl_ceremony_init_token(module, where.init_reserved, label, so_source,
                                    kl_hsm_pin_source(&where, uri), err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_audit_if_there(&ctl->config, "token-initialised", &KL_STR("token", label), 1,
                                   err);
    }
    if (rc == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:b}", "token", label, "initialised", 1), ctl->json,
                             err);
    }
    kl_uri_free(uri);
    return rc;
}

const struct kl_ctl_command kl_ctl_token_commands[] = {
    {"token", "init", token_init, "[--so-pin-source SRC]",
     "Initialise the configured token; its PIN is read from the configured pin-source"},
    {0},
};
