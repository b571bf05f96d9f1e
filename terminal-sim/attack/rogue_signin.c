/* SPDX-License-Identifier: BSD-2-Clause */
/* The loader's half of a sign-in, in OpenSSL. */
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "terminal-sim/attack/rogue.h"

/* Under the TMK: RFC 3394 or TDES-ECB. How many bytes came out; 0 = it failed. */
static size_t under_tmk(const struct kl_rogue *loader, const uint8_t *key, size_t len, uint8_t *out)
{
    const struct kl_alg_info *info = kl_alg_info(loader->alg);

    if (info->is_aes) {
        return kl_rogue_key_wrap(1, kl_rogue_tmk(), info->key_len, key, len, out);
    }
    return kl_rogue_block(loader->alg, 1, kl_rogue_tmk(), key, len, out) ? len : 0;
}

/* AES: drawn, of a length that no working key has. TDES: the hash, deciphered. */
static int put_session(struct kl_rogue *loader, struct kl_working_keys *keys)
{
    static const char label[] = "keyloader/1 session"; /* and its NUL */
    uint8_t in[sizeof(label) + 32], hash[32];

    loader->session_len = loader->alg == KL_ALG_AES128 ? 24 : 16;
    if (kl_alg_info(loader->alg)->is_aes) {
        keys->c_session_len =
            RAND_bytes(loader->rnd1, (int)loader->session_len) == 1
                ? under_tmk(loader, loader->rnd1, loader->session_len, keys->c_session)
                : 0;
        return keys->c_session_len > 0;
    }
    memcpy(in, label, sizeof(label));
    memcpy(in + sizeof(label), loader->t0, 32);
    SHA256(in, sizeof(in), hash);
    memcpy(keys->c_session, hash, 16);
    keys->c_session_len = 16;
    return kl_rogue_block(loader->alg, 0, kl_rogue_tmk(), hash, 16, loader->rnd1);
}

static int put_keys(struct kl_rogue *loader, struct kl_working_keys *keys)
{
    size_t len = kl_alg_info(loader->alg)->key_len;

    if (RAND_bytes(loader->pik, 32) != 1 || RAND_bytes(loader->mak, 32) != 1) {
        return 0;
    }
    if (loader->fixed_pik) {
        memcpy(loader->pik, loader->fixed_pik, len);
    }
    if (loader->fixed_mak) {
        memcpy(loader->mak, loader->fixed_mak, len);
    }
    loader->keys_alg = loader->alg;
    keys->pik.len = under_tmk(loader, loader->pik, len, keys->pik.data);
    keys->mak.len = under_tmk(loader, loader->mak, len, keys->mak.data);
    keys->pik.kcv_len = keys->mak.kcv_len = loader->kcv_len;
    if (!keys->pik.len || !keys->mak.len || !kl_rogue_kcv(loader->alg, loader->pik, loader->kcv) ||
        !kl_rogue_kcv(loader->alg, loader->mak, keys->mak.kcv)) {
        return 0;
    }
    memcpy(keys->pik.kcv, loader->kcv, loader->kcv_len);
    memset(keys->mak.kcv + loader->kcv_len, 0, 4 - loader->kcv_len);
    return 1;
}

/* PIK (16), KCV (4), MAK (8), zeros (8), KCV (4). */
static int put_field62(struct kl_rogue *loader, struct kl_working_keys *keys)
{
    if (RAND_bytes(loader->pik, 16) != 1 || RAND_bytes(loader->mak, 8) != 1) {
        return 0;
    }
    memcpy(loader->mak + 8, loader->mak, 8);
    loader->keys_alg = KL_ALG_TDES2;
    loader->kcv_len = 4;
    keys->has_field62 = 1;
    if (!under_tmk(loader, loader->pik, 16, keys->field62) ||
        !kl_rogue_kcv(KL_ALG_TDES2, loader->pik, keys->field62 + 16) ||
        !under_tmk(loader, loader->mak, 8, keys->field62 + 20) ||
        !kl_rogue_kcv(KL_ALG_TDES2, loader->mak, keys->field62 + 36)) {
        return 0;
    }
    memcpy(loader->kcv, keys->field62 + 16, 4);
    return 1;
}

static enum kl_rc broken(struct kl_err *err)
{
    return kl_err_openssl(err, KL_ERR_INTERNAL, "OpenSSL", "the rogue loader: WorkingKeys failed");
}

/* K_keys over SignIn and body. */
static int put_mac(const struct kl_rogue *loader, const uint8_t *sign_in, size_t sign_in_len,
                   struct kl_working_keys *keys)
{
    uint8_t in[KL_MSG_MAX + KL_KEYS_BODY_MAX], hash[32], key[32];

    memcpy(in, sign_in, sign_in_len);
    memcpy(in + sign_in_len, keys->body_der.data, keys->body_der.len);
    SHA256(in, sign_in_len + keys->body_der.len, hash);
    return kl_rogue_derive(loader, "keys", key) && kl_rogue_cmac(key, 32, hash, 32, keys->mac);
}

enum kl_rc kl_rogue_keys(struct kl_rogue *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len, struct kl_err *err)
{
    struct kl_msg sign_in, msg = {.type = KL_MSG_WORKING_KEYS};
    struct kl_working_keys *keys = &msg.u.working_keys;
    uint8_t body[KL_KEYS_BODY_MAX];
    size_t len = 0;
    enum kl_rc rc = kl_msg_decode(in, in_len, &sign_in, err);

    if (!rc && sign_in.type != KL_MSG_SIGN_IN) {
        rc = kl_err_set(err, KL_ERR_PROTOCOL, "the rogue loader got %s instead of SignIn",
                        kl_msg_name(sign_in.type));
    }
    if (rc) {
        return rc;
    }
    loader->told_len = 0;
    keys->tmk_version = loader->version;
    keys->alg = (uint8_t)loader->alg;
    if (!kl_rogue_hear(loader, in, in_len, loader->t0) || !put_session(loader, keys) ||
        !(sign_in.u.sign_in.format == KL_FORMAT_FIELD62 ? put_field62(loader, keys)
                                                        : put_keys(loader, keys))) {
        return broken(err);
    }
    if (loader->spoil_keys) {
        loader->spoil_keys(loader, keys);
    }
    rc = kl_keys_body_encode(keys, body, &len, err);
    keys->body_der = (struct kl_bytes){body, len};
    if (!rc && !put_mac(loader, in, in_len, keys)) {
        rc = broken(err);
    }
    if (!rc && loader->spoil_keys_after) {
        loader->spoil_keys_after(loader, keys);
        rc = kl_keys_body_encode(keys, body, &len, err);
        keys->body_der.len = len;
    }
    if (!rc) {
        rc = kl_msg_encode(&msg, out, out_len, err);
    }
    if (!rc && !kl_rogue_hear(loader, out, *out_len, loader->t2)) {
        rc = broken(err);
    }
    return rc;
}
