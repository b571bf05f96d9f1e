/* SPDX-License-Identifier: BSD-2-Clause */
/* Sample messages: see messages.h. */
#include "tests/support/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(uint8_t *out, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(seed + i);
    }
}

static void sample_serials(char serial[KL_SERIAL_MAX + 1], char pinpad[KL_SERIAL_MAX + 1])
{
    snprintf(serial, KL_SERIAL_MAX + 1, "POS-0001");
    snprintf(pinpad, KL_SERIAL_MAX + 1, "PP_7.2");
}

static size_t sample_chain(struct kl_bytes chain[KL_CHAIN_MAX])
{
    static const uint8_t first[] = {0x30, 0x03, 0x02, 0x01, 0x05}, second[] = {0x30, 0x00};

    chain[0] = (struct kl_bytes){first, sizeof(first)};
    chain[1] = (struct kl_bytes){second, sizeof(second)};
    return 2;
}

static void sample_hello(unsigned sample, struct kl_hello *out)
{
    out->version = KL_PROTOCOL_VERSION;
    out->suite_count = 2;
    out->suites[0] = KL_SUITE_HARDENED_RSA;
    out->suites[1] = 200; /* one that nobody knows */
    out->alg_count = 2;
    out->algs[0] = KL_ALG_TDES2;
    out->algs[1] = KL_ALG_AES128;
    sample_serials(out->serial, out->pinpad_serial);
    if (sample == TEST_HELLO_FULL) {
        out->anchor_count = 2;
        fill(out->anchors[0], KL_HASH_LEN, 0xd0);
        fill(out->anchors[1], KL_HASH_LEN, 0xe0);
    }
    if (sample == TEST_HELLO_FULL || sample == TEST_HELLO_CHAIN) {
        out->chain_count = sample_chain(out->chain);
    }
}

static void sample_certificate(unsigned sample, struct kl_certificate *out)
{
    static const uint8_t crl[] = {0x30, 0x04, 0x02, 0x02, 0x06, 0x07};

    out->suite = KL_SUITE_HARDENED_RSA;
    out->oaep_hash = KL_OAEP_SHA256;
    fill(out->nonce, sizeof(out->nonce), 0x20);
    out->chain_count = sample_chain(out->chain);
    if (sample == TEST_CERTIFICATE_CRL) {
        out->crl = (struct kl_bytes){crl, sizeof(crl)};
    }
}

static void sample_randoms(unsigned sample, struct kl_randoms *out)
{
    out->suite = KL_SUITE_HARDENED_RSA;
    out->c_rnd1_len = 256;
    if (sample == TEST_RANDOMS_EC || sample == TEST_RANDOMS_EC_SIGNED) {
        out->suite = KL_SUITE_HARDENED_EC;
        out->c_rnd1_len = KL_C_RND1_EC_LEN;
        out->point_len = 97;
        fill(out->point, out->point_len, 4);
    }
    fill(out->c_rnd1, out->c_rnd1_len, 0);
    if (sample == TEST_RANDOMS_CLASSIC) {
        out->suite = KL_SUITE_CLASSIC;
    } else {
        fill(out->iv, sizeof(out->iv), 0x50);
        fill(out->c_rnd2, sizeof(out->c_rnd2), 0x60);
    }
    if (sample == TEST_RANDOMS_SIGNED || sample == TEST_RANDOMS_EC_SIGNED) {
        out->sig_len = 64;
        fill(out->sig, out->sig_len, 0x11);
    }
}

static void sample_loaded(struct kl_loaded *out)
{
    out->kcv_len = 3;
    fill(out->kcv, out->kcv_len, 0xa0);
    fill(out->mac, sizeof(out->mac), 0xb0);
}

static void sample_master_key(unsigned sample, struct kl_master_key *out)
{
    char pinpad[KL_SERIAL_MAX + 1];

    fill(out->tbs.t1, sizeof(out->tbs.t1), 0x10);
    if (sample != TEST_MASTER_KEY_CLASSIC) {
        fill(out->tbs.rnd2, sizeof(out->tbs.rnd2), 0x40);
        out->tbs.ctmk_len = 24;
        fill(out->tbs.ctmk, out->tbs.ctmk_len, 0x70);
    }
    sample_serials(out->tbs.serial, pinpad);
    out->tbs.usage = KL_USAGE_KEK;
    out->tbs.alg = KL_ALG_TDES2;
    out->tbs.version = 7;
    out->tbs.kcv_method = KL_KCV_TDES_ZEROS;
    out->tbs.kcv_len = 4;
    fill(out->tbs.kcv, out->tbs.kcv_len, 0x90);
    out->sig_len = sample == TEST_MASTER_KEY_EC ? 132 : 256;
    fill(out->sig, out->sig_len, 0);
    if (sample == TEST_MASTER_KEY_CLASSIC) {
        fill(out->mac, sizeof(out->mac), 0xd0);
    }
}

static void sample_sign_in(struct kl_sign_in *out)
{
    out->version = KL_PROTOCOL_VERSION;
    sample_serials(out->serial, out->pinpad_serial);
    out->tmk_version = 7;
    out->format = KL_FORMAT_FIELD62;
    fill(out->nonce, sizeof(out->nonce), 0x30);
}

