/* SPDX-License-Identifier: BSD-2-Clause */
/* Module 104: the checks of S8, in an order that puts "is it about this load?" first. */
#include "terminal-sim/judge.h"

#include <openssl/crypto.h>
#include <string.h>

static int offered(const struct kl_judge *judge, unsigned alg)
{
    size_t i;

    for (i = 0; i < judge->alg_count; i++) {
        if (judge->algs[i] == alg) {
            return 1;
        }
    }
    return 0;
}

enum kl_rc kl_judge_tbs(const struct kl_judge *judge, const struct kl_tbs *tbs, struct kl_err *err)
{
    const struct kl_alg_info *alg = kl_alg_info(tbs->alg);

    if (CRYPTO_memcmp(tbs->t1, judge->t1, KL_HASH_LEN) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: MasterKey answers another load (T1 differs)");
    }
    if (strcmp(tbs->serial, judge->serial) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: MasterKey is for terminal %s, not %s",
                          tbs->serial, judge->serial);
    }
    if (CRYPTO_memcmp(tbs->rnd2, judge->rnd2, KL_RND2_LEN) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: Rnd2' is not Rnd2");
    }
    if (tbs->usage != KL_USAGE_KEK) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: TMK usage %u is not that of a KEK",
                          (unsigned)tbs->usage);
    }
    if (!alg || !offered(judge, tbs->alg)) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: TMK algorithm %u was not offered",
                          (unsigned)tbs->alg);
    }
    if (tbs->ctmk_len != kl_alg_wrapped_len(alg)) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: Ctmk has %zu bytes, a wrapped %s key has %zu",
                          tbs->ctmk_len, alg->name, kl_alg_wrapped_len(alg));
    }
    if (tbs->kcv_method != alg->kcv_method) {
        return kl_err_set(err, KL_ERR_VERIFY, "S8: KCV method %u is not that of %s",
                          (unsigned)tbs->kcv_method, alg->name);
    }
    if (tbs->version <= judge->version_floor) {
        return kl_err_set(err, KL_ERR_VERIFY,
                          "S8: TMK version %u is not above version %u in the PIN pad (rollback)",
                          (unsigned)tbs->version, (unsigned)judge->version_floor);
    }
    return kl_alg_strength(judge->work_type, judge->work_bits, alg->alg, err);
}

enum kl_rc kl_judge_kcv(const struct kl_tbs *tbs, const uint8_t *kcv, struct kl_err *err)
{
    char theirs[KL_KCV_TEXT], ours[KL_KCV_TEXT];

    if (CRYPTO_memcmp(tbs->kcv, kcv, tbs->kcv_len) == 0) {
        return KL_OK;
    }
    kl_kcv_format(tbs->kcv, tbs->kcv_len, theirs);
    kl_kcv_format(kcv, tbs->kcv_len, ours);
    return kl_err_set(err, KL_ERR_VERIFY, "S9: the TMK's KCV is %s, MasterKey says %s", ours,
                      theirs);
}
