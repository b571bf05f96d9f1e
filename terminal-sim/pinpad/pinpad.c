/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every kind of PIN pad does alike: the order of calls within a load, and looking a TMK up by
 * its version.
 */
#include "terminal-sim/pinpad/pinpad.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "proto/cert.h"
#include "terminal-sim/pinpad/pinpad_backend.h"

static enum kl_rc need_load(const struct kl_pinpad *pad, struct kl_err *err)
{
    if (pad->busy != KL_PINPAD_LOAD && pad->busy != KL_PINPAD_CLASSIC) {
        return kl_err_set(err, KL_ERR_INTERNAL, "no load is under way in the PIN pad");
    }
    return KL_OK;
}

static enum kl_rc check_ctmk(enum kl_alg alg, size_t ctmk_len, struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg);

    if (!info || ctmk_len != kl_alg_wrapped_len(info)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a wrapped TMK of the wrong length");
    }
    return KL_OK;
}

static int by_version(const void *a, const void *b)
{
    uint32_t left = ((const struct kl_pinpad_tmk *)a)->version,
             right = ((const struct kl_pinpad_tmk *)b)->version;

    return (left > right) - (left < right);
}

/* Where the TMK of that version is in a list; count if it is not there. */
static size_t index_of(const struct kl_pinpad_tmk *tmks, size_t count, uint32_t version)
{
    size_t i = 0;

    while (i < count && tmks[i].version != version) {
        i++;
    }
    return i;
}

enum kl_rc kl_pinpad_find(struct kl_pinpad *pad, uint32_t version, struct kl_pinpad_tmk *out,
                          struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t i, count;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    if (rc) {
        return rc;
    }
    i = index_of(tmks, count, version);
    if (i == count) {
        return kl_err_set(err, KL_ERR_NOT_FOUND, "the PIN pad holds no TMK version %u",
                          (unsigned)version);
    }
    *out = tmks[i];
    return KL_OK;
}

void kl_pinpad_free(struct kl_pinpad *pad)
{
    if (!pad) {
        return;
    }
    kl_pinpad_end(pad);
    pad->ops->free(pad);
}

const char *kl_pinpad_kind(const struct kl_pinpad *pad)
{
    return pad->ops->kind;
}

enum kl_rc kl_pinpad_random(struct kl_pinpad *pad, uint8_t *out, size_t len, struct kl_err *err)
{
    return pad->ops->random(pad, out, len, err);
}

/* ---- S5 ---- */

static enum kl_rc make_labels(const uint8_t hash[KL_HASH_LEN], struct kl_pinpad_labels *out,
                              struct kl_err *err)
{
    enum kl_rc rc = KL_OK;

    for (int i = 0; !rc && i < KL_PURPOSE_COUNT; i++) {
        rc = kl_suite_label((enum kl_purpose)i, hash, out->of[i], err);
    }
    return rc;
}

/* Before a load: ends what was in progress; a work key of that type, and labels. */
static enum kl_rc prepare(struct kl_pinpad *pad, struct kl_pubkey *work, enum kl_key_type wanted,
                          const uint8_t *t0, struct kl_pinpad_labels *labels, struct kl_err *err)
{
    kl_pinpad_end(pad);
    if (kl_pubkey_is(work) != wanted) {
        return kl_err_set(err, KL_ERR_CERT, "AcquireWCRT_Pu is no %s key",
                          wanted == KL_KEY_RSA ? "RSA" : "EC");
    }
    return make_labels(t0, labels, err);
}

static enum kl_rc started(struct kl_pinpad *pad, enum kl_pinpad_busy busy, enum kl_rc rc)
{
    if (rc) {
        pad->ops->end(pad);
    } else {
        pad->busy = busy;
    }
    return rc;
}

