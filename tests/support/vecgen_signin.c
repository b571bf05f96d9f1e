/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole sign-ins, each under the TMK of one of the loads: see vecgen.h. */
#include <string.h>

#include "proto/field62.h"
#include "tests/support/vecgen.h"

/* What is chosen. Each "random" value begins with `first` plus a number of its own. */
struct spec {
    const char *name, *title;
    enum kl_alg alg; /* of the TMK */
    enum kl_key_format format;
    uint32_t version;
    size_t kcv_len;
    char serial[KL_SERIAL_MAX + 1], pinpad_serial[KL_SERIAL_MAX + 1];
    uint8_t first;
    const char *tmk, *pik, *mak; /* hex */
};

static const struct spec specs[] = {
    {
        .name = "sign-in-aes",
        .title = "PIK and MAK of AES-128 under the TMK of ec-p256, KCVs of 3 bytes",
        .alg = KL_ALG_AES128,
        .format = KL_FORMAT_KEYS,
        .version = 7,
        .kcv_len = 3,
        .serial = "T3-0042",
        .pinpad_serial = "PP-0042",
        .first = 0x30,
        .tmk = "00112233445566778899aabbccddeeff",
        .pik = "909192939495969798999a9b9c9d9e9f",
        .mak = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
    },
    {
        .name = "sign-in-tdes",
        .title = "PIK and MAK of 2-key TDES under the TMK of classic, KCVs of 4 bytes",
        .alg = KL_ALG_TDES2,
        .format = KL_FORMAT_KEYS,
        .version = 5,
        .kcv_len = 4,
        .serial = "C-3",
        .pinpad_serial = "PP-C-3",
        .first = 0x38,
        .tmk = "0123456789abcdeffedcba9876543210",
        .pik = "1334577999bbcddff123456789abcdef",
        .mak = "8ca64de9c1b123a77a6b5c4d3e2f1001",
    },
    {
        .name = "sign-in-field62",
        .title = "PIK of 2-key TDES and MAK of single length, as field 62, under the TMK of tdes2: "
                 "the example in 6.11",
        .alg = KL_ALG_TDES2,
        .format = KL_FORMAT_FIELD62,
        .version = 1,
        .kcv_len = 4,
        .serial = "POS-0001",
        .pinpad_serial = "PP-0001",
        .first = 0x40,
        .tmk = "ca5d92598dca48ce8a4c76361a9269e9",
        .pik = "0123456789abcdeffedcba9876543210",
        .mak = "1122334455667788",
    },
};

struct sign_in {
    FILE *out;
    const struct spec *spec;
    const struct kl_alg_info *info;
    uint8_t tmk[KL_TMK_LEN_MAX], session[KL_TMK_LEN_MAX], c_session[KL_CTMK_LEN_MAX];
    size_t session_len, c_session_len;
    uint8_t first[KL_MSG_MAX], t0[KL_HASH_LEN]; /* SignIn */
    size_t first_len;
    uint8_t k_keys[KL_HASH_LEN], k_ack[KL_HASH_LEN], k_done[KL_HASH_LEN];
};

static void do_sign_in(struct sign_in *sign_in)
{
    const struct spec *spec = sign_in->spec;
    struct kl_msg msg = {.type = KL_MSG_SIGN_IN};

    msg.u.sign_in.version = KL_PROTOCOL_VERSION;
    memcpy(msg.u.sign_in.serial, spec->serial, sizeof(spec->serial));
    memcpy(msg.u.sign_in.pinpad_serial, spec->pinpad_serial, sizeof(spec->pinpad_serial));
    msg.u.sign_in.tmk_version = spec->version;
    msg.u.sign_in.format = (uint8_t)spec->format;
    vg_choose((uint8_t)(spec->first + 0x40), msg.u.sign_in.nonce, KL_HASH_LEN);
    vg_print(sign_in->out, "nonce", msg.u.sign_in.nonce, KL_HASH_LEN);
    sign_in->first_len = vg_print_message(sign_in->out, "sign_in", &msg, sign_in->first);
    vg_sha256(&(struct kl_bytes){sign_in->first, sign_in->first_len}, 1, sign_in->t0);
    vg_print(sign_in->out, "t0", sign_in->t0, KL_HASH_LEN);
}

/* Under an AES TMK chosen; under a TDES one derived. */
static void do_session(struct sign_in *sign_in)
{
    const struct kl_alg_info *info = sign_in->info;
    struct kl_err err = KL_ERR_INIT;

    sign_in->session_len = kl_alg_info(kl_suite_session_alg(info->alg))->key_len;
    if (info->is_aes) {
        vg_choose((uint8_t)(sign_in->spec->first + 0x80), sign_in->session, sign_in->session_len);
        sign_in->c_session_len = vg_under(info, sign_in->tmk, sign_in->session,
                                          sign_in->session_len, sign_in->c_session);
        return;
    }
    sign_in->c_session_len = KL_SESSION_INPUT_LEN;
    vg_need_rc(kl_suite_session_input(sign_in->t0, sign_in->c_session, &err), &err);
    vg_decipher_tdes(info, sign_in->tmk, sign_in->c_session, KL_SESSION_INPUT_LEN,
                     sign_in->session);
}

