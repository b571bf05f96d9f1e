/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key pairs: generated, found and destroyed. What is generated here is what the find functions
 * accept.
 */
#include "pkcs11/keys.h"

#include "pkcs11/key_policy.h"
#include "pkcs11/object.h"
#include "pkcs11/ops.h"
#include "pkcs11/rv.h"
#include "pkcs11/tmpl.h"
#include "proto/cert.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Generating ---- */

/* What makes a key of that type and size: for the public half's template. */
static void add_kind(struct kl_tmpl *tmpl, enum kl_key_type type, unsigned bits)
{
    static const uint8_t f4[] = {0x01, 0x00, 0x01};
    const struct kl_curve *curve = kl_curve_by_bits(bits);

    if (type == KL_KEY_EC && curve) {
        kl_tmpl_bytes(tmpl, CKA_EC_PARAMS, curve->oid, curve->oid_len);
    } else {
        kl_tmpl_number(tmpl, CKA_MODULUS_BITS, bits);
        kl_tmpl_bytes(tmpl, CKA_PUBLIC_EXPONENT, f4, sizeof(f4));
    }
}

static CK_RV generate_pair(struct kl_session *session, enum kl_key_type type,
                           const struct kl_tmpl *public, struct kl_tmpl *private,
                           CK_OBJECT_HANDLE handles[2])
{
    CK_MECHANISM mechanism = {type == KL_KEY_EC ? CKM_EC_KEY_PAIR_GEN : CKM_RSA_PKCS_KEY_PAIR_GEN,
                              NULL, 0};
    CK_RV rv;

    do {
        rv = kl_session_functions(session)->C_GenerateKeyPair(
            kl_session_handle(session), &mechanism, (CK_ATTRIBUTE *)public->attrs, public->count,
            private->attrs, private->count, &handles[0], &handles[1]);
    } while (kl_mechanisms_drop(session, rv, private));
    return rv;
}

enum kl_rc kl_pair_generate(struct kl_session *session, enum kl_pair_role role, const char *label,
                            enum kl_key_type type, unsigned bits, EVP_PKEY **public_key,
                            struct kl_err *err)
{
    CK_OBJECT_HANDLE handles[2] = {CK_INVALID_HANDLE, CK_INVALID_HANDLE}, found;
    const struct kl_pair_policy *policy = kl_pair_policy(role);
    const struct kl_mechanisms *mechanisms;
    struct kl_tmpl unwrap, public, private;
    EVP_PKEY *key = NULL;
    uint8_t id[KL_KEY_ID_LEN];
    enum kl_rc rc;
    CK_RV rv;

    if ((rc = kl_pair_mechanisms(policy, type, bits, &mechanisms, err)) != KL_OK ||
        (rc = kl_key_check_free(session, label, err)) != KL_OK ||
        (rc = kl_op_random(session, id, sizeof(id), err)) != KL_OK) {
        return rc;
    }
    kl_pair_public_template(&public, policy, label, id);
    add_kind(&public, type, bits);
    kl_pair_private_template(&private, policy, mechanisms, label, id, &unwrap);
    rv = generate_pair(session, type, &public, &private, handles);
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GenerateKeyPair", "%s \"%s\" cannot be generated",
                         policy->name, label);
    }
    /* Believe what the token holds, not what it was asked for. */
    rc = kl_pair_find(session, role, label, &found, &key, err);
    if (rc != KL_OK) {
        kl_op_destroy(session, &handles[1]);
        kl_op_destroy(session, &handles[0]);
        return kl_err_context(err, "the token made a key that is not as asked, removed again");
    }
    *public_key = key;
    return KL_OK;
}

/* ---- Finding ---- */

/* The public key of a pair. An EC private key need not hold its point: then the public object of
 * the same label does. */
