/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of suites, labels of the keys derived from Rnd1, and what each MAC covers.
 */
#include "proto/suite.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_PREFIX "keyloader/1 "
#define ACK_RESULT_OK 0x01 /* the only result that is ever acknowledged: the TMK is written */

const char *kl_suite_name(unsigned suite)
{
    return suite == KL_SUITE_HARDENED_RSA ? "hardened-rsa" : NULL;
}

static const char *purpose_text(enum kl_purpose purpose)
{
    switch (purpose) {
    case KL_PURPOSE_WRAP:
        return "wrap";
    case KL_PURPOSE_NONCE:
        return "nonce";
    case KL_PURPOSE_ACK:
        return "ack";
    case KL_PURPOSE_DONE:
        return "done";
    }
    abort(); /* a caller's mistake that must never yield a key */
}

enum kl_rc kl_suite_label(enum kl_purpose purpose, const uint8_t t0[KL_HASH_LEN],
                          uint8_t label[KL_HASH_LEN], struct kl_err *err)
{
    const char *text = purpose_text(purpose);
    uint8_t in[sizeof(LABEL_PREFIX) + 16 + KL_HASH_LEN];
    uint8_t hash[KL_HASH_LEN];
    size_t prefix_len = sizeof(LABEL_PREFIX) - 1, text_len = strlen(text) + 1; /* with its NUL */

    memcpy(in, LABEL_PREFIX, prefix_len);
    memcpy(in + prefix_len, text, text_len);
    memcpy(in + prefix_len + text_len, t0, KL_HASH_LEN);
    ERR_clear_error();
    if (!EVP_Digest(in, prefix_len + text_len + KL_HASH_LEN, hash, NULL, EVP_sha256(), NULL)) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Digest", "cannot hash a key label");
    }
    memcpy(label, hash, KL_HASH_LEN);
    return KL_OK;
}

size_t kl_suite_ack_input(const uint8_t t2[KL_HASH_LEN], const uint8_t *kcv, size_t kcv_len,
                          uint8_t out[KL_ACK_INPUT_MAX])
{
    if (kcv_len > KL_KCV_LEN_MAX) {
        abort();
    }
    memcpy(out, t2, KL_HASH_LEN);
    out[KL_HASH_LEN] = ACK_RESULT_OK;
    memcpy(out + KL_HASH_LEN + 1, kcv, kcv_len);
    return KL_HASH_LEN + 1 + kcv_len;
}

void kl_suite_done_input(const uint8_t t2[KL_HASH_LEN], enum kl_verdict verdict,
                         uint8_t out[KL_DONE_INPUT_LEN])
{
    memcpy(out, t2, KL_HASH_LEN);
    out[KL_HASH_LEN] = (uint8_t)verdict;
}
