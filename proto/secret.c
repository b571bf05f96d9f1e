/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Secrets in OpenSSL's secure heap. The heap is set up once for the process, by kl_secret_setup
 * or, in a program that never calls it, by the first kl_secret_new; a heap that could not be
 * locked is given back and reported, never used.
 */
#include "proto/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define HEAP_SIZE ((size_t)1 << 20) /* bytes; a power of two */
#define HEAP_UNIT 16                /* bytes of the smallest allocation */
#define CAPACITY_MAX 65536

struct kl_secret {
    size_t capacity, len;
    uint8_t *data; /* in the secure heap */
};

static size_t heap_size = HEAP_SIZE; /* set by kl_secret_reserve, before there are threads */

static enum kl_rc open_heap(struct kl_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    enum kl_rc rc = KL_OK;
    int result;

    pthread_mutex_lock(&lock);
    if (CRYPTO_secure_malloc_initialized()) {
        goto out;
    }
    errno = 0;
    result = CRYPTO_secure_malloc_init(heap_size, HEAP_UNIT);
    if (result == 1) {
        goto out;
    }
    rc = kl_err_native(err, KL_ERR_SYSTEM, KL_ERR_SOURCE_ERRNO, (unsigned long)errno,
                       "CRYPTO_secure_malloc_init",
                       "cannot lock %zu KiB of memory for secrets: raise RLIMIT_MEMLOCK "
                       "(ulimit -l, or LimitMEMLOCK= in the service unit)",
                       heap_size / 1024);
    if (result == 2) { /* made, but not locked */
        CRYPTO_secure_malloc_done();
    }
out:
    pthread_mutex_unlock(&lock);
    return rc;
}

enum kl_rc kl_secret_setup(struct kl_err *err)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        kl_err_errno(err, "setrlimit", "cannot forbid core files");
        return err->rc = KL_ERR_SYSTEM;
    }
    if (prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0) {
        kl_err_errno(err, "prctl", "cannot forbid ptrace and core files");
        return err->rc = KL_ERR_SYSTEM;
    }
    return open_heap(err);
}

enum kl_rc kl_secret_reserve(size_t bytes, struct kl_err *err)
{
    size_t size = heap_size;

    while (size < bytes && size < KL_SECRET_HEAP_MAX) {
        size *= 2;
    }
    if (bytes > size) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a heap of %zu bytes for secrets is too large",
                          bytes);
    }
    if (size == heap_size) {
        return KL_OK;
    }
    if (CRYPTO_secure_malloc_initialized() && !CRYPTO_secure_malloc_done()) {
        return kl_err_set(err, KL_ERR_INTERNAL, "the heap for secrets is in use already");
    }
    heap_size = size;
    return open_heap(err);
}

enum kl_rc kl_secret_new(size_t capacity, struct kl_secret **out, struct kl_err *err)
{
    struct kl_secret *secret = NULL;
    enum kl_rc rc;

    if (capacity == 0 || capacity > CAPACITY_MAX) {
        return kl_err_set(err, KL_ERR_INTERNAL, "secret buffer of %zu bytes: must be 1 to %d",
                          capacity, CAPACITY_MAX);
    }
    rc = open_heap(err);
    if (rc != KL_OK) {
        return rc;
    }
    secret = calloc(1, sizeof(*secret));
    if (!secret) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a secret buffer");
    }
    secret->data = OPENSSL_secure_zalloc(capacity);
    if (!secret->data) {
        free(secret);
        return kl_err_set(err, KL_ERR_MEMORY, "no %zu bytes left in the heap for secrets",
                          capacity);
    }
    secret->capacity = capacity;
    *out = secret;
    return KL_OK;
}

void kl_secret_free(struct kl_secret *secret)
{
    if (!secret) {
        return;
    }
    OPENSSL_secure_clear_free(secret->data, secret->capacity);
    free(secret);
}

uint8_t *kl_secret_data(struct kl_secret *secret)
{
    return secret->data;
}

size_t kl_secret_len(const struct kl_secret *secret)
{
    return secret->len;
}

size_t kl_secret_capacity(const struct kl_secret *secret)
{
    return secret->capacity;
}

void kl_secret_set_len(struct kl_secret *secret, size_t len)
{
    if (len > secret->capacity) {
        abort();
    }
    secret->len = len;
}

void kl_wipe(void *data, size_t len)
{
    OPENSSL_cleanse(data, len);
}
