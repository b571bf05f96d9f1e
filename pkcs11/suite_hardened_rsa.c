/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardened-rsa on the loader's side: Rnd1 by RSA-OAEP straight into a session key, Rnd2 by
 * AES-256-GCM under K_nonce, and RSASSA-PSS over the MasterKey. Two RSA private operations a
 * load: the unwrap and the signature.
 */
#include "pkcs11/suite.h"

static enum kl_rc strength(const struct kl_loader *loader, enum kl_alg alg, struct kl_err *err)
{
    return kl_alg_strength(loader->key_type, loader->key_bits, alg, err);
}

static enum kl_rc recover(struct kl_loader *loader, const struct kl_randoms *randoms,
                          const uint8_t t0[KL_HASH_LEN], struct kl_load_keys *keys,
                          uint8_t rnd2[KL_RND2_LEN], struct kl_err *err)
{
    CK_OBJECT_HANDLE nonce_key = CK_INVALID_HANDLE;
    enum kl_rc rc;

    if (randoms->c_rnd1_len != loader->key_bits / 8) {
        return kl_err_set(err, KL_ERR_VERIFY, "c_rnd1 has %zu bytes; the work key has %u bits",
                          randoms->c_rnd1_len, loader->key_bits);
    }
    rc = kl_op_unwrap_rnd1(loader->session, loader->work_key, loader->oaep_hash, randoms->c_rnd1,
                           randoms->c_rnd1_len, &keys->rnd1, err);
    if (rc == KL_OK) {
        rc = kl_loader_derive(loader, keys->rnd1, t0, KL_PURPOSE_NONCE, KL_USE_DECRYPT, &nonce_key,
                              err);
    }
    if (rc == KL_OK) {
        rc = kl_op_gcm_decrypt(loader->session, nonce_key, randoms->iv, t0, KL_HASH_LEN,
                               randoms->c_rnd2, sizeof(randoms->c_rnd2), rnd2, err);
    }
    kl_op_destroy(loader->session, &nonce_key);
    return rc;
}

static enum kl_rc seal(struct kl_loader *loader, const struct kl_tbs *tbs, uint8_t out[KL_MSG_MAX],
                       size_t *out_len, struct kl_err *err)
{
    struct kl_msg msg = {.type = KL_MSG_MASTER_KEY};
    struct kl_master_key *master_key = &msg.u.master_key;
    uint8_t tbs_der[KL_TBS_MAX];
    size_t tbs_len = 0;
    enum kl_rc rc = kl_tbs_encode(tbs, tbs_der, &tbs_len, err);

    if (rc == KL_OK) {
        rc = kl_op_sign_pss(loader->session, loader->work_key, tbs_der, tbs_len, master_key->sig,
                            sizeof(master_key->sig), &master_key->sig_len, err);
    }
    if (rc != KL_OK) {
        return rc;
    }
    master_key->tbs = *tbs;
    master_key->tbs_der = (struct kl_bytes){tbs_der, tbs_len};
    return kl_msg_encode(&msg, out, out_len, err);
}

const struct kl_suite_loader kl_suite_loader_hardened_rsa = {
    .id = KL_SUITE_HARDENED_RSA,
    .strength = strength,
    .recover = recover,
    .seal = seal,
};
