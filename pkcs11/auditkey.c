/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit key. */
#include "pkcs11/auditkey.h"

#include <stdlib.h>

#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "proto/pubkey.h"

#define EC_BITS 256
#define RSA_BITS 3072

struct kl_audit_key {
    struct kl_session *session;
    CK_OBJECT_HANDLE private_key;
    EVP_PKEY *public_key;
    uint8_t hash[KL_HASH_LEN];
    const struct kl_curve *curve; /* NULL: RSA */
};

enum kl_rc kl_audit_key_generate(struct kl_session *session, const char *label,
                                 EVP_PKEY **public_key, struct kl_err *err)
{
    enum kl_rc rc =
        kl_pair_generate(session, KL_PAIR_AUDIT, label, KL_KEY_EC, EC_BITS, public_key, err);

    if (rc == KL_ERR_HSM_LACKS) {
        rc = kl_pair_generate(session, KL_PAIR_AUDIT, label, KL_KEY_RSA, RSA_BITS, public_key, err);
    }
    return rc;
}

enum kl_rc kl_audit_key_open(struct kl_session *session, const char *label,
                             struct kl_audit_key **out, struct kl_err *err)
{
    struct kl_audit_key *key = calloc(1, sizeof(*key));
    enum kl_key_type type;
    unsigned bits;
    enum kl_rc rc;

    if (!key) {
        return kl_err_set(err, KL_ERR_MEMORY, "audit key");
    }
    key->session = session;
    if ((rc = kl_pair_find(session, KL_PAIR_AUDIT, label, &key->private_key, &key->public_key,
                           err)) != KL_OK ||
        (rc = kl_pubkey_type(key->public_key, &type, &bits, err)) != KL_OK ||
        (rc = kl_pubkey_hash(key->public_key, key->hash, err)) != KL_OK) {
        kl_audit_key_close(key);
        return rc;
    }
    key->curve = type == KL_KEY_EC ? kl_curve_by_bits(bits) : NULL;
    *out = key;
    return KL_OK;
}

void kl_audit_key_close(struct kl_audit_key *key)
{
    if (key) {
        EVP_PKEY_free(key->public_key);
        free(key);
    }
}

EVP_PKEY *kl_audit_key_public(const struct kl_audit_key *key)
{
    return key->public_key;
}

const uint8_t *kl_audit_key_hash(const struct kl_audit_key *key)
{
    return key->hash;
}

enum kl_rc kl_audit_key_sign(const struct kl_audit_key *key, const uint8_t *in, size_t in_len,
                             uint8_t out[KL_AUDIT_SIGNATURE_MAX], size_t *len, struct kl_err *err)
{
    enum kl_rc rc = key->curve ? kl_op_sign_ecdsa(key->session, key->private_key, key->curve, in,
                                                  in_len, out, KL_AUDIT_SIGNATURE_MAX, len, err)
                               : kl_op_sign_pss(key->session, key->private_key, in, in_len, out,
                                                KL_AUDIT_SIGNATURE_MAX, len, err);

    /* A signature that nobody can verify is found now, not by the auditor. */
    return rc == KL_OK ? kl_pubkey_verify(key->public_key, out, *len, in, in_len, err) : rc;
}
