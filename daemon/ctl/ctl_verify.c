/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderctl store verify, and report restore: is the store good, and do the terminals agree with
 * it?
 */
#include <inttypes.h>

#include "conf/options.h"
#include "conf/report.h"
#include "daemon/ctl/ctl_backup.h"
#include "daemon/ctl/ctl_ceremony.h"
#include "daemon/ctl/ctl_list.h"
#include "daemon/life/life_restore.h"
#include "daemon/store/store_wrap.h"
#include "pkcs11/keys.h"
#include "pkcs11/stored.h"

#define ROWS 64 /* at a time */

/* ---- Keys ---- */

/* The storage keys that rows may be under: the store's, and a rotation's goal. */
struct keys {
    struct kl_hsm *hsm;
    CK_OBJECT_HANDLE binding, now, next;
    struct kl_wrap_state state;
};

static enum kl_rc open_keys(const struct kl_config *config, struct kl_store *store,
                            struct keys *keys, struct kl_err *err)
{
    const char *label;
    enum kl_rc rc = kl_store_wrap_state(store, &keys->state, err);

    if (rc != KL_OK || (rc = kl_ctl_hsm_open(config, 0, &keys->hsm, err)) != KL_OK) {
        return rc;
    }
    label = keys->state.label[0] ? keys->state.label : config->storage_key;
    rc = kl_binding_key_find(kl_hsm_session(keys->hsm), config->binding_key, &keys->binding, err);
    if (rc == KL_OK) {
        rc = kl_storage_key_find(kl_hsm_session(keys->hsm), label, &keys->now, err);
    }
    if (rc == KL_OK && keys->state.to[0]) {
        rc = kl_storage_key_find(kl_hsm_session(keys->hsm), keys->state.to, &keys->next, err);
    }
    return rc;
}

static enum kl_rc check_row(const struct keys *keys, const struct kl_wrapped *row,
                            struct kl_check *check, uint64_t *checked, struct kl_err *err)
{
    CK_OBJECT_HANDLE storage =
        row->generation == keys->state.generation + 1 ? keys->next : keys->now;
    enum kl_rc rc = KL_OK;

    for (size_t i = 0; i < row->count && rc == KL_OK; i++) {
        const struct kl_binding_of what = {kl_wrapped_kind(row, i), row->serial, row->version,
                                           &row->keys[i]};

        rc = kl_stored_key_check(kl_hsm_session(keys->hsm), storage, keys->binding, &what, err);
        if (rc == KL_ERR_STORE) {
            kl_check_found(check, KL_ERR_VERIFY, "%s", err->text);
            rc = KL_OK;
        }
        ++*checked;
    }
    return rc;
}

static enum kl_rc check_all(const struct keys *keys, struct kl_store *store, struct kl_check *check,
                            uint64_t *checked, struct kl_err *err)
{
    struct kl_wrapped rows[ROWS];
    struct kl_progress progress = {0};
    uint64_t done = 0, total = 0;
    size_t count = 0;
    enum kl_rc rc = kl_store_wrapped_count(store, 0, &total, err);

    if (rc == KL_OK) {
        rc = kl_store_wrapped(store, 0, NULL, rows, ROWS, &count, err);
    }
    while (rc == KL_OK && count > 0) {
        for (size_t i = 0; i < count && rc == KL_OK; i++) {
            rc = check_row(keys, &rows[i], check, checked, err);
            kl_progress(&progress, "rows", ++done, total);
        }
        if (rc == KL_OK) {
            rc = kl_store_wrapped(store, 0, &rows[count - 1], rows, ROWS, &count, err);
        }
    }
    return rc;
}

/* Every cryptogram of the store, by the HSM: bindings, keys and KCVs; those that are not right are
 * findings. *checked: how many keys. */
static enum kl_rc check_keys(const struct kl_config *config, struct kl_store *store,
                             struct kl_check *check, uint64_t *checked, struct kl_err *err)
{
    struct keys keys = {.binding = CK_INVALID_HANDLE};
    enum kl_rc rc = open_keys(config, store, &keys, err);

    *checked = 0;
    if (rc == KL_OK) {
        rc = check_all(&keys, store, check, checked, err);
    }
    kl_hsm_free(keys.hsm);
    return rc;
}

/* ---- store verify ---- */

static enum kl_rc verify_report(const struct kl_ctl *ctl, const char *file,
                                const struct kl_check *check, const uint64_t *checked, json_t *list,
                                struct kl_err *err)
{
    json_t *report =
        json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:O}", "store", file, "schema_version",
                  KL_STORE_VERSION, "terminals", (json_int_t)check->terminals, "tmks",
                  (json_int_t)check->tmks, "audit_records", (json_int_t)check->records, "wrong",
                  (json_int_t)check->findings, "findings", list);

    if (report && checked &&
        json_object_set_new(report, "keys_checked", json_integer((json_int_t)*checked)) != 0) {
        json_decref(report);
        report = NULL;
    }
    return kl_report_print(report, ctl->json, err);
}

enum kl_rc kl_ctl_store_verify(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    int keys = 0;
    const struct kl_option options[] = {{"--keys", .flag = &keys}, {0}};
    struct kl_ctl_findings findings = {.file = ctl->config.store};
    struct kl_check check = {.tell = kl_ctl_found, .arg = &findings};
    struct kl_store *store = NULL;
    uint64_t checked = 0;
    enum kl_rc rc = kl_options_parse(argc, argv, options, "[FILE]", err);

    if (rc != KL_OK) {
        return rc;
    }
    if (optind < argc) {
        findings.file = argv[optind];
    }
    if (!(findings.list = json_array())) {
        return kl_err_set(err, KL_ERR_MEMORY, "report on a store");
    }
    if ((rc = kl_store_open(findings.file, KL_STORE_READ, &store, err)) == KL_OK &&
        (rc = kl_store_check(store, &check, err)) == KL_OK && keys) {
        rc = check_keys(&ctl->config, store, &check, &checked, err);
    }
    if (rc == KL_OK) {
        rc = verify_report(ctl, findings.file, &check, keys ? &checked : NULL, findings.list, err);
    }
    if (rc == KL_OK && check.findings > 0) {
        rc = kl_err_set(err, check.worst, "%s is not good: %" PRIu64 " finding%s", findings.file,
                        check.findings, check.findings == 1 ? "" : "s");
    }
    kl_store_free(store);
    json_decref(findings.list);
    return rc;
}

/* ---- report restore ---- */

static enum kl_rc since_row(const struct kl_terminal *terminal, enum kl_since_restore since,
                            void *arg, struct kl_err *err)
{
    return kl_ctl_list_row(arg,
                           json_pack("{s:s, s:s, s:b}", "serial", terminal->serial, "since",
                                     kl_since_restore_name(since), "needs_load",
                                     since == KL_SINCE_BEHIND),
                           err);
}

enum kl_rc kl_ctl_report_restore(struct kl_ctl *ctl, int argc, char **argv, struct kl_err *err)
{
    static const int widths[] = {16, 10, 0};
    struct kl_ctl_list list = {ctl->json, widths, 0};
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_options_parse(argc, argv, NULL, "", err);

    if (rc == KL_OK) {
        rc = kl_store_open(ctl->config.store, KL_STORE_READ, &store, err);
    }
    if (rc == KL_OK) {
        rc = kl_life_since_restore(store, since_row, &list, err);
    }
    if (rc == KL_OK) {
        rc = kl_ctl_list_end(&list, err);
    }
    kl_store_free(store);
    return rc;
}