enum kl_rc kl_pinpad_start_rsa(struct kl_pinpad *pad, struct kl_pubkey *work,
                               enum kl_oaep_hash hash, const uint8_t t0[KL_HASH_LEN],
                               uint8_t c_rnd1[KL_RSA_MAX], size_t *c_rnd1_len, struct kl_err *err)
{
    struct kl_pinpad_labels labels;
    enum kl_rc rc = prepare(pad, work, KL_KEY_RSA, t0, &labels, err);

    return rc ? rc
              : started(pad, KL_PINPAD_LOAD,
                        pad->ops->start_rsa(pad, work, hash, &labels, c_rnd1, c_rnd1_len, err));
}

enum kl_rc kl_pinpad_start_ec(struct kl_pinpad *pad, struct kl_pubkey *work,
                              const uint8_t t0[KL_HASH_LEN], uint8_t point[KL_EC_POINT_MAX],
                              size_t *point_len, uint8_t c_rnd1[KL_C_RND1_EC_LEN],
                              struct kl_err *err)
{
    struct kl_pinpad_labels labels;
    enum kl_rc rc = prepare(pad, work, KL_KEY_EC, t0, &labels, err);

    return rc ? rc
              : started(pad, KL_PINPAD_LOAD,
                        pad->ops->start_ec(pad, work, kl_curve_by_bits(kl_pubkey_bits(work)), t0,
                                           &labels, point, point_len, c_rnd1, err));
}

enum kl_rc kl_pinpad_start_classic(struct kl_pinpad *pad, struct kl_pubkey *work,
                                   enum kl_oaep_hash hash, const uint8_t t0[KL_HASH_LEN],
                                   const uint8_t rnd2[KL_RND2_LEN], uint8_t c_rnd1[KL_RSA_MAX],
                                   size_t *c_rnd1_len, struct kl_err *err)
{
    struct kl_pinpad_labels labels;
    enum kl_rc rc = prepare(pad, work, KL_KEY_RSA, t0, &labels, err);

    return rc ? rc
              : started(pad, KL_PINPAD_CLASSIC,
                        pad->ops->start_classic(pad, work, hash, &labels, rnd2, c_rnd1, c_rnd1_len,
                                                err));
}

/* ---- The rest of a load ---- */

enum kl_rc kl_pinpad_seal(struct kl_pinpad *pad, const uint8_t iv[KL_GCM_IV_LEN],
                          const uint8_t t0[KL_HASH_LEN], const uint8_t rnd2[KL_RND2_LEN],
                          uint8_t out[KL_RND2_LEN + KL_GCM_TAG_LEN], struct kl_err *err)
{
    enum kl_rc rc = need_load(pad, err);

    return rc ? rc : pad->ops->seal(pad, iv, t0, rnd2, out, err);
}

enum kl_rc kl_pinpad_kcv(struct kl_pinpad *pad, enum kl_alg alg, const uint8_t *ctmk,
                         size_t ctmk_len, size_t kcv_len, uint8_t kcv[KL_KCV_LEN_MAX],
                         struct kl_err *err)
{
    enum kl_rc rc = need_load(pad, err);

    if (!rc) {
        rc = check_ctmk(alg, ctmk_len, err);
    }
    if (!rc && (kcv_len < KL_KCV_LEN_MIN || kcv_len > KL_KCV_LEN_MAX)) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "a KCV of the wrong length");
    }
    return rc ? rc : pad->ops->kcv(pad, alg, ctmk, ctmk_len, kcv_len, kcv, err);
}

enum kl_rc kl_pinpad_room(struct kl_pinpad *pad, uint32_t version, struct kl_err *err)
{
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t count;
    enum kl_rc rc = kl_pinpad_list(pad, tmks, &count, err);

    if (rc) {
        return rc;
    }
    if (index_of(tmks, count, version) != count) {
        return kl_err_set(err, KL_ERR_EXISTS, "the PIN pad already holds TMK version %u",
                          (unsigned)version);
    }
    if (count == KL_PINPAD_TMK_MAX) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "the PIN pad is full: %zu TMKs; run 'confirm' to settle those that "
                          "await the loader's word",
                          count);
    }
    return KL_OK;
}

