/* SPDX-License-Identifier: BSD-2-Clause */
/* Elliptic curves: ECDSA with a work key (S7), and the ephemeral pair of a PIN pad (S5). */
#include "pkcs11/ops.h"

#include <string.h>

#include "pkcs11/object.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/digest.h"
#include "proto/pubkey.h"

enum kl_rc kl_op_sign_ecdsa(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                            const struct kl_curve *curve, const uint8_t *in, size_t in_len,
                            uint8_t *out, size_t capacity, size_t *len, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    uint8_t hash[EVP_MAX_MD_SIZE], signature[2 * KL_EC_FIELD_MAX];
    size_t hash_len = 0, n = 0;
    enum kl_rc rc = kl_digest_of(curve->hash, in, in_len, hash, &hash_len, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_op_sign(session, private_key, &mechanism, "C_Sign(CKM_ECDSA)", hash, hash_len,
                    signature, sizeof(signature), &n, err);
    if (rc != KL_OK) {
        return rc;
    }
    if (n != 2 * curve->field_len || n > capacity) {
        return kl_err_set(err, KL_ERR_HSM, "C_Sign(CKM_ECDSA) gave %zu bytes on %s", n,
                          curve->name);
    }
    memcpy(out, signature, n);
    *len = n;
    return KL_OK;
}

/* The uncompressed point of a public key object. */
static enum kl_rc read_point(struct kl_session *session, CK_OBJECT_HANDLE public_key,
                             uint8_t *point, size_t *len, struct kl_err *err)
{
    EVP_PKEY *key = NULL;
    enum kl_rc rc = kl_object_ec_public(session, public_key, &key, err);

    if (rc == KL_OK) {
        rc = kl_ec_to_point(key, point, len, err);
    }
    EVP_PKEY_free(key);
    return rc;
}

enum kl_rc kl_op_generate_ephemeral(struct kl_session *session, const struct kl_curve *curve,
                                    CK_OBJECT_HANDLE *private_key, uint8_t *point,
                                    size_t *point_len, struct kl_err *err)
{
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE pair[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE};
    struct kl_tmpl public, private;
    enum kl_rc rc;
    CK_RV rv;

    kl_tmpl_init(&public);
    kl_tmpl_bytes(&public, CKA_EC_PARAMS, curve->oid, curve->oid_len);
    kl_tmpl_bool(&public, CKA_TOKEN, 0);
    kl_tmpl_bool(&public, CKA_PRIVATE, 0);
    kl_tmpl_can(&public, CKO_PUBLIC_KEY, 0);
    kl_tmpl_seal(&public);
    kl_tmpl_init(&private);
    kl_tmpl_bool(&private, CKA_TOKEN, 0);
    kl_tmpl_bool(&private, CKA_PRIVATE, 1);
    kl_tmpl_bool(&private, CKA_SENSITIVE, 1);
    kl_tmpl_bool(&private, CKA_EXTRACTABLE, 0);
    kl_tmpl_can(&private, CKO_PRIVATE_KEY, KL_CAN_DERIVE);
    kl_tmpl_seal(&private);
    rv = kl_session_functions(session)->C_GenerateKeyPair(kl_session_handle(session), &mechanism,
                                                          public.attrs, public.count, private.attrs,
                                                          private.count, &pair[0], &pair[1]);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKeyPair(CKM_EC_KEY_PAIR_GEN)",
                         "no ephemeral key on %s", curve->name);
    }
    rc = read_point(session, pair[0], point, point_len, err);
    kl_op_destroy(session, &pair[0]);
    if (rc != KL_OK) {
        kl_op_destroy(session, &pair[1]);
        return rc;
    }
    *private_key = pair[1];
    return KL_OK;
}
