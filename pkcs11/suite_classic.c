/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * classic on the loader's side, the method to the letter: Rnd1 and Rnd2 in one RSA-OAEP block,
 * which is decrypted into locked memory; Rnd1' itself wraps the TMK; and a private-key operation
 * with message recovery over Ctmk and Rnd2'. What else MasterKey says has a MAC, by a key that is
 * derived from Rnd1'. Rnd1' is imported as two session keys with one use
 * each, and the copy in memory wiped before anything else is done. See docs/security.md for what
 * this gives up.
 */
#include "pkcs11/suite.h"

#include <string.h>

#include "proto/pubkey.h"
#include "proto/secret.h"

#define BLOCK_LEN (KL_RND1_LEN + KL_RND2_LEN)

/* Rnd1' as it stands in the block: a key that only derives and one that only wraps or unwraps. */
static enum kl_rc import_twice(struct kl_loader *loader, const uint8_t *rnd1, enum kl_key_use use,
                               CK_OBJECT_HANDLE *derives, CK_OBJECT_HANDLE *other,
                               struct kl_err *err)
{
    enum kl_rc rc =
        kl_op_import_value(loader->session, KL_ALG_AES256, rnd1, KL_USE_DERIVE, derives, err);

    return rc != KL_OK ? rc
                       : kl_op_import_value(loader->session, KL_ALG_AES256, rnd1, use, other, err);
}

static enum kl_rc recover(struct kl_loader *loader, const struct kl_work *work,
                          const struct kl_randoms *randoms, const uint8_t t0[KL_HASH_LEN],
                          struct kl_load_keys *keys, uint8_t rnd2[KL_RND2_LEN], struct kl_err *err)
{
    struct kl_secret *block = NULL;
    enum kl_rc rc;

    (void)t0;
    if (randoms->c_rnd1_len != work->bits / 8) {
        return kl_err_set(err, KL_ERR_VERIFY, "c_rnd1 has %zu bytes; the work key has %u bits",
                          randoms->c_rnd1_len, work->bits);
    }
    if ((rc = kl_secret_new(KL_RSA_MAX, &block, err)) == KL_OK &&
        (rc = kl_op_decrypt_oaep(loader->session, work->handle, work->oaep_hash, randoms->c_rnd1,
                                 randoms->c_rnd1_len, BLOCK_LEN, block, err)) == KL_OK &&
        (rc = import_twice(loader, kl_secret_data(block), KL_USE_WRAP, &keys->rnd1, &keys->wrap,
                           err)) == KL_OK) {
        memcpy(rnd2, kl_secret_data(block) + KL_RND1_LEN, KL_RND2_LEN);
    }
    kl_secret_free(block);
    return rc;
}

static enum kl_rc sign(struct kl_loader *loader, const struct kl_work *work,
                       const struct kl_tbs *tbs, struct kl_bytes tbs_der, uint8_t sig[KL_SIG_MAX],
                       size_t *sig_len, struct kl_err *err)
{
    uint8_t message[KL_CTMK_LEN_MAX + KL_RND2_LEN];
    enum kl_rc rc;

    (void)tbs_der;
    memcpy(message, tbs->ctmk, tbs->ctmk_len);
    memcpy(message + tbs->ctmk_len, tbs->rnd2, KL_RND2_LEN);
    rc = kl_op_sign_recover(loader->session, work->handle, message, tbs->ctmk_len + KL_RND2_LEN,
                            sig, KL_SIG_MAX, sig_len, err);
    kl_wipe(message, sizeof(message));
    return rc;
}

/* K_keys is derived over T0: so the terminal checks Hello and Certificate with it. */
static enum kl_rc mac_tbs(struct kl_loader *loader, CK_OBJECT_HANDLE rnd1,
                          const uint8_t t0[KL_HASH_LEN], struct kl_bytes tbs_der,
                          uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    CK_OBJECT_HANDLE keys = CK_INVALID_HANDLE;
    enum kl_rc rc = kl_loader_derive(loader, rnd1, t0, KL_PURPOSE_KEYS, KL_USE_MAC, &keys, err);

    if (rc == KL_OK) {
        rc = kl_op_cmac(loader->session, keys, tbs_der.data, tbs_der.len, mac, err);
    }
    kl_op_destroy(loader->session, &keys);
    return rc;
}

/* ---- The terminal, for the self-test ---- */

static enum kl_rc enclose_known(const struct kl_work *work, const uint8_t t0[KL_HASH_LEN],
                                const uint8_t rnd1[KL_RND1_LEN], const uint8_t rnd2[KL_RND2_LEN],
                                struct kl_randoms *out, struct kl_err *err)
{
    uint8_t block[BLOCK_LEN]; /* of known bytes: no secret */

    (void)t0;
    memcpy(block, rnd1, KL_RND1_LEN);
    memcpy(block + KL_RND1_LEN, rnd2, KL_RND2_LEN);
    return kl_rsa_oaep_encrypt(work->public_key, work->oaep_hash, block, sizeof(block), out->c_rnd1,
                               &out->c_rnd1_len, err);
}

/* Here, too, Rnd1 stands in memory: there is no other way to have both in one block. */
static enum kl_rc enclose(struct kl_loader *loader, const struct kl_work *work,
                          const uint8_t t0[KL_HASH_LEN], struct kl_self_pad *pad,
                          struct kl_randoms *out, struct kl_err *err)
{
    struct kl_secret *block = NULL;
    enum kl_rc rc;

    (void)t0;
    if ((rc = kl_secret_new(BLOCK_LEN, &block, err)) == KL_OK &&
        (rc = kl_op_random(loader->session, kl_secret_data(block), BLOCK_LEN, err)) == KL_OK &&
        (rc = kl_rsa_oaep_encrypt(work->public_key, work->oaep_hash, kl_secret_data(block),
                                  BLOCK_LEN, out->c_rnd1, &out->c_rnd1_len, err)) == KL_OK &&
        (rc = import_twice(loader, kl_secret_data(block), KL_USE_UNWRAP, &pad->rnd1, &pad->unwrap,
                           err)) == KL_OK) {
        memcpy(pad->rnd2, kl_secret_data(block) + KL_RND1_LEN, KL_RND2_LEN);
    }
    kl_secret_free(block);
    return rc;
}

static enum kl_rc open_signature(const struct kl_work *work, struct kl_master_key *master_key,
                                 struct kl_err *err)
{
    struct kl_tbs *tbs = &master_key->tbs;
    const struct kl_alg_info *info = kl_alg_info(tbs->alg);
    uint8_t message[KL_CTMK_LEN_MAX + KL_RND2_LEN];
    size_t len = 0;
    enum kl_rc rc = kl_rsa_recover(work->public_key, master_key->sig, master_key->sig_len, message,
                                   sizeof(message), &len, err);

    if (rc != KL_OK) {
        return rc;
    }
    if (!info || len != kl_alg_wrapped_len(info) + KL_RND2_LEN) {
        return kl_err_set(err, KL_ERR_VERIFY, "signature holds %zu bytes", len);
    }
    tbs->ctmk_len = kl_alg_wrapped_len(info);
    memcpy(tbs->ctmk, message, tbs->ctmk_len);
    memcpy(tbs->rnd2, message + tbs->ctmk_len, KL_RND2_LEN);
    return KL_OK;
}

const struct kl_suite_loader kl_suite_loader_classic = {
    .id = KL_SUITE_CLASSIC,
    .recovers = 1,
    .choose = kl_choose_oaep,
    .recover = recover,
    .sign = sign,
    .mac = mac_tbs,
    .enclose_known = enclose_known,
    .enclose = enclose,
    .open = open_signature,
};