static void do_keys(struct sign_in *sign_in)
{
    static const enum kl_purpose purposes[] = {KL_PURPOSE_KEYS, KL_PURPOSE_ACK, KL_PURPOSE_DONE};
    uint8_t *const keys[] = {sign_in->k_keys, sign_in->k_ack, sign_in->k_done};

    do_session(sign_in);
    vg_print(sign_in->out, "tmk", sign_in->tmk, sign_in->info->key_len);
    vg_print(sign_in->out, "session_key", sign_in->session, sign_in->session_len);
    for (size_t i = 0; i < 3; i++) {
        vg_derive(sign_in->out, purposes[i], sign_in->session, sign_in->session_len, sign_in->t0,
                  keys[i]);
    }
}

/* A working key, printed: in clear, its KCV, and under the TMK. A single-length one has the KCV of
 * the double-length key that it stands for. */
static void do_key(struct sign_in *sign_in, const char *name, const char *hex,
                   struct kl_wrapped_key *out)
{
    uint8_t key[KL_TMK_LEN_MAX], block[KL_MAC_LEN];
    size_t len = strlen(hex) / 2;
    char prefixed[16];

    vg_hex(hex, key, len);
    vg_print(sign_in->out, name, key, len);
    out->len = vg_under(sign_in->info, sign_in->tmk, key, len, out->data);
    if (len < sign_in->info->key_len) {
        memcpy(key + len, key, len);
    }
    vg_kcv(sign_in->info, key, block);
    out->kcv_len = sign_in->spec->kcv_len;
    memcpy(out->kcv, block, out->kcv_len);
    snprintf(prefixed, sizeof(prefixed), "c_%s", name);
    vg_print(sign_in->out, prefixed, out->data, out->len);
    vg_print_named(sign_in->out, name, "_kcv", out->kcv, out->kcv_len);
}

static void do_field62(struct sign_in *sign_in, struct kl_working_keys *keys)
{
    struct kl_field62 field;

    memcpy(field.pik, keys->pik.data, sizeof(field.pik));
    memcpy(field.pik_kcv, keys->pik.kcv, sizeof(field.pik_kcv));
    memcpy(field.mak, keys->mak.data, sizeof(field.mak));
    memcpy(field.mak_kcv, keys->mak.kcv, sizeof(field.mak_kcv));
    kl_field62_format(&field, keys->field62);
    keys->has_field62 = 1;
    memset(&keys->pik, 0, sizeof(keys->pik));
    memset(&keys->mak, 0, sizeof(keys->mak));
    vg_print(sign_in->out, "field62", keys->field62, KL_FIELD62_LEN);
}

/* The whole message; returns PIK's KCV. */
static struct kl_loaded do_working_keys(struct sign_in *sign_in, uint8_t t2[KL_HASH_LEN])
{
    struct kl_msg msg = {.type = KL_MSG_WORKING_KEYS};
    struct kl_working_keys *keys = &msg.u.working_keys;
    struct kl_err err = KL_ERR_INIT;
    struct kl_loaded loaded = {0};
    uint8_t body[KL_KEYS_BODY_MAX], der[KL_MSG_MAX], hash[KL_HASH_LEN];
    struct kl_bytes parts[2] = {{sign_in->first, sign_in->first_len}, {body, 0}};

    keys->tmk_version = sign_in->spec->version;
    keys->alg = (uint8_t)sign_in->spec->alg;
    keys->c_session_len = sign_in->c_session_len;
    memcpy(keys->c_session, sign_in->c_session, sizeof(keys->c_session));
    vg_print(sign_in->out, "c_session", keys->c_session, keys->c_session_len);
    do_key(sign_in, "pik", sign_in->spec->pik, &keys->pik);
    do_key(sign_in, "mak", sign_in->spec->mak, &keys->mak);
    loaded.kcv_len = keys->pik.kcv_len;
    memcpy(loaded.kcv, keys->pik.kcv, sizeof(loaded.kcv));
    if (sign_in->spec->format == KL_FORMAT_FIELD62) {
        do_field62(sign_in, keys);
    }
    vg_need_rc(kl_keys_body_encode(keys, body, &parts[1].len, &err), &err);
    keys->body_der = parts[1];
    vg_sha256(parts, 2, hash);
    vg_cmac(sign_in->k_keys, KL_HASH_LEN, hash, KL_HASH_LEN, keys->mac);
    vg_print(sign_in->out, "body", body, parts[1].len);
    vg_print(sign_in->out, "keys_input", hash, KL_HASH_LEN);
    vg_print(sign_in->out, "keys_mac", keys->mac, KL_MAC_LEN);
    parts[1] = (struct kl_bytes){der, vg_print_message(sign_in->out, "working_keys", &msg, der)};
    vg_sha256(parts, 2, t2);
    vg_print(sign_in->out, "t2", t2, KL_HASH_LEN);
    return loaded;
}

static void print_sign_in(FILE *out, const struct spec *spec)
{
    struct sign_in sign_in = {.out = out, .spec = spec, .info = kl_alg_info(spec->alg)};
    struct kl_loaded loaded;
    uint8_t t2[KL_HASH_LEN];

    vg_hex(spec->tmk, sign_in.tmk, sign_in.info->key_len);
    vg_print_heading(out, spec->name, spec->title, spec->serial, spec->pinpad_serial);
    do_sign_in(&sign_in);
    do_keys(&sign_in);
    loaded = do_working_keys(&sign_in, t2);
    vg_print_loaded(out, sign_in.k_ack, t2, &loaded);
    vg_print_done(out, "done", sign_in.k_done, t2, KL_VERDICT_ACTIVE, spec->version);
    vg_print_end(out);
}

void vg_sign_ins(const struct vg *vg)
{
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        print_sign_in(vg->out, &specs[i]);
    }
}