static enum kl_rc read_public(struct kl_session *session, CK_OBJECT_HANDLE private, CK_ULONG type,
                              const char *label, const char *what, EVP_PKEY **out,
                              struct kl_err *err)
{
    CK_OBJECT_HANDLE public = CK_INVALID_HANDLE;
    enum kl_rc rc;

    if (type == CKK_RSA) {
        return kl_object_rsa_public(session, private, out, err);
    }
    rc = kl_object_ec_public(session, private, out, err);
    if (rc == KL_ERR_NOT_FOUND) {
        rc = kl_key_find_one(session, CKO_PUBLIC_KEY, label, what, &public, err);
        if (rc != KL_OK) {
            return kl_err_context(err, "public half");
        }
        rc = kl_object_ec_public(session, public, out, err);
        if (rc == KL_ERR_NOT_FOUND) {
            err->rc = rc = KL_ERR_KEY;
        }
    }
    return rc;
}

static enum kl_rc read_type(struct kl_session *session, CK_OBJECT_HANDLE handle, const char *what,
                            CK_ULONG *out, struct kl_err *err)
{
    return kl_object_number(session, handle, CKA_KEY_TYPE, "CKA_KEY_TYPE", what, out, err);
}

/* The attributes of a private key of that role; the caller has seen to its type. */
static enum kl_rc check_private(struct kl_session *session, const struct kl_pair_policy *policy,
                                CK_OBJECT_HANDLE handle, const char *what, struct kl_err *err)
{
    const unsigned can = policy->private_can;
    const struct kl_demand demands[] = {
        KL_DEMAND_BOOL(CKA_PRIVATE, 1),
        KL_DEMAND_BOOL(CKA_SENSITIVE, 1),
        KL_DEMAND_BOOL(CKA_EXTRACTABLE, 0),
        KL_DEMAND_BOOL(CKA_SIGN, (can & KL_CAN_SIGN) != 0),
        KL_DEMAND_BOOL(CKA_SIGN_RECOVER, 0),
        KL_DEMAND_BOOL(CKA_DECRYPT, (can & KL_CAN_DECRYPT) != 0),
        KL_DEMAND_BOOL(CKA_UNWRAP, (can & KL_CAN_UNWRAP) != 0),
        KL_DEMAND_BOOL(CKA_DERIVE, (can & KL_CAN_DERIVE) != 0),
        KL_DEMAND_BOOL(CKA_ALWAYS_AUTHENTICATE, 0), /* nobody is there to type a PIN */
    };
    enum kl_rc rc = kl_object_demand(session, handle, demands, COUNT(demands), what, err);

    return rc == KL_OK ? kl_key_never_outside(session, handle, what, err) : rc;
}

enum kl_rc kl_pair_find(struct kl_session *session, enum kl_pair_role role, const char *label,
                        CK_OBJECT_HANDLE *private_key, EVP_PKEY **public_key, struct kl_err *err)
{
    const struct kl_pair_policy *policy = kl_pair_policy(role);
    const struct kl_mechanisms *mechanisms = NULL;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    enum kl_key_type type;
    EVP_PKEY *key = NULL;
    char what[KL_KEY_WHAT_MAX];
    CK_ULONG token_type = 0;
    unsigned bits;
    enum kl_rc rc;

    kl_key_what(policy->name, label, what);
    if ((rc = kl_key_find_one(session, CKO_PRIVATE_KEY, label, what, &handle, err)) != KL_OK ||
        (rc = read_type(session, handle, what, &token_type, err)) != KL_OK) {
        return rc;
    }
    if (token_type != CKK_RSA && token_type != CKK_EC) {
        return kl_err_set(err, KL_ERR_KEY, "%s: CKA_KEY_TYPE is %lu, must be %lu or %lu", what,
                          token_type, CKK_RSA, CKK_EC);
    }
    if ((rc = check_private(session, policy, handle, what, err)) != KL_OK) {
        return rc;
    }
    if ((rc = read_public(session, handle, token_type, label, what, &key, err)) != KL_OK) {
        return kl_err_context(err, "%s", what);
    }
    /* Size, exponent and curve as everywhere else, and of a type that the role can be of. */
    if ((rc = kl_pubkey_type(key, &type, &bits, err)) != KL_OK ||
        (rc = kl_pair_mechanisms(policy, type, bits, &mechanisms, err)) != KL_OK) {
        err->rc = rc = KL_ERR_KEY;
        kl_err_context(err, "%s", what);
    } else if (mechanisms) {
        rc = kl_key_check_mechanisms(session, handle, mechanisms, what, err);
    }
    if (rc == KL_OK) {
        *private_key = handle;
        *public_key = key;
        key = NULL;
    }
    EVP_PKEY_free(key);
    return rc;
}

