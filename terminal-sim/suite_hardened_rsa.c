/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hardened-rsa on the terminal's side: RSA-OAEP and AES-256-GCM for C_rnd1_rnd2, RSASSA-PSS for
 * C_ctmk_rnd2, single-use keys derived from Rnd1 for the rest. docs/protocol.md has the bytes.
 */
#include "proto/rsa.h"
#include "terminal-sim/random.h"
#include "terminal-sim/suite.h"

static enum kl_rc randoms(struct kl_pinpad *pad, const struct kl_auth_work *work,
                          const struct kl_certificate *certificate, const uint8_t t0[KL_HASH_LEN],
                          const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                          struct kl_err *err)
{
    enum kl_oaep_hash hash = (enum kl_oaep_hash)certificate->oaep_hash;
    struct kl_pinpad_labels labels;
    int purpose;
    enum kl_rc rc = KL_OK;

    if (hash != KL_OAEP_SHA1 && hash != KL_OAEP_SHA256) {
        return kl_err_set(err, KL_ERR_UNSUPPORTED, "the loader announced OAEP hash %u, unknown",
                          (unsigned)certificate->oaep_hash);
    }
    if (work->type != KL_KEY_RSA) {
        return kl_err_set(err, KL_ERR_CERT, "hardened-rsa needs an RSA work key");
    }
    for (purpose = 0; !rc && purpose <= KL_PURPOSE_DONE; purpose++) {
        rc = kl_suite_label((enum kl_purpose)purpose, t0, labels.of[purpose], err);
    }
    if (!rc) {
        rc = kl_pinpad_start(pad, work->key, hash, &labels, out->c_rnd1, &out->c_rnd1_len, err);
    }
    if (!rc) {
        rc = kl_random_iv(pad, out->iv, err);
    }
    if (!rc) {
        rc = kl_pinpad_seal(pad, out->iv, t0, rnd2, out->c_rnd2, err);
    }
    return rc;
}

static enum kl_rc verify(const struct kl_auth_work *work, const struct kl_master_key *msg,
                         struct kl_err *err)
{
    enum kl_rc rc = kl_rsa_pss_verify(work->key, msg->sig, msg->sig_len, msg->tbs_der.data,
                                      msg->tbs_der.len, err);

    if (rc) {
        kl_err_context(err, "S8: the signature over C_ctmk_rnd2 is not AcquireWCRT's");
    }
    return rc;
}

static enum kl_rc loaded(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN], const uint8_t *kcv,
                         size_t kcv_len, struct kl_loaded *out, struct kl_err *err)
{
    uint8_t in[KL_ACK_INPUT_MAX];
    size_t i, len = kl_suite_ack_input(t2, kcv, kcv_len, in);

    out->kcv_len = kcv_len;
    for (i = 0; i < kcv_len; i++) {
        out->kcv[i] = kcv[i];
    }
    return kl_pinpad_mac(pad, KL_PURPOSE_ACK, in, len, out->mac, err);
}

static enum kl_rc done_mac(struct kl_pinpad *pad, const uint8_t t2[KL_HASH_LEN],
                           enum kl_verdict verdict, uint8_t mac[KL_MAC_LEN], struct kl_err *err)
{
    uint8_t in[KL_DONE_INPUT_LEN];

    kl_suite_done_input(t2, verdict, in);
    return kl_pinpad_mac(pad, KL_PURPOSE_DONE, in, sizeof(in), mac, err);
}

const struct kl_terminal_suite kl_terminal_suite_hardened_rsa = {
    .id = KL_SUITE_HARDENED_RSA,
    .randoms = randoms,
    .verify = verify,
    .loaded = loaded,
    .done_mac = done_mac,
};
