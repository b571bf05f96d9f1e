/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The running hash over a session's messages, which binds every key and signature to them.
 */
#include "proto/transcript.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "proto/digest.h"

struct kl_transcript {
    EVP_MD_CTX *md;
};

enum kl_rc kl_transcript_new(struct kl_transcript **out, struct kl_err *err)
{
    struct kl_transcript *transcript = calloc(1, sizeof(*transcript));

    if (!transcript) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a transcript");
    }
    kl_err_openssl_clear();
    transcript->md = EVP_MD_CTX_new();
    if (!transcript->md || !EVP_DigestInit_ex(transcript->md, kl_digest("SHA256"), NULL)) {
        kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_DigestInit_ex", "cannot start a transcript");
        kl_transcript_free(transcript);
        return err->rc;
    }
    *out = transcript;
    return KL_OK;
}

void kl_transcript_free(struct kl_transcript *transcript)
{
    if (!transcript) {
        return;
    }
    EVP_MD_CTX_free(transcript->md);
    free(transcript);
}

enum kl_rc kl_transcript_add(struct kl_transcript *transcript, const uint8_t *der, size_t len,
                             struct kl_err *err)
{
    kl_err_openssl_clear();
    if (!EVP_DigestUpdate(transcript->md, der, len)) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_DigestUpdate",
                              "cannot add to the transcript");
    }
    return KL_OK;
}

enum kl_rc kl_transcript_hash(const struct kl_transcript *transcript, uint8_t out[KL_HASH_LEN],
                              struct kl_err *err)
{
    EVP_MD_CTX *copy;
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc = KL_OK;

    kl_err_openssl_clear();
    copy = EVP_MD_CTX_new();
    if (copy && EVP_MD_CTX_copy_ex(copy, transcript->md) && EVP_DigestFinal_ex(copy, hash, NULL)) {
        memcpy(out, hash, KL_HASH_LEN);
    } else {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_DigestFinal_ex",
                            "cannot hash the transcript");
    }
    EVP_MD_CTX_free(copy);
    return rc;
}
