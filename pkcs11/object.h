/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding token objects and reading their attributes. For this room only. */
#ifndef KL_PKCS11_OBJECT_H
#define KL_PKCS11_OBJECT_H

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11/token.h"
#include "proto/alg.h"
#include "proto/err.h"

/* Finds token objects by class and label. handles holds `max`; *count may be more than max when
 * there are more, but never by more than one. */
enum kl_rc kl_object_find(struct kl_session *session, CK_OBJECT_CLASS class, const char *label,
                          CK_OBJECT_HANDLE *handles, size_t max, size_t *count,
                          struct kl_err *err) KL_MUST_CHECK;

/* One attribute of an object: what it is called, and what it must be. */
struct kl_demand {
    CK_ATTRIBUTE_TYPE type;
    const char *name; /* "CKA_DECRYPT" */
    CK_ULONG value;   /* of a number; 0 or 1 of a boolean */
    int is_number;
};
#define KL_DEMAND_BOOL(attr, want) \
    { \
        attr, #attr, want, 0 \
    }
#define KL_DEMAND_NUMBER(attr, want) \
    { \
        attr, #attr, want, 1 \
    }

struct kl_demands {
    const struct kl_demand *list;
    size_t count;
};

/* What every key must be that a work key unwraps (Rnd1'), and every key that a storage key unwraps
 * (a TMK): CKA_UNWRAP_TEMPLATE of the one and of the other. */
extern const struct kl_demands kl_rnd1_demands, kl_tmk_demands;

/* Adds them to a template as they are, in their order. */
struct kl_tmpl;
void kl_demands_add(const struct kl_demands *demands, struct kl_tmpl *tmpl);

/* Checks that the object has every attribute as demanded. A token that does not know a boolean
 * attribute at all is taken to mean false. KL_ERR_KEY names the first wrong one; `what` is the key
 * in words, e.g. "work key \"w1\"". */
enum kl_rc kl_object_demand(struct kl_session *session, CK_OBJECT_HANDLE object,
                            const struct kl_demand *demands, size_t count, const char *what,
                            struct kl_err *err) KL_MUST_CHECK;

/* One number attribute, e.g. CKA_KEY_TYPE; name and what are for the message. An attribute that the
 * token does not know is KL_ERR_HSM_LACKS. */
enum kl_rc kl_object_number(struct kl_session *session, CK_OBJECT_HANDLE object,
                            CK_ATTRIBUTE_TYPE type, const char *name, const char *what,
                            CK_ULONG *out, struct kl_err *err) KL_MUST_CHECK;

/* 1 if no token object can hold that attribute. Some modules say so by no more than
 * CKR_GENERAL_ERROR (NSS, whose database has no column for it), which can mean anything: so it is
 * seen on a secret key of our own ("keyloader-probe", which enciphers and is nobody's), which is
 * made with it, then without it, and destroyed. It must be a token object, since it is those that
 * this is about; one that the token did not destroy stays until the next try. No peer's bytes take
 * part: what those have caused is not tried again. */
int kl_object_cannot_hold(struct kl_session *session, const CK_ATTRIBUTE *attr);

/* The RSA public key that a key object (of either half) holds; the caller frees it. */
enum kl_rc kl_object_rsa_public(struct kl_session *session, CK_OBJECT_HANDLE object, EVP_PKEY **out,
                                struct kl_err *err) KL_MUST_CHECK;

/* The EC public key that a key object (of either half) holds: CKA_EC_PARAMS must be the OID of one
 * of our curves, CKA_EC_POINT an uncompressed point on it, in a DER OCTET STRING (PKCS#11 v2.40) or
 * bare (some modules). KL_ERR_NOT_FOUND: it holds no point, as a private key need not. KL_ERR_KEY
 * if it is not as it must be. The caller frees it. */
enum kl_rc kl_object_ec_public(struct kl_session *session, CK_OBJECT_HANDLE object, EVP_PKEY **out,
                               struct kl_err *err) KL_MUST_CHECK;

/* The point in an OCTET STRING, as a token wants CKA_EC_POINT: out holds KL_EC_POINT_DER_MAX
 * bytes. Returns the length. */
#define KL_EC_POINT_DER_MAX (KL_EC_POINT_MAX + 3)
size_t kl_ec_point_der(const uint8_t *point, size_t len, uint8_t out[KL_EC_POINT_DER_MAX]);

#endif
