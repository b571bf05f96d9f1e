/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl store: the store as a whole.
 */
#include "daemon/ctl/ctl_store.h"

#include <jansson.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/control/actor.h"
#include "daemon/ctl/ctl.h"

enum kl_rc kl_ctl_store_open(const struct kl_config *config, enum kl_store_mode mode,
                             struct kl_store **out, struct kl_err *err)
{
    char actor[KL_AUDIT_ACTOR_MAX + 1];
    enum kl_rc rc = kl_store_open(config->store, mode, out, err);

    if (rc == KL_OK) {
        kl_actor_self(actor);
        kl_store_set_actor(*out, actor);
    }
    return rc;
}

/* ---- migrate ---- */

/* Whoever opens a store to write brings it up to date: nothing is left to do here. */
static enum kl_rc migrate(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    char id[KL_META_MAX + 1];
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    if (rc == KL_OK &&
        (rc = kl_ctl_store_open(&ctl->config, KL_STORE_WRITE, &store, err)) == KL_OK &&
        (rc = kl_store_meta_get(store, KL_META_STORE_ID, id, err)) == KL_OK) {
        rc = kl_report_print(json_pack("{s:s, s:i, s:s}", "store", ctl->config.store,
                                       "schema_version", KL_STORE_VERSION, "store_id", id),
                             ctl->json, err);
    }
    kl_store_free(store);
    return rc;
}

const struct kl_ctl_command kl_ctl_store_commands[] = {
    {"store", "migrate", migrate, "",
     "brings the store of an older version up to date, as does any command that writes to it, and\n"
     "      the daemon's start; a copy is kept beside it"},
    {0},
};
