/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardened-rsa on the loader's side: Rnd1 by RSA-OAEP straight into a session key, Rnd2 by
 * AES-256-GCM under K_nonce, and RSASSA-PSS over the MasterKey. Two RSA private operations a
 * load: the unwrap and the signature.
 */
#include "pkcs11/suite.h"

#include "proto/pubkey.h"

int kl_choose_oaep(struct kl_work *work, unsigned nth)
{
    static const enum kl_oaep_hash strongest_first[] = {KL_OAEP_SHA256, KL_OAEP_SHA1};

    if (nth >= 2) {
        return 0;
    }
    work->oaep_hash = strongest_first[nth];
    return 1;
}

static enum kl_rc recover(struct kl_loader *loader, const struct kl_work *work,
                          const struct kl_randoms *randoms, const uint8_t t0[KL_HASH_LEN],
                          struct kl_load_keys *keys, uint8_t rnd2[KL_RND2_LEN], struct kl_err *err)
{
    enum kl_rc rc;

    if (randoms->c_rnd1_len != work->bits / 8) {
        return kl_err_set(err, KL_ERR_VERIFY, "c_rnd1 has %zu bytes; the work key has %u bits",
                          randoms->c_rnd1_len, work->bits);
    }
    rc = kl_op_unwrap_rnd1(loader->session, work->handle, work->oaep_hash, randoms->c_rnd1,
                           randoms->c_rnd1_len, &keys->rnd1, err);
    return rc != KL_OK ? rc : kl_hardened_recover(loader, randoms, t0, keys, rnd2, err);
}

static enum kl_rc sign(struct kl_loader *loader, const struct kl_work *work,
                       const struct kl_tbs *tbs, struct kl_bytes tbs_der, uint8_t sig[KL_SIG_MAX],
                       size_t *sig_len, struct kl_err *err)
{
    (void)tbs;
    return kl_op_sign_pss(loader->session, work->handle, tbs_der.data, tbs_der.len, sig, KL_SIG_MAX,
                          sig_len, err);
}

/* ---- The terminal, for the self-test ---- */

static enum kl_rc enclose_known(const struct kl_work *work, const uint8_t t0[KL_HASH_LEN],
                                const uint8_t rnd1[KL_RND1_LEN], const uint8_t rnd2[KL_RND2_LEN],
                                struct kl_randoms *out, struct kl_err *err)
{
    enum kl_rc rc = kl_rsa_oaep_encrypt(work->public_key, work->oaep_hash, rnd1, KL_RND1_LEN,
                                        out->c_rnd1, &out->c_rnd1_len, err);

    return rc != KL_OK ? rc : kl_hardened_enclose_known(t0, rnd1, rnd2, out, err);
}

static enum kl_rc enclose(struct kl_loader *loader, const struct kl_work *work,
                          const uint8_t t0[KL_HASH_LEN], struct kl_self_pad *pad,
                          struct kl_randoms *out, struct kl_err *err)
{
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
    enum kl_rc rc = kl_op_import_rsa_public(loader->session, work->public_key, &public_key, err);

    if (rc == KL_OK) {
        rc = kl_op_generate_rnd1(loader->session, &pad->rnd1, err);
    }
    if (rc == KL_OK) {
        rc = kl_op_wrap_oaep(loader->session, public_key, pad->rnd1, work->oaep_hash, out->c_rnd1,
                             sizeof(out->c_rnd1), &out->c_rnd1_len, err);
    }
    kl_op_destroy(loader->session, &public_key);
    return rc != KL_OK ? rc : kl_hardened_enclose(loader, t0, pad, out, err);
}

const struct kl_suite_loader kl_suite_loader_hardened_rsa = {
    .id = KL_SUITE_HARDENED_RSA,
    .unwraps = 1,
    .choose = kl_choose_oaep,
    .recover = recover,
    .sign = sign,
    .enclose_known = enclose_known,
    .enclose = enclose,
    .open = kl_hardened_open,
};
