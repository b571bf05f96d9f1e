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
    EVP_PKEY *key = NULL;
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
    if (!rc && !(key = X509_get0_pubkey(leaf))) {
        rc = kl_err_openssl(err, KL_ERR_CERT, "X509_get0_pubkey", "AcquireWCRT_Pu");
    }
    if (!rc) {
        rc = kl_pubkey_new(key, &work.key, err);
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

#define PARTS_MAX (KL_CHAIN_MAX + 1)

struct result {
    /* All that was verified: the certificates, then the CRL. */
    size_t part_count, part_len[PARTS_MAX];
    uint8_t *bytes;
    time_t now;
    struct kl_auth_work work; /* work.key NULL: nothing is here */
};

struct kl_auth_memo {
    STACK_OF(X509) * roots;
    struct kl_auth_anchors anchors;
    struct result results[MEMO_MAX];
    size_t next; /* is forgotten next */
};

enum kl_rc kl_auth_memo_new(STACK_OF(X509) * roots, struct kl_auth_memo **out, struct kl_err *err)
{
    struct kl_auth_memo *memo = calloc(1, sizeof(*memo));
    enum kl_rc rc;

    if (!memo) {
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
        kl_pubkey_free(memo->results[i].work.key);
        free(memo->results[i].bytes);
    }
    free(memo);
}

static const struct kl_bytes *part_of(const struct kl_certificate *msg, size_t i)
{
    return i < msg->chain_count ? &msg->chain[i] : &msg->crl;
}

static int has_same_bytes(const struct result *result, const struct kl_certificate *msg)
{
    const uint8_t *at = result->bytes;

    if (result->part_count != msg->chain_count + 1) {
        return 0;
    }
    for (size_t i = 0; i < result->part_count; i++) {
        const struct kl_bytes *part = part_of(msg, i);

        if (part->len != result->part_len[i] ||
            (part->len > 0 && memcmp(part->data, at, part->len) != 0)) {
            return 0;
        }
        at += part->len;
    }
    return 1;
}

static const struct kl_auth_work *recall(const struct kl_auth_memo *memo,
                                         const struct kl_certificate *msg, time_t now)
{
    for (size_t i = 0; i < MEMO_MAX; i++) {
        const struct result *result = &memo->results[i];

        if (result->work.key && result->now == now && has_same_bytes(result, msg)) {
            return &result->work;
        }
    }
    return NULL;
}

/* Without memory for it the next terminal verifies again. */
static void keep(struct kl_auth_memo *memo, const struct kl_certificate *msg, time_t now,
                 const struct kl_auth_work *work)
{
    struct result *result = &memo->results[memo->next];
    size_t total = 0, count = msg->chain_count + 1;
    uint8_t *bytes;

    for (size_t i = 0; i < count; i++) {
        total += part_of(msg, i)->len;
    }
    bytes = malloc(total);
    if (!bytes) {
        return;
    }
    kl_pubkey_free(result->work.key);
    free(result->bytes);
    *result = (struct result){.part_count = count, .bytes = bytes, .now = now, .work = *work};
    kl_pubkey_ref(work->key);
    for (size_t i = 0; i < count; i++) {
        const struct kl_bytes *part = part_of(msg, i);

        result->part_len[i] = part->len;
        if (part->len > 0) {
            memcpy(bytes, part->data, part->len);
        }
        bytes += part->len;
    }
    memo->next = (memo->next + 1) % MEMO_MAX;
}

enum kl_rc kl_auth_verify_once(struct kl_auth_memo *memo, const struct kl_certificate *msg,
                               time_t now, struct kl_auth_work *out, struct kl_err *err)
{
    const struct kl_auth_work *found = recall(memo, msg, now);
    enum kl_rc rc;

    if (found) {
        *out = *found;
        kl_pubkey_ref(out->key);
        return KL_OK;
    }
    rc = kl_auth_verify(msg, memo->roots, now, out, err);
    if (!rc) {
        keep(memo, msg, now, out);
    }
    return rc;
}

const struct kl_auth_anchors *kl_auth_memo_anchors(const struct kl_auth_memo *memo)
{
    return &memo->anchors;
}