enum kl_rc kl_pair_find_work(struct kl_session *session, const char *label, enum kl_suite *suite,
                             CK_OBJECT_HANDLE *private_key, EVP_PKEY **public_key,
                             struct kl_err *err)
{
    static const struct kl_demand classic[] = {KL_DEMAND_BOOL(CKA_DECRYPT, 1),
                                               KL_DEMAND_BOOL(CKA_UNWRAP, 0)};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    enum kl_suite is = KL_SUITE_HARDENED_RSA;
    char what[KL_KEY_WHAT_MAX];
    CK_ULONG type = 0;
    enum kl_rc rc;

    kl_key_what("work key", label, what);
    if ((rc = kl_key_find_one(session, CKO_PRIVATE_KEY, label, what, &handle, err)) != KL_OK ||
        (rc = read_type(session, handle, what, &type, err)) != KL_OK) {
        return rc;
    }
    if (type == CKK_EC) {
        is = KL_SUITE_HARDENED_EC;
    } else {
        rc = kl_object_demand(session, handle, classic, COUNT(classic), what, err);
        if (rc == KL_OK) {
            is = KL_SUITE_CLASSIC;
        } else if (rc != KL_ERR_KEY) {
            return rc;
        }
    }
    rc = kl_pair_find(session, kl_pair_role_of(is), label, private_key, public_key, err);
    if (rc == KL_OK) {
        *suite = is;
    }
    return rc;
}

/* ---- Destroying ---- */

enum kl_rc kl_pair_destroy(struct kl_session *session, const char *label, struct kl_err *err)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    CK_FUNCTION_LIST *f = kl_session_functions(session);
    CK_OBJECT_HANDLE handles[2];
    size_t counts[2] = {0, 0};
    enum kl_rc rc = kl_key_check_label(label, err);

    /* Both halves are looked up before either is destroyed. */
    for (size_t i = 0; rc == KL_OK && i < COUNT(classes); i++) {
        rc = kl_object_find(session, classes[i], label, &handles[i], 1, &counts[i], err);
        if (rc == KL_OK && counts[i] > 1) {
            rc = kl_err_set(err, KL_ERR_KEY, "the token has several keys \"%s\"; remove by hand",
                            label);
        }
    }
    if (rc == KL_OK && counts[0] + counts[1] == 0) {
        rc = kl_err_set(err, KL_ERR_KEY, "the token has no key pair \"%s\"", label);
    }
    for (size_t i = 0; rc == KL_OK && i < COUNT(classes); i++) {
        CK_RV rv = counts[i] ? f->C_DestroyObject(kl_session_handle(session), handles[i]) : CKR_OK;
        if (rv != CKR_OK) {
            rc = kl_rv_err(err, rv, "C_DestroyObject", "key pair \"%s\"", label);
        }
    }
    return rc;
}

enum kl_rc kl_key_destroy(struct kl_session *session, CK_OBJECT_HANDLE key, const char *label,
                          struct kl_err *err)
{
    CK_RV rv = kl_session_functions(session)->C_DestroyObject(kl_session_handle(session), key);

    return rv == CKR_OK ? KL_OK : kl_rv_err(err, rv, "C_DestroyObject", "key \"%s\"", label);
}