static void sample_wrapped_key(size_t len, unsigned seed, struct kl_wrapped_key *out)
{
    out->len = len;
    fill(out->data, len, seed);
    out->kcv_len = 3;
    fill(out->kcv, out->kcv_len, seed + 0x80);
}

static void sample_working_keys(unsigned sample, struct kl_working_keys *out)
{
    int aes = sample == KL_MSG_WORKING_KEYS;

    out->tmk_version = 7;
    out->alg = aes ? KL_ALG_AES128 : KL_ALG_TDES3;
    out->c_session_len = aes ? 32 : 16;
    fill(out->c_session, out->c_session_len, 0x20);
    if (sample == TEST_KEYS_FIELD62) {
        out->has_field62 = 1;
        fill(out->field62, sizeof(out->field62), 0x01);
    } else {
        sample_wrapped_key(24, 0x40, &out->pik);
        sample_wrapped_key(24, 0x60, &out->mak);
    }
    fill(out->mac, sizeof(out->mac), 0xf0);
}

void test_sample_seal(struct kl_msg *msg)
{
    static uint8_t der[KL_TBS_MAX + KL_KEYS_BODY_MAX];
    struct kl_bytes *slice;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc;

    if (msg->type == KL_MSG_MASTER_KEY) {
        slice = &msg->u.master_key.tbs_der;
        rc = kl_tbs_encode(&msg->u.master_key.tbs, der, &slice->len, &err);
    } else {
        slice = &msg->u.working_keys.body_der;
        rc = kl_keys_body_encode(&msg->u.working_keys, der, &slice->len, &err);
    }
    if (rc != KL_OK) {
        abort();
    }
    slice->data = der;
}

/* Of which type the other shapes are. */
static enum kl_msg_type type_of(unsigned sample)
{
    static const enum kl_msg_type types[TEST_SAMPLE_COUNT] = {
        [TEST_HELLO_FULL] = KL_MSG_HELLO,
        [TEST_HELLO_CHAIN] = KL_MSG_HELLO,
        [TEST_CERTIFICATE_CRL] = KL_MSG_CERTIFICATE,
        [TEST_RANDOMS_SIGNED] = KL_MSG_RANDOMS,
        [TEST_RANDOMS_CLASSIC] = KL_MSG_RANDOMS,
        [TEST_RANDOMS_EC] = KL_MSG_RANDOMS,
        [TEST_RANDOMS_EC_SIGNED] = KL_MSG_RANDOMS,
        [TEST_MASTER_KEY_CLASSIC] = KL_MSG_MASTER_KEY,
        [TEST_MASTER_KEY_EC] = KL_MSG_MASTER_KEY,
        [TEST_KEYS_TDES] = KL_MSG_WORKING_KEYS,
        [TEST_KEYS_FIELD62] = KL_MSG_WORKING_KEYS,
    };

    if (sample >= TEST_SAMPLE_COUNT) {
        abort();
    }
    return sample < KL_MSG_TYPE_COUNT ? (enum kl_msg_type)sample : types[sample];
}

void test_sample(unsigned sample, struct kl_msg *out)
{
    memset(out, 0, sizeof(*out));
    out->type = type_of(sample);
    switch (out->type) {
    case KL_MSG_HELLO:
        sample_hello(sample, &out->u.hello);
        break;
    case KL_MSG_CERTIFICATE:
        sample_certificate(sample, &out->u.certificate);
        break;
    case KL_MSG_RANDOMS:
        sample_randoms(sample, &out->u.randoms);
        break;
    case KL_MSG_MASTER_KEY:
        sample_master_key(sample, &out->u.master_key);
        test_sample_seal(out);
        break;
    case KL_MSG_LOADED:
        sample_loaded(&out->u.loaded);
        break;
    case KL_MSG_FAILED:
        out->u.failed.reason = KL_WIRE_REFUSED;
        break;
    case KL_MSG_DONE:
        out->u.done.verdict = KL_VERDICT_ACTIVE;
        out->u.done.tmk_version = 300;
        fill(out->u.done.mac, sizeof(out->u.done.mac), 0xc0);
        break;
    case KL_MSG_CONFIRM:
        out->u.confirm.version = KL_PROTOCOL_VERSION;
        sample_serials(out->u.confirm.serial, out->u.confirm.pinpad_serial);
        out->u.confirm.tmk_version = 7;
        sample_loaded(&out->u.confirm.loaded);
        break;
    case KL_MSG_ERROR:
        out->u.error.code = KL_WIRE_BUSY;
        out->u.error.retry_after = 30;
        snprintf(out->u.error.text, sizeof(out->u.error.text), "try later");
        break;
    case KL_MSG_SIGN_IN:
        sample_sign_in(&out->u.sign_in);
        break;
    case KL_MSG_WORKING_KEYS:
        sample_working_keys(sample, &out->u.working_keys);
        test_sample_seal(out);
        break;
    }
}
