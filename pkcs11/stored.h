/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys as they are stored: opened and checked, and put from under one storage key under another.
 * All of it happens in the token; host memory sees cryptograms only.
 */
#ifndef KL_PKCS11_STORED_H
#define KL_PKCS11_STORED_H

#include <p11-kit/pkcs11.h>

#include "pkcs11/binding.h"
#include "pkcs11/loader.h"
#include "pkcs11/token.h"
#include "proto/err.h"

/* A stored key as an extractable session key with KL_USE_KCV, which is the key of its KCV.
 * KL_ERR_STORE: the cryptogram is not the storage key's, or its KCV is another than the store says:
 * damaged or swapped. HSM trouble by kl_rv_err. The caller destroys *handle. */
enum kl_rc kl_stored_key_open(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                              const struct kl_stored_key *key, CK_OBJECT_HANDLE *handle,
                              struct kl_err *err) KL_MUST_CHECK;

/* That its binding fits (kl_binding_verify) and that it opens. KL_ERR_STORE names the owner. */
enum kl_rc kl_stored_key_check(struct kl_session *session, CK_OBJECT_HANDLE storage_key,
                               CK_OBJECT_HANDLE binding_key, const struct kl_binding_of *what,
                               struct kl_err *err) KL_MUST_CHECK;

/* The same, and what->key under `to` instead of `from`, bound anew; *out, which may be what->key,
 * is written only on success. */
enum kl_rc kl_stored_key_rewrap(struct kl_session *session, CK_OBJECT_HANDLE from,
                                CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE binding_key,
                                const struct kl_binding_of *what, struct kl_stored_key *out,
                                struct kl_err *err) KL_MUST_CHECK;

/* Its cryptogram under another storage key, with no binding (zero): what it would be known by if
 * it were stored under that. */
enum kl_rc kl_stored_key_under(struct kl_session *session, CK_OBJECT_HANDLE from,
                               CK_OBJECT_HANDLE to, const struct kl_stored_key *key,
                               struct kl_stored_key *out, struct kl_err *err) KL_MUST_CHECK;

#endif
