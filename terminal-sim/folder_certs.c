/* SPDX-License-Identifier: BSD-2-Clause */
/* The certificates in a terminal's folder: the roots that it trusts, and its own chain. */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "conf/certfile.h"
#include "conf/cli.h"
#include "proto/cert.h"
#include "terminal-sim/folder.h"

/* ---- Roots ---- */

/* Refuses what no AcquireWCRT could ever be verified with; its time is S4's to judge. */
static enum kl_rc check_root(const char *path, X509 *root, struct kl_err *err)
{
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc = kl_cert_key_type(root, &type, &bits, err);

    if (rc) {
        return kl_err_context(err, "%s", path);
    }
    if (X509_check_ca(root) != 1) {
        return kl_err_set(err, KL_ERR_CERT,
                          "%s is not a CA's certificate (basicConstraints, keyUsage): give "
                          "AcquireRCRT, the root.pem of acquire-ca",
                          path);
    }
    if (X509_self_signed(root, 1) != 1) {
        kl_err_openssl_clear();
        return kl_err_set(err, KL_ERR_CERT,
                          "%s is not signed by itself: give AcquireRCRT, the root.pem of "
                          "acquire-ca",
                          path);
    }
    return KL_OK;
}

static enum kl_rc add_root(STACK_OF(X509) * roots, const char *path, X509 *root, struct kl_err *err)
{
    for (int i = 0; i < sk_X509_num(roots); i++) {
        if (EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(roots, i)), X509_get0_pubkey(root)) == 1) {
            return kl_err_set(err, KL_ERR_EXISTS, "%s: a root of that key is there already", path);
        }
    }
    if (sk_X509_num(roots) >= KL_ANCHOR_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED, "%s: a terminal trusts at most %d roots", path,
                          KL_ANCHOR_MAX);
    }
    if (!X509_up_ref(root)) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "X509_up_ref", "%s", path);
    }
    if (!sk_X509_push(roots, root)) {
        X509_free(root);
        return kl_err_openssl(err, KL_ERR_MEMORY, "sk_X509_push", "%s", path);
    }
    return KL_OK;
}

enum kl_rc kl_folder_add_roots(STACK_OF(X509) * roots, const char *path, struct kl_err *err)
{
    STACK_OF(X509) *more = NULL;
    enum kl_rc rc = kl_cert_load_pem(path, &more, err);

    for (int i = 0; !rc && i < sk_X509_num(more); i++) {
        rc = check_root(path, sk_X509_value(more, i), err);
        if (!rc) {
            rc = add_root(roots, path, sk_X509_value(more, i), err);
        }
    }
    sk_X509_pop_free(more, X509_free);
    return rc;
}

enum kl_rc kl_folder_load_roots(const char *dir, STACK_OF(X509) * *out, struct kl_err *err)
{
    char path[PATH_MAX];
    enum kl_rc rc = kl_folder_path(dir, KL_FOLDER_ROOT, path, err);

    return rc ? rc : kl_cert_load_pem(path, out, err);
}

enum kl_rc kl_folder_save_roots(const char *dir, STACK_OF(X509) * roots, struct kl_err *err)
{
    return kl_folder_save_pem(dir, KL_FOLDER_ROOT, roots, err);
}

enum kl_rc kl_folder_save_pem(const char *dir, const char *name, STACK_OF(X509) * certs,
                              struct kl_err *err)
{
    char path[PATH_MAX], *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL;
    long len;
    enum kl_rc rc = kl_folder_path(dir, name, path, err);

    for (int i = 0; ok && i < sk_X509_num(certs); i++) {
        ok = PEM_write_bio_X509(bio, sk_X509_value(certs, i));
    }
    if (!rc && !ok) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "PEM_write_bio_X509", "%s", path);
    }
    if (!rc) {
        len = BIO_get_mem_data(bio, &text);
        rc = kl_file_write(path, text, (size_t)len, 0644, 1, err);
    }
    BIO_free(bio);
    return rc;
}

/* ---- The terminal's own ---- */

static enum kl_rc encode(STACK_OF(X509) * certs, struct kl_folder_chain *out, struct kl_err *err)
{
    struct kl_folder_chain chain = {0};

    for (int i = 0; i < sk_X509_num(certs); i++) {
        uint8_t *der = NULL;
        int len = i2d_X509(sk_X509_value(certs, i), &der);

        if (len <= 0) {
            kl_folder_wipe_chain(&chain);
            return kl_err_openssl(err, KL_ERR_MEMORY, "i2d_X509", "the terminal's certificate");
        }
        chain.der[chain.count++] = (struct kl_bytes){der, (size_t)len};
    }
    *out = chain;
    return KL_OK;
}

enum kl_rc kl_folder_load_chain(const char *dir, struct kl_folder_chain *out, struct kl_err *err)
{
    STACK_OF(X509) *certs = NULL;
    char path[PATH_MAX];
    enum kl_rc rc = kl_folder_path(dir, KL_FOLDER_DEVICE, path, err);

    if (rc) {
        return rc;
    }
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        memset(out, 0, sizeof(*out));
        return KL_OK;
    }
    rc = kl_cert_load_pem(path, &certs, err);
    if (!rc) {
        rc = encode(certs, out, err);
    }
    sk_X509_pop_free(certs, X509_free);
    return rc;
}

void kl_folder_wipe_chain(struct kl_folder_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        OPENSSL_free((void *)chain->der[i].data);
    }
    memset(chain, 0, sizeof(*chain));
}
