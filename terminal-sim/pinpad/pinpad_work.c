/* SPDX-License-Identifier: BSD-2-Clause */
/* What every kind of PIN pad does alike with working keys and its device key. */
#include "terminal-sim/pinpad/pinpad_backend.h"

#define TDES_BLOCK 8

/* ---- Working keys ---- */

/* Under an AES TMK by RFC 3394, under a TDES one by TDES-ECB, which keeps the length. */
static enum kl_rc check_wrapped(const struct kl_pinpad_tmk *tmk, enum kl_alg alg, size_t len,
                                struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(alg), *kek = kl_alg_info(tmk->alg);

    if (!info || info->is_aes != kek->is_aes) {
        return kl_err_set(err, KL_ERR_VERIFY, "a working key of algorithm %d under a %s TMK", alg,
                          kek->name);
    }
    if (len != (kek->is_aes ? kl_alg_wrapped_len(info) : info->key_len)) {
        return kl_err_set(err, KL_ERR_VERIFY, "a wrapped %s working key of %zu bytes", info->name,
                          len);
    }
    return KL_OK;
}

enum kl_rc kl_pinpad_working_kcv(struct kl_pinpad *pad, uint32_t tmk_version, enum kl_alg alg,
                                 const uint8_t *wrapped, size_t len, size_t kcv_len,
                                 uint8_t kcv[KL_KCV_LEN_MAX], struct kl_err *err)
{
    struct kl_pinpad_tmk tmk;
    enum kl_rc rc = kl_pinpad_find(pad, tmk_version, &tmk, err);

    if (!rc) {
        rc = check_wrapped(&tmk, alg, len, err);
    }
    if (!rc && (kcv_len < KL_KCV_LEN_MIN || kcv_len > KL_KCV_LEN_MAX)) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "a KCV of the wrong length");
    }
    return rc ? rc : pad->ops->working_kcv(pad, &tmk, alg, wrapped, len, kcv_len, kcv, err);
}

enum kl_rc kl_pinpad_next_pair(struct kl_pinpad *pad, uint32_t *number, struct kl_err *err)
{
    uint32_t highest = 0;
    enum kl_rc rc = pad->ops->highest_pair(pad, &highest, err);

    if (!rc && highest >= KL_VERSION_MAX) {
        rc = kl_err_set(err, KL_ERR_REFUSED, "the PIN pad has no number for another pair of keys");
    }
    if (!rc) {
        *number = highest + 1;
    }
    return rc;
}

enum kl_rc kl_pinpad_keep_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                               const struct kl_bytes *pik, const struct kl_bytes *mak,
                               struct kl_err *err)
{
    struct kl_pinpad_tmk tmk;
    enum kl_rc rc = kl_pinpad_find(pad, pair->tmk_version, &tmk, err);

    if (!rc && pair->number == 0) {
        rc = kl_err_set(err, KL_ERR_INTERNAL, "a pair of working keys without a number");
    }
    if (!rc) {
        rc = check_wrapped(&tmk, pair->alg, pik->len, err);
    }
    if (!rc) {
        rc = check_wrapped(&tmk, pair->alg, mak->len, err);
    }
    return rc ? rc : pad->ops->keep_pair(pad, &tmk, pair, pik, mak, err);
}

enum kl_rc kl_pinpad_has_pair(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair, int *yes,
                              struct kl_err *err)
{
    return pad->ops->has_pair(pad, pair, yes, err);
}

enum kl_rc kl_pinpad_prune(struct kl_pinpad *pad, uint32_t keep, struct kl_err *err)
{
    return pad->ops->prune(pad, keep, err);
}

enum kl_rc kl_pinpad_encrypt_pin(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                 const uint8_t *in, uint8_t *out, struct kl_err *err)
{
    return pad->ops->encrypt(pad, pair, 0, in, out, err);
}

/* Algorithm 3: CBC under K1 up to the last block, which is enciphered under K1, deciphered under K2
 * and enciphered under K1 again, that is by TDES under the whole key. */
static enum kl_rc retail_mac(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                             const uint8_t *in, size_t len, uint8_t *mac, struct kl_err *err)
{
    uint8_t chain[TDES_BLOCK] = {0};
    enum kl_rc rc;

    if (len == 0 || len % TDES_BLOCK != 0) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a message of %zu bytes is not padded", len);
    }
    rc = pad->ops->chain(pad, pair, in, len - TDES_BLOCK, chain, err);
    for (size_t i = 0; i < TDES_BLOCK; i++) {
        chain[i] ^= in[len - TDES_BLOCK + i];
    }
    return rc ? rc : pad->ops->encrypt(pad, pair, 1, chain, mac, err);
}

enum kl_rc kl_pinpad_mac_message(struct kl_pinpad *pad, const struct kl_pinpad_pair *pair,
                                 const uint8_t *in, size_t len, uint8_t mac[KL_MAC_LEN],
                                 struct kl_err *err)
{
    const struct kl_alg_info *info = kl_alg_info(pair->alg);

    if (!info) {
        return kl_err_set(err, KL_ERR_INTERNAL, "a MAK of unknown algorithm");
    }
    return info->is_aes ? pad->ops->cmac(pad, pair, in, len, mac, err)
                        : retail_mac(pad, pair, in, len, mac, err);
}

/* ---- Device key ---- */

enum kl_rc kl_pinpad_device_generate(struct kl_pinpad *pad, enum kl_key_type type, unsigned bits,
                                     int replace, EVP_PKEY **out, struct kl_err *err)
{
    EVP_PKEY *old = NULL;
    enum kl_rc rc = pad->ops->device_public(pad, &old, err);

    EVP_PKEY_free(old);
    if (!replace && rc != KL_ERR_NOT_FOUND) {
        return rc ? rc : kl_err_set(err, KL_ERR_EXISTS, "the PIN pad has a device key already");
    }
    rc = replace ? pad->ops->device_destroy(pad, err) : KL_OK;
    return rc ? rc : pad->ops->device_generate(pad, type, bits, out, err);
}

enum kl_rc kl_pinpad_device_public(struct kl_pinpad *pad, EVP_PKEY **out, struct kl_err *err)
{
    return pad->ops->device_public(pad, out, err);
}

enum kl_rc kl_pinpad_device_request(struct kl_pinpad *pad, X509_REQ *req, struct kl_err *err)
{
    return pad->ops->device_request(pad, req, err);
}

enum kl_rc kl_pinpad_device_sign(struct kl_pinpad *pad, const uint8_t *in, size_t len,
                                 uint8_t sig[KL_SIG_MAX], size_t *sig_len, struct kl_err *err)
{
    return pad->ops->device_sign(pad, in, len, sig, sig_len, err);
}
