/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CA's private key in its two homes.
 */
#include "ca/cakey.h"

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/cli.h"
#include "pkcs11/ceremony.h"
#include "pkcs11/hsm.h"
#include "pkcs11/keys.h"
#include "pkcs11/pin.h"
#include "pkcs11/pkcs8.h"

/* scrypt at N = 2^14, r = 8, p = 5: the most expensive of the usual choices that keeps within the
 * 32 MiB that OpenSSL grants when it reads such a file. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 5
#define SCRYPT_SALT 16

struct kl_cakey {
    const struct kl_ca_conf *conf; /* borrowed; NULL once the key is open */
    char pem_path[PATH_MAX];
    struct kl_hsm *hsm;
    EVP_PKEY *pkey; /* public half (token) or the pair (file) */
    struct kl_signer *signer;
};

void kl_cakey_free(struct kl_cakey *key)
{
    if (!key) {
        return;
    }
    kl_signer_free(key->signer);
    EVP_PKEY_free(key->pkey);
    kl_hsm_free(key->hsm);
    free(key);
}

struct kl_signer *kl_cakey_signer(const struct kl_cakey *key)
{
    return key->signer;
}

struct kl_hsm_where kl_cakey_where(const struct kl_ca_conf *conf)
{
    return (struct kl_hsm_where){
        .module = conf->module,
        .init_reserved = conf->init_reserved,
        .token = conf->token,
        .pin_source = conf->pin_source,
        .prompt = "PIN of the CA's token",
    };
}

/* NULL, with err set, on failure. */
static struct kl_cakey *new_key(const struct kl_ca_conf *conf, const char *dir, struct kl_err *err)
{
    struct kl_cakey *key = calloc(1, sizeof *key);

    if (!key) {
        kl_err_set(err, KL_ERR_MEMORY, "CA key");
        return NULL;
    }
    key->conf = conf;
    if (*conf->pem && kl_home_path(dir, conf->pem, key->pem_path, err) != KL_OK) {
        kl_cakey_free(key);
        return NULL;
    }
    return key;
}

/* ---- Token ---- */

static enum kl_rc open_token(struct kl_cakey *key, int read_write, struct kl_err *err)
{
    const struct kl_hsm_where where = kl_cakey_where(key->conf);

    return kl_hsm_open(&where, read_write, &key->hsm, err);
}

/* Finds the pair by label and sets pkey, unless generation has set it, and signer. */
static enum kl_rc find_pair(struct kl_cakey *key, struct kl_err *err)
{
    CK_OBJECT_HANDLE handle;
    EVP_PKEY *found = NULL;
    enum kl_rc rc = kl_pair_find(kl_hsm_session(key->hsm), KL_PAIR_CA, key->conf->key_label,
                                 &handle, &found, err);

    if (rc != KL_OK) {
        return rc;
    }
    EVP_PKEY_free(key->pkey);
    key->pkey = found;
    return kl_signer_token(kl_hsm_session(key->hsm), KL_PAIR_CA, handle, key->pkey, &key->signer,
                           err);
}

static enum kl_rc generate_in_token(struct kl_cakey *key, enum kl_key_type type, unsigned bits,
                                    struct kl_err *err)
{
    enum kl_rc rc = open_token(key, 1, err);

    if (rc == KL_OK) {
        rc = kl_pair_generate(kl_hsm_session(key->hsm), KL_PAIR_CA, key->conf->key_label, type,
                              bits, &key->pkey, err);
    }
    return rc;
}

/* ---- Encrypted file ---- */

/* Writes pkey to path under the passphrase. */
static enum kl_rc write_encrypted(const char *path, EVP_PKEY *pkey, struct kl_secret *passphrase,
                                  struct kl_err *err)
{
    PKCS8_PRIV_KEY_INFO *clear = EVP_PKEY2PKCS8(pkey);
    X509_ALGOR *pbe = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, SCRYPT_SALT, NULL, SCRYPT_N,
                                            SCRYPT_R, SCRYPT_P);
    X509_SIG *sealed = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    enum kl_rc rc;

    if (clear && pbe && bio) {
        sealed = PKCS8_set0_pbe((const char *)kl_secret_data(passphrase),
                                (int)kl_secret_len(passphrase), clear, pbe);
    }
    if (!sealed || PEM_write_bio_PKCS8(bio, sealed) != 1) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "PKCS8_set0_pbe", "encrypting %s", path);
    } else {
        long len = BIO_get_mem_data(bio, &pem);
        rc = kl_file_write(path, pem, (size_t)len, 0600, 0, err);
    }
    BIO_free(bio);
    if (!sealed) { /* which owns pbe otherwise */
        X509_ALGOR_free(pbe);
    }
    X509_SIG_free(sealed);
    PKCS8_PRIV_KEY_INFO_free(clear);
    return rc;
}

/* NULL if OpenSSL fails. */
static EVP_PKEY *generate(enum kl_key_type type, unsigned bits)
{
    const struct kl_curve *curve = kl_curve_by_bits(bits);

    if (type == KL_KEY_EC) {
        return curve ? EVP_EC_gen(curve->group) : NULL;
    }
    return EVP_RSA_gen(bits);
}