enum kl_rc kl_pinpad_keep(struct kl_pinpad *pad, const struct kl_pinpad_tmk *tmk,
                          const uint8_t *ctmk, size_t ctmk_len, struct kl_err *err)
{
    enum kl_rc rc = need_load(pad, err);

    if (!rc) {
        rc = check_ctmk(tmk->alg, ctmk_len, err);
    }
    if (!rc) {
        rc = kl_pinpad_room(pad, tmk->version, err);
    }
    return rc ? rc : pad->ops->keep(pad, tmk, ctmk, ctmk_len, err);
}

enum kl_rc kl_pinpad_mac(struct kl_pinpad *pad, enum kl_purpose purpose, const uint8_t *in,
                         size_t len, uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    if (pad->busy == KL_PINPAD_IDLE) {
        return kl_err_set(err, KL_ERR_INTERNAL, "nothing is under way in the PIN pad");
    }
    if (purpose != KL_PURPOSE_ACK && purpose != KL_PURPOSE_DONE &&
        (purpose != KL_PURPOSE_KEYS || pad->busy == KL_PINPAD_LOAD)) {
        return kl_err_set(err, KL_ERR_INTERNAL, "that key computes no MAC");
    }
    return pad->ops->mac(pad, purpose, in, len, mac, err);
}

void kl_pinpad_end(struct kl_pinpad *pad)
{
    if (pad->busy != KL_PINPAD_IDLE) {
        pad->ops->end(pad);
    }
    pad->busy = KL_PINPAD_IDLE;
}

enum kl_rc kl_pinpad_list(struct kl_pinpad *pad, struct kl_pinpad_tmk out[KL_PINPAD_TMK_MAX],
                          size_t *count, struct kl_err *err)
{
    enum kl_rc rc = pad->ops->list(pad, out, count, err);

    if (!rc) {
        qsort(out, *count, sizeof(*out), by_version);
    }
    return rc;
}

enum kl_rc kl_pinpad_destroy(struct kl_pinpad *pad, uint32_t version, struct kl_err *err)
{
    struct kl_pinpad_tmk tmk;
    enum kl_rc rc = kl_pinpad_find(pad, version, &tmk, err);

    return rc ? rc : pad->ops->destroy(pad, &tmk, err);
}

/* Whether it can be one under that TMK, and no other key that was under it: by its length, or, as
 * TDES-ECB opens everything, as it is the one that the transcript gives. */
static enum kl_rc check_c_session(const struct kl_pinpad_tmk *tmk, const uint8_t hash[KL_HASH_LEN],
                                  const uint8_t *c_session, size_t len, struct kl_err *err)
{
    uint8_t due[KL_SESSION_INPUT_LEN];
    enum kl_rc rc;

    if (len != kl_suite_c_session_len(tmk->alg)) {
        return kl_err_set(err, KL_ERR_VERIFY, "a wrapped session key of %zu bytes", len);
    }
    if (kl_alg_info(tmk->alg)->is_aes) {
        return KL_OK;
    }
    rc = kl_suite_session_input(hash, due, err);
    return rc || CRYPTO_memcmp(c_session, due, sizeof(due)) == 0
               ? rc
               : kl_err_set(err, KL_ERR_VERIFY, "cSession is not this sign-in's");
}

enum kl_rc kl_pinpad_start_session(struct kl_pinpad *pad, uint32_t tmk_version,
                                   const uint8_t hash[KL_HASH_LEN], const uint8_t *c_session,
                                   size_t len, struct kl_err *err)
{
    struct kl_pinpad_labels labels;
    struct kl_pinpad_tmk tmk;
    enum kl_rc rc;

    kl_pinpad_end(pad);
    rc = kl_pinpad_find(pad, tmk_version, &tmk, err);
    if (!rc) {
        rc = check_c_session(&tmk, hash, c_session, len, err);
    }
    if (!rc) {
        rc = make_labels(hash, &labels, err);
    }
    return rc ? rc
              : started(pad, KL_PINPAD_SESSION,
                        pad->ops->start_session(pad, &tmk, &labels, c_session, len, err));
}
