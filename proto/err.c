/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filling struct kl_err from our own checks, errno, the OpenSSL queue and other libraries. Every
 * text is built aside and copied at the end, so that arguments may point into the old text.
 */
#include "proto/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX sizeof(((struct kl_err *)NULL)->text)

static void store(struct kl_err *err, enum kl_rc rc, enum kl_err_source source,
                  unsigned long native, const char *op, const char *text)
{
    err->rc = rc;
    err->source = source;
    err->native = native;
    snprintf(err->op, sizeof(err->op), "%s", op);
    snprintf(err->text, sizeof(err->text), "%s", text);
}

/* Appends to a NUL-terminated text of TEXT_MAX bytes, cutting off what does not fit. */
static void append(char *text, const char *more)
{
    size_t len = strlen(text);

    snprintf(text + len, TEXT_MAX - len, "%s", more);
}

enum kl_rc kl_err_set(struct kl_err *err, enum kl_rc rc, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    store(err, rc, KL_ERR_SOURCE_SELF, 0, "", text);
    return rc;
}

static enum kl_rc rc_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return KL_ERR_NO_FILE;
    case EACCES:
    case EPERM:
    case EROFS:
        return KL_ERR_PERMISSION;
    case EEXIST:
        return KL_ERR_EXISTS;
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EPIPE:
    case ECONNRESET:
        return KL_ERR_IO;
    case ENOMEM:
        return KL_ERR_MEMORY;
    default:
        return KL_ERR_SYSTEM;
    }
}

enum kl_rc kl_err_errno(struct kl_err *err, const char *op, const char *fmt, ...)
{
    int number = errno;
    enum kl_rc rc = rc_of_errno(number);
    char text[TEXT_MAX], reason[128];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    append(text, ": ");
    append(text, strerror_r(number, reason, sizeof(reason)));
    store(err, rc, KL_ERR_SOURCE_ERRNO, (unsigned long)number, op, text);
    return rc;
}

void kl_err_openssl_clear(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

/* Empties the queue into text, oldest (the cause) first. Returns 1 if memory had run out. */
static int drain_openssl(char *text)
{
    const char *data, *reason;
    int flags, out_of_memory = 0;
    unsigned long code;

    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
            out_of_memory = 1;
        }
        reason = ERR_reason_error_string(code);
        append(text, ": ");
        append(text, reason ? reason : "unknown OpenSSL error");
        if ((flags & ERR_TXT_STRING) && data[0] != '\0') {
            append(text, " (");
            append(text, data);
            append(text, ")");
        }
    }
    return out_of_memory;
}

enum kl_rc kl_err_openssl(struct kl_err *err, enum kl_rc rc, const char *op, const char *fmt, ...)
{
    unsigned long native = ERR_peek_last_error();
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (drain_openssl(text)) {
        rc = KL_ERR_MEMORY;
    }
    store(err, rc, KL_ERR_SOURCE_OPENSSL, native, op, text);
    return rc;
}

enum kl_rc kl_err_native(struct kl_err *err, enum kl_rc rc, enum kl_err_source source,
                         unsigned long native, const char *op, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    store(err, rc, source, native, op, text);
    return rc;
}

enum kl_rc kl_err_context(struct kl_err *err, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    append(text, ": ");
    append(text, err->text);
    memcpy(err->text, text, sizeof(text));
    return err->rc;
}