static enum kl_rc generate_file(struct kl_cakey *key, enum kl_key_type type, unsigned bits,
                                struct kl_err *err)
{
    struct kl_secret *passphrase = NULL;
    const char *source = *key->conf->pin_source ? key->conf->pin_source : NULL;
    enum kl_rc rc;

    if (access(key->pem_path, F_OK) == 0) {
        return kl_err_set(err, KL_ERR_EXISTS, "%s exists; a CA key is never overwritten",
                          key->pem_path);
    }
    rc = kl_pin_choose(source, "Passphrase of the CA's key", &passphrase, err);
    if (rc != KL_OK) {
        return rc;
    }
    if (kl_secret_len(passphrase) < KL_CA_PASSPHRASE_MIN) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "passphrase of a CA's key: at least %d bytes",
                        KL_CA_PASSPHRASE_MIN);
        goto out;
    }
    key->pkey = generate(type, bits);
    rc = key->pkey ? write_encrypted(key->pem_path, key->pkey, passphrase, err)
                   : kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_PKEY_generate", "CA key");
out:
    kl_secret_free(passphrase);
    return rc;
}

/* The file is looked at before anybody types a passphrase for it. */
static enum kl_rc open_file(struct kl_cakey *key, struct kl_err *err)
{
    const char *source = *key->conf->pin_source ? key->conf->pin_source : NULL;
    struct kl_secret *passphrase = NULL;
    char *text = NULL;
    size_t len;
    enum kl_rc rc = kl_file_read(key->pem_path, KL_PKCS8_FILE_MAX, &text, &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_pkcs8_check(text, len, err);
    if (rc == KL_OK) {
        rc = kl_pin_read(source, "Passphrase of the CA's key", &passphrase, err);
    }
    if (rc == KL_OK) {
        rc = kl_pkcs8_open(text, len, passphrase, &key->pkey, err);
    }
    kl_secret_free(passphrase);
    free(text);
    return rc == KL_OK ? kl_signer_pkey(KL_PAIR_CA, key->pkey, &key->signer, err)
                       : kl_err_context(err, "%s", key->pem_path);
}

/* ---- Both ---- */

void kl_cakey_discard(struct kl_cakey *key, struct kl_err *err)
{
    struct kl_err failure = KL_ERR_INIT;

    if (*key->conf->pem) {
        if (unlink(key->pem_path) != 0) {
            kl_err_context(err, "remove %s yourself", key->pem_path);
        }
    } else if (kl_pair_destroy(kl_hsm_session(key->hsm), key->conf->key_label, &failure) != KL_OK) {
        kl_err_context(err, "the pair \"%s\" was left in the token (%s)", key->conf->key_label,
                       failure.text);
    }
    kl_cakey_free(key);
}

enum kl_rc kl_cakey_generate(const struct kl_ca_conf *conf, const char *dir, enum kl_key_type type,
                             unsigned bits, struct kl_cakey **out, struct kl_err *err)
{
    struct kl_cakey *key = new_key(conf, dir, err);
    enum kl_rc rc;

    if (!key) {
        return err->rc;
    }
    rc = *conf->pem ? generate_file(key, type, bits, err) : generate_in_token(key, type, bits, err);
    if (rc != KL_OK) {
        kl_cakey_free(key);
        return rc;
    }
    rc =
        *conf->pem ? kl_signer_pkey(KL_PAIR_CA, key->pkey, &key->signer, err) : find_pair(key, err);
    if (rc != KL_OK) {
        kl_cakey_discard(key, err);
        return rc;
    }
    *out = key;
    return KL_OK;
}

enum kl_rc kl_cakey_open(const struct kl_ca_conf *conf, const char *dir, const X509 *root,
                         struct kl_cakey **out, struct kl_err *err)
{
    struct kl_cakey *key = new_key(conf, dir, err);
    enum kl_rc rc;

    if (!key) {
        return err->rc;
    }
    if (*conf->pem) {
        rc = open_file(key, err);
    } else if ((rc = open_token(key, 0, err)) == KL_OK) {
        rc = find_pair(key, err);
    }
    if (rc == KL_OK && EVP_PKEY_eq(key->pkey, X509_get0_pubkey(root)) != 1) {
        kl_err_openssl_clear();
        rc = kl_err_set(err, KL_ERR_KEY, "%s is not the key that root.pem certifies",
                        *conf->pem ? key->pem_path : conf->key_label);
    }
    if (rc == KL_OK) {
        key->conf = NULL;
        *out = key;
        key = NULL;
    }
    kl_cakey_free(key);
    return rc;
}

enum kl_rc kl_cakey_open_home(const char *dir, const char *pin_source, const X509 *root,
                              struct kl_cakey **out, struct kl_err *err)
{
    struct kl_ca_conf conf = {0};
    enum kl_rc rc = kl_home_load_conf(dir, &conf, err);

    if (rc != KL_OK) {
        return rc;
    }
    struct kl_ca_conf effective = conf; /* borrows conf's strings */
    if (pin_source) {
        effective.pin_source = (char *)pin_source;
    }
    rc = kl_cakey_open(&effective, dir, root, out, err);
    kl_home_wipe_conf(&conf);
    return rc;
}
