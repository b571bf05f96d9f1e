/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 101: S4, from the DER in the Certificate message to a public key that may be used. */
#include "terminal-sim/auth.h"

#include <stdlib.h>
#include <string.h>

#define MEMO_MAX 4 /* results: of as many chains as a loader may have for us */

static enum kl_rc decode_chain(const struct kl_certificate *msg, STACK_OF(X509) * *out,
                               struct kl_err *err)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *cert;
    size_t i;
    enum kl_rc rc = KL_OK;

    if (!chain) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "sk_X509_new_null", "certificate chain");
    }
    for (i = 0; !rc && i < msg->chain_count; i++) {
        rc = kl_cert_from_der(msg->chain[i].data, msg->chain[i].len, &cert, err);
        if (!rc && !sk_X509_push(chain, cert)) {
            X509_free(cert);
            rc = kl_err_openssl(err, KL_ERR_MEMORY, "sk_X509_push", "certificate chain");
        }
    }
    if (!rc && sk_X509_num(chain) == 0) {
        rc = kl_err_set(err, KL_ERR_CERT, "the loader sent no certificate");
    }
    if (rc) {
        sk_X509_pop_free(chain, X509_free);
    } else {
        *out = chain;
    }
    return rc;
}

enum kl_rc kl_auth_verify(const struct kl_certificate *msg, STACK_OF(X509) * roots, time_t now,
                          struct kl_auth_work *out, struct kl_err *err)
{
    STACK_OF(X509) *chain = NULL;
    struct kl_auth_work work = {.has_crl = msg->crl.len > 0};
    X509_CRL *crl = NULL;
    X509 *anchor = NULL, *leaf;
    enum kl_rc rc = decode_chain(msg, &chain, err);

    if (rc) {
        return rc;
    }
    leaf = sk_X509_value(chain, 0);
    if (work.has_crl) {
        rc = kl_crl_from_der(msg->crl.data, msg->crl.len, &crl, err);
    }
    if (!rc) {
        rc = kl_cert_verify_loader(chain, roots, crl, now, &anchor, err);
    }
    if (!rc) {
        rc = kl_cert_key_type(leaf, &work.type, &work.bits, err);
    }
    if (!rc) {
        work.key = X509_get_pubkey(leaf);
        if (!work.key) {
            rc = kl_err_openssl(err, KL_ERR_CERT, "X509_get_pubkey", "AcquireWCRT_Pu");
        }
    }
    if (!rc) {
        kl_cert_subject(leaf, work.subject);
        kl_cert_subject(anchor, work.anchor);
        *out = work;
    }
    X509_CRL_free(crl);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

enum kl_rc kl_auth_anchors(STACK_OF(X509) * roots, struct kl_auth_anchors *out, struct kl_err *err)
{
    int count = sk_X509_num(roots);
    enum kl_rc rc = KL_OK;

    if (count < 1 || count > KL_ANCHOR_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "a terminal trusts 1 to %d roots", KL_ANCHOR_MAX);
    }
    for (int i = 0; !rc && i < count; i++) {
        rc = kl_pubkey_hash(X509_get0_pubkey(sk_X509_value(roots, i)), out->hash[i], err);
    }
    out->count = (size_t)count;
    return rc;
}

/* ---- The memo ---- */

struct result {
    uint8_t digest[KL_HASH_LEN]; /* of all that was verified */
    time_t now;
    struct kl_auth_work work; /* work.key NULL: nothing is here */
};

struct kl_auth_memo {
    STACK_OF(X509) * roots;
    struct kl_auth_anchors anchors;
    EVP_MD_CTX *md;
    struct result results[MEMO_MAX];
    size_t next; /* is forgotten next */
    uint64_t verified;
};

enum kl_rc kl_auth_memo_new(STACK_OF(X509) * roots, struct kl_auth_memo **out, struct kl_err *err)
{
    struct kl_auth_memo *memo = calloc(1, sizeof(*memo));
    enum kl_rc rc;

    if (!memo || !(memo->md = EVP_MD_CTX_new())) {
        free(memo);
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for verified certificates");
    }
    memo->roots = roots;
    rc = kl_auth_anchors(roots, &memo->anchors, err);
    if (rc) {
        kl_auth_memo_free(memo);
    } else {
        *out = memo;
    }
    return rc;
}

void kl_auth_memo_free(struct kl_auth_memo *memo)
{
    if (!memo) {
        return;
    }
    for (size_t i = 0; i < MEMO_MAX; i++) {
        EVP_PKEY_free(memo->results[i].work.key);
    }
    EVP_MD_CTX_free(memo->md);
    free(memo);
}

static int digest_one(EVP_MD_CTX *md, const struct kl_bytes *der)
{
    return EVP_DigestUpdate(md, &der->len, sizeof(der->len)) &&
           EVP_DigestUpdate(md, der->data, der->len);
}

/* Each with its length before it, so that no two messages have the same; the CRL is last. */
static int digest_of(EVP_MD_CTX *md, const struct kl_certificate *msg, uint8_t out[KL_HASH_LEN])
{
    int ok = EVP_DigestInit_ex(md, EVP_sha256(), NULL);

    for (size_t i = 0; ok && i < msg->chain_count; i++) {
        ok = digest_one(md, &msg->chain[i]);
    }
    return ok && digest_one(md, &msg->crl) && EVP_DigestFinal_ex(md, out, NULL);
}

static const struct kl_auth_work *recall(const struct kl_auth_memo *memo,
                                         const uint8_t digest[KL_HASH_LEN], time_t now)
{
    for (size_t i = 0; i < MEMO_MAX; i++) {
        const struct result *result = &memo->results[i];

        if (result->work.key && result->now == now &&
            memcmp(result->digest, digest, KL_HASH_LEN) == 0) {
            return &result->work;
        }
    }
    return NULL;
}

static void keep(struct kl_auth_memo *memo, const uint8_t digest[KL_HASH_LEN], time_t now,
                 const struct kl_auth_work *work)
{
    struct result *result = &memo->results[memo->next];

    EVP_PKEY_free(result->work.key);
    memcpy(result->digest, digest, KL_HASH_LEN);
    result->now = now;
    result->work = *work;
    EVP_PKEY_up_ref(work->key);
    memo->next = (memo->next + 1) % MEMO_MAX;
}

enum kl_rc kl_auth_verify_once(struct kl_auth_memo *memo, const struct kl_certificate *msg,
                               time_t now, struct kl_auth_work *out, struct kl_err *err)
{
    uint8_t digest[KL_HASH_LEN];
    const struct kl_auth_work *found;
    enum kl_rc rc;

    if (!digest_of(memo->md, msg, digest)) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "EVP_Digest", "hash of a certificate chain");
    }
    found = recall(memo, digest, now);
    if (found) {
        *out = *found;
        EVP_PKEY_up_ref(out->key);
        return KL_OK;
    }
    memo->verified++;
    rc = kl_auth_verify(msg, memo->roots, now, out, err);
    if (!rc) {
        keep(memo, digest, now, out);
    }
    return rc;
}

const struct kl_auth_anchors *kl_auth_memo_anchors(const struct kl_auth_memo *memo)
{
    return &memo->anchors;
}

uint64_t kl_auth_memo_verified(const struct kl_auth_memo *memo)
{
    return memo->verified;
}
