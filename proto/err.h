/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Error detail, owned by the caller (usually on the stack), filled where the error happens, given
 * context on the way up, and logged or printed once by whoever handles it. Never holds a secret.
 */
#ifndef KL_PROTO_ERR_H
#define KL_PROTO_ERR_H

#include "proto/rc.h"

enum kl_err_source {
    KL_ERR_SOURCE_SELF,    /* our own check; native is 0 */
    KL_ERR_SOURCE_ERRNO,   /* native is errno */
    KL_ERR_SOURCE_OPENSSL, /* native is ERR_peek_last_error() */
    KL_ERR_SOURCE_PKCS11,  /* native is a CK_RV */
    KL_ERR_SOURCE_SQLITE,  /* native is an extended SQLite code */
};

struct kl_err {
    enum kl_rc rc;
    enum kl_err_source source;
    unsigned long native;
    char op[32];    /* failing native operation, e.g. "C_UnwrapKey"; "" if none */
    char text[320]; /* what, where, what to do; always NUL-terminated */
};

#define KL_ERR_INIT \
    { \
        KL_OK, KL_ERR_SOURCE_SELF, 0, "", "" \
    }

/* All of these take err != NULL and return the rc they store, so that callers can `return` it. */

/* Fills err with our own finding. */
enum kl_rc kl_err_set(struct kl_err *err, enum kl_rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* From errno as it stands on entry. Picks KL_ERR_NO_FILE, KL_ERR_PERMISSION, KL_ERR_EXISTS,
 * KL_ERR_IO, KL_ERR_MEMORY or KL_ERR_SYSTEM; the message is followed by strerror's text. */
enum kl_rc kl_err_errno(struct kl_err *err, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Empties the thread's OpenSSL error queue: before OpenSSL is called, since whatever ran before, a
 * PKCS#11 module too, may have left errors of its own; and after a failure that is told in other
 * words than OpenSSL's. What ERR_clear_error does, at a tenth of its price where there is nothing
 * to do. */
void kl_err_openssl_clear(void);

/* From the thread's OpenSSL error queue, which is emptied. rc says what the failure means here;
 * an allocation failure in the queue overrides it with KL_ERR_MEMORY. */
enum kl_rc kl_err_openssl(struct kl_err *err, enum kl_rc rc, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* From another library; the caller has mapped native to rc. */
enum kl_rc kl_err_native(struct kl_err *err, enum kl_rc rc, enum kl_err_source source,
                         unsigned long native, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Puts "context: " before the text that is there; returns err->rc. Truncates at the end. */
enum kl_rc kl_err_context(struct kl_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
