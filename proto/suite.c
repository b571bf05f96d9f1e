/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of suites, labels of the derived keys, and what each MAC and signature covers.
 */
#include "proto/suite.h"

#include <stdlib.h>
#include <string.h>

#include "proto/digest.h"

#define LABEL_PREFIX "keyloader/1 "
#define ACK_RESULT_OK 0x01 /* the only result that is ever acknowledged: the TMK is written */

#define PROOF_PREFIX LABEL_PREFIX "randoms" /* followed by its NUL */
#define UNSIGNED_MAX 1024                   /* bytes of a Randoms without its signature */

static const struct suite {
    const char *name;
    enum kl_key_type key_type;
} suites[KL_SUITE_COUNT + 1] = {
    [KL_SUITE_HARDENED_RSA] = {"hardened-rsa", KL_KEY_RSA},
    [KL_SUITE_CLASSIC] = {"classic", KL_KEY_RSA},
    [KL_SUITE_HARDENED_EC] = {"hardened-ec", KL_KEY_EC},
};

const char *kl_suite_name(unsigned suite)
{
    return suite <= KL_SUITE_COUNT ? suites[suite].name : NULL;
}

enum kl_key_type kl_suite_key_type(enum kl_suite suite)
{
    if (!kl_suite_name(suite)) {
        abort();
    }
    return suites[suite].key_type;
}

unsigned kl_suite_by_name(const char *name)
{
    for (unsigned suite = 1; suite <= KL_SUITE_COUNT; suite++) {
        if (strcmp(suites[suite].name, name) == 0) {
            return suite;
        }
    }
    return 0;
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
    case KL_PURPOSE_KEYS:
        return "keys";
    }
    abort(); /* a caller's mistake that must never yield a key */
}

/* SHA-256(prefix + text + NUL + T0 + extra). */
static enum kl_rc hash_label(const char *text, const uint8_t t0[KL_HASH_LEN], const uint8_t *extra,
                             size_t extra_len, uint8_t label[KL_HASH_LEN], struct kl_err *err)
{
    uint8_t in[sizeof(LABEL_PREFIX) + 16 + KL_HASH_LEN + KL_EC_POINT_MAX];
    size_t prefix_len = sizeof(LABEL_PREFIX) - 1, text_len = strlen(text) + 1; /* with its NUL */
    size_t len = prefix_len + text_len + KL_HASH_LEN;

    memcpy(in, LABEL_PREFIX, prefix_len);
    memcpy(in + prefix_len, text, text_len);
    memcpy(in + prefix_len + text_len, t0, KL_HASH_LEN);
    if (extra_len > 0) {
        memcpy(in + len, extra, extra_len);
    }
    return kl_digest_of("SHA256", in, len + extra_len, label, NULL, err);
}

enum kl_rc kl_suite_label(enum kl_purpose purpose, const uint8_t t0[KL_HASH_LEN],
                          uint8_t label[KL_HASH_LEN], struct kl_err *err)
{
    return hash_label(purpose_text(purpose), t0, NULL, 0, label, err);
}

enum kl_rc kl_suite_ecies_label(const uint8_t t0[KL_HASH_LEN], const uint8_t *point,
                                size_t point_len, uint8_t label[KL_HASH_LEN], struct kl_err *err)
{
    if (point_len > KL_EC_POINT_MAX) {
        abort();
    }
    return hash_label("ecies", t0, point, point_len, label, err);
}

enum kl_alg kl_suite_session_alg(enum kl_alg tmk)
{
    return tmk == KL_ALG_AES128 ? KL_ALG_AES192 : KL_ALG_AES128;
}

size_t kl_suite_c_session_len(enum kl_alg tmk)
{
    return kl_alg_info(tmk)->is_aes ? kl_alg_wrapped_len(kl_alg_info(kl_suite_session_alg(tmk)))
                                    : KL_SESSION_INPUT_LEN;
}

enum kl_rc kl_suite_session_input(const uint8_t t0[KL_HASH_LEN], uint8_t out[KL_SESSION_INPUT_LEN],
                                  struct kl_err *err)
{
    uint8_t hash[KL_HASH_LEN];
    enum kl_rc rc = hash_label("session", t0, NULL, 0, hash, err);

    if (rc == KL_OK) {
        memcpy(out, hash, KL_SESSION_INPUT_LEN);
    }
    return rc;
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

size_t kl_suite_proof_input(const uint8_t t0[KL_HASH_LEN], const uint8_t *unsigned_der, size_t len,
                            uint8_t out[KL_PROOF_INPUT_MAX])
{
    size_t at = sizeof(PROOF_PREFIX);

    if (len > UNSIGNED_MAX) {
        abort();
    }
    memcpy(out, PROOF_PREFIX, at); /* with its NUL */
    memcpy(out + at, t0, KL_HASH_LEN);
    at += KL_HASH_LEN;
    memcpy(out + at, unsigned_der, len);
    return at + len;
}
