/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The HSM and the certificates as the ceremony commands see them.
 */
#include "daemon/ctl/ctl_ceremony.h"

#include <errno.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "daemon/ctl/ctl_store.h"
#include "daemon/ctl/ctl_terminal.h"
#include "daemon/loader/trust.h"
#include "daemon/store/store.h"

enum kl_rc kl_ctl_hsm_open(const struct kl_config *config, int read_write, struct kl_hsm **out,
                           struct kl_err *err)
{
    const struct kl_hsm_where where = kl_config_hsm(config, 0);

    return kl_hsm_open(&where, read_write, out, err);
}

enum kl_rc kl_ctl_installed(const struct kl_config *config, const char *label,
                            STACK_OF(X509) * *out, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = kl_trust_path(config, label, path, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_cert_load_pem(path, out, err);
    if (rc == KL_ERR_NO_FILE) {
        rc =
            kl_err_set(err, KL_ERR_NOT_FOUND,
                       "no certificate is installed for \"%s\": there is no %s; `cert install` one",
                       label, path);
    }
    return rc;
}

json_t *kl_ctl_reload_needed(const struct kl_config *config, int changed)
{
    struct kl_err why = KL_ERR_INIT;
    int serving = 0;

    if (!changed) {
        return json_false();
    }
    if (kl_store_claimed(config->store, &serving, &why) != KL_OK) {
        fprintf(stderr, "keyloaderctl: warning: %s\n", why.text);
        return json_null();
    }
    if (serving) {
        fprintf(stderr, "keyloaderctl: keyloaderd runs with what it has read before: tell it to "
                        "read again (systemctl reload keyloaderd, or SIGHUP)\n");
    }
    return json_boolean(serving);
}

enum kl_rc kl_ctl_audit(const struct kl_config *config, const char *event, const char *serial,
                        const struct kl_log_field *fields, size_t count, struct kl_err *err)
{
    char detail[KL_AUDIT_DETAIL_MAX + 1];
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_ctl_store_open(config, KL_STORE_CREATE, &store, err);

    kl_log_format(detail, sizeof(detail), fields, count);
    if (rc == KL_OK && (rc = kl_store_begin(store, err)) == KL_OK) {
        rc = kl_store_audit(store, (int64_t)time(NULL), event, serial, detail, err);
        rc = kl_ctl_finish(store, rc, err);
    }
    kl_store_free(store);
    return rc;
}

enum kl_rc kl_ctl_audit_if_there(const struct kl_config *config, const char *event,
                                 const struct kl_log_field *fields, size_t count,
                                 struct kl_err *err)
{
    if (access(config->store, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return KL_OK;
    }
    return kl_ctl_audit(config, event, "", fields, count, err);
}

enum kl_rc kl_ctl_audit_ready(const struct kl_config *config, struct kl_err *err)
{
    struct kl_store *store = NULL;
    enum kl_rc rc = kl_ctl_store_open(config, KL_STORE_CREATE, &store, err);

    kl_store_free(store);
    return rc;
}

enum kl_rc kl_ctl_label(const char *label, struct kl_err *err)
{
    if (!kl_trust_label_ok(label)) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "a key's label must have 1 to %d letters, digits and - . _ +, no dot "
                          "first",
                          KL_KEY_LABEL_MAX);
    }
    return KL_OK;
}

int kl_ctl_is_stdout(const char *path)
{
    return strcmp(path, "-") == 0;
}

enum kl_rc kl_ctl_write_out(BIO *bio, const char *path, int force, struct kl_err *err)
{
    char *data;
    size_t len = (size_t)BIO_get_mem_data(bio, &data);
    enum kl_rc rc;

    if (kl_ctl_is_stdout(path)) {
        if (fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0) {
            return kl_err_errno(err, "fwrite", "cannot write to standard output");
        }
        return KL_OK;
    }
    rc = kl_file_write(path, data, len, 0644, force, err);
    if (rc == KL_ERR_EXISTS) {
        rc = kl_err_set(err, KL_ERR_EXISTS, "%s exists; --force overwrites it", path);
    }
    return rc;
}

enum kl_rc kl_ctl_write_public(const EVP_PKEY *key, const char *path, int force, struct kl_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    enum kl_rc rc;

    kl_err_openssl_clear();
    if (!bio || PEM_write_bio_PUBKEY(bio, key) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PEM_write_bio_PUBKEY", "encoding");
    } else {
        rc = kl_ctl_write_out(bio, path, force, err);
    }
    BIO_free(bio);
    return rc;
}
