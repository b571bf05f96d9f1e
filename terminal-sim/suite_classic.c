/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * classic on the terminal's side, the method to the letter: one OAEP block of Rnd1 || Rnd2, and a
 * signature that gives Ctmk || Rnd2' back. What else MasterKey says is not signed; a MAC by a key
 * of Rnd1, which who made the signature has, stands for that. docs/security.md, "classic".
 */
#include <openssl/crypto.h>
#include <string.h>

#include "proto/pubkey.h"
#include "proto/secret.h"
#include "terminal-sim/suite.h"

static enum kl_rc randoms(struct kl_pinpad *pad, const struct kl_auth_work *work,
                          const struct kl_certificate *certificate, const uint8_t t0[KL_HASH_LEN],
                          const uint8_t rnd2[KL_RND2_LEN], struct kl_randoms *out,
                          struct kl_err *err)
{
    enum kl_oaep_hash hash;
    enum kl_rc rc = kl_terminal_suite_oaep(certificate, &hash, err);

    return rc ? rc
              : kl_pinpad_start_classic(pad, work->key, hash, t0, rnd2, out->c_rnd1,
                                        &out->c_rnd1_len, err);
}

/* K_keys is derived over T0: so Hello and Certificate are checked with it. */
static enum kl_rc check_mac(struct kl_pinpad *pad, const struct kl_master_key *msg,
                            struct kl_err *err)
{
    uint8_t mac[KL_MAC_LEN];
    enum kl_rc rc =
        kl_pinpad_mac(pad, KL_PURPOSE_KEYS, msg->tbs_der.data, msg->tbs_der.len, mac, err);

    if (!rc && CRYPTO_memcmp(mac, msg->mac, KL_MAC_LEN) != 0) {
        rc = kl_err_set(err, KL_ERR_VERIFY,
                        "S8: MasterKey's MAC is wrong: it was changed on its way, or Hello or "
                        "Certificate was");
    }
    kl_wipe(mac, sizeof(mac));
    return rc;
}

/* Exactly Ctmk || Rnd2': where the one ends shows in the lengths alone. */
static enum kl_rc verify(const struct kl_auth_work *work, struct kl_master_key *msg,
                         struct kl_err *err)
{
    const struct kl_alg_info *alg = kl_alg_info(msg->tbs.alg);
    uint8_t block[KL_RSA_MAX];
    size_t len = 0, ctmk_len;
    enum kl_rc rc;

    if (!alg || msg->tbs.ctmk_len != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: MasterKey is not of the suite classic");
    }
    ctmk_len = kl_alg_wrapped_len(alg);
    rc = kl_rsa_recover(kl_pubkey_evp(work->key), msg->sig, msg->sig_len, block, sizeof(block),
                        &len, err);
    if (rc) {
        rc = kl_err_context(err, "S8: the signature of C_ctmk_rnd2 is not AcquireWCRT's");
    } else if (len != ctmk_len + KL_RND2_LEN) {
        rc = kl_err_set(err, KL_ERR_VERIFY,
                        "S8: the signature gives %zu bytes back; Ctmk of %s and Rnd2' have %zu",
                        len, alg->name, ctmk_len + KL_RND2_LEN);
    } else {
        memcpy(msg->tbs.ctmk, block, ctmk_len);
        msg->tbs.ctmk_len = ctmk_len;
        memcpy(msg->tbs.rnd2, block + ctmk_len, KL_RND2_LEN);
    }
    kl_wipe(block, sizeof(block));
    return rc;
}

const struct kl_terminal_suite kl_terminal_suite_classic = {
    .id = KL_SUITE_CLASSIC,
    .randoms = randoms,
    .check_mac = check_mac,
    .verify = verify,
};
