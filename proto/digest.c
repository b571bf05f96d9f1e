/* SPDX-License-Identifier: BSD-2-Clause */
/* Hash functions that are kept: see digest.h. */
#include "proto/digest.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct kept {
    const char *name;
    _Atomic(EVP_MD *) md;
} kept[] = {{"SHA256", NULL}, {"SHA384", NULL}, {"SHA512", NULL}};

static struct kept *find(const char *name)
{
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (strcmp(kept[i].name, name) == 0) {
            return &kept[i];
        }
    }
    abort(); /* names are written down in this program */
}

const EVP_MD *kl_digest(const char *name)
{
    struct kept *slot = find(name);
    EVP_MD *md = atomic_load_explicit(&slot->md, memory_order_acquire), *first = NULL;

    if (md) {
        return md;
    }
    md = EVP_MD_fetch(NULL, name, NULL);
    if (md && !atomic_compare_exchange_strong(&slot->md, &first, md)) {
        EVP_MD_free(md); /* another thread was faster */
        md = first;
    }
    return md;
}

enum kl_rc kl_digest_of(const char *name, const void *in, size_t len, uint8_t *out, size_t *out_len,
                        struct kl_err *err)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    const EVP_MD *md;

    kl_err_openssl_clear();
    md = kl_digest(name);
    if (!md || EVP_Digest(in, len, hash, &n, md, NULL) != 1) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Digest", "no %s", name);
    }
    memcpy(out, hash, n);
    if (out_len) {
        *out_len = n;
    }
    return KL_OK;
}
