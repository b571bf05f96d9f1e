/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations that report on the whole store. */
#include "conf/report.h"
#include "daemon/control/admin.h"
#include "daemon/control/params.h"

/* ---- unique: no two terminals have the same key (PCI PIN v3.1, 20-1) ---- */

#define FINDINGS_MAX 1000 /* listed; all are counted */

struct unique {
    json_int_t terminals, device_keys, tmks, waiting; /* what has been compared */
    json_int_t shared, possible;
    json_t *findings;
};

static enum kl_rc count_terminal(const struct kl_terminal *terminal, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;

    (void)err;
    unique->terminals++;
    unique->device_keys += terminal->has_device_key;
    return KL_OK;
}

static enum kl_rc count_tmk(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;

    (void)err;
    unique->tmks += tmk->cryptogram_len > 0;
    return KL_OK;
}

static enum kl_rc count_import(const struct kl_import *import, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;

    (void)import;
    (void)err;
    unique->waiting++;
    return KL_OK;
}

static const char *share_name(enum kl_share share)
{
    switch (share) {
    case KL_SHARE_TMK:
        return "tmk";
    case KL_SHARE_DEVICE_KEY:
        return "device-key";
    case KL_SHARE_KCV:
        return "kcv";
    }
    return "?";
}

/* Which of a terminal's TMKs: null for the one that waits, or for a device key. */
static json_t *version_json(uint32_t version)
{
    return version ? json_integer((json_int_t)version) : json_null();
}

static enum kl_rc add_finding(enum kl_share share, const struct kl_holder *one,
                              const struct kl_holder *other, void *arg, struct kl_err *err)
{
    struct unique *unique = arg;
    int certain = share != KL_SHARE_KCV;

    *(certain ? &unique->shared : &unique->possible) += 1;
    if (json_array_size(unique->findings) == FINDINGS_MAX) {
        return KL_OK;
    }
    if (json_array_append_new(unique->findings,
                              json_pack("{s:s, s:s, s:s, s:o, s:s, s:o}", "finding",
                                        certain ? "shared" : "possible", "what", share_name(share),
                                        "serial", one->serial, "version",
                                        version_json(one->version), "other_serial", other->serial,
                                        "other_version", version_json(other->version))) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "building the report");
    }
    return KL_OK;
}

/* What is counted is what was compared: all of it is of one moment, in the caller's transaction. */
static enum kl_rc unique(struct kl_store *store, const struct kl_admin_ask *ask, json_t **out,
                         struct kl_err *err)
{
    struct unique u = {0};
    enum kl_rc rc = kl_params_read(ask->params, NULL, err);

    if (rc != KL_OK) {
        return rc;
    }
    u.findings = json_array();
    if ((rc = kl_store_terminal_each(store, count_terminal, &u, err)) == KL_OK &&
        (rc = kl_store_tmk_each(store, NULL, 0, count_tmk, &u, err)) == KL_OK &&
        (rc = kl_store_import_each(store, count_import, &u, err)) == KL_OK &&
        (rc = kl_store_share_each(store, add_finding, &u, err)) == KL_OK) {
        rc = kl_admin_give(json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "time",
                                     kl_report_time(ask->now), "terminals", u.terminals,
                                     "device_keys", u.device_keys, "live_tmks", u.tmks, "waiting",
                                     u.waiting, "shared", u.shared, "possible", u.possible,
                                     "findings", u.findings),
                           out, err);
    }
    json_decref(u.findings);
    return rc;
}

const struct kl_admin_op kl_admin_report_ops[] = {
    {"report-unique", KL_ADMIN_READ, unique, 0, NULL},
    {0},
};
