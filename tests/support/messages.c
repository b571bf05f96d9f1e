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

static void sample_certificate(struct kl_certificate *out)
{
    static const uint8_t first[] = {0x30, 0x03, 0x02, 0x01, 0x05}, second[] = {0x30, 0x00};

    out->suite = KL_SUITE_HARDENED_RSA;
    out->oaep_hash = KL_OAEP_SHA256;
    fill(out->nonce, sizeof(out->nonce), 0x20);
    out->chain_count = 2;
    out->chain[0] = (struct kl_bytes){first, sizeof(first)};
    out->chain[1] = (struct kl_bytes){second, sizeof(second)};
}

static void sample_loaded(struct kl_loaded *out)
{
    out->kcv_len = 3;
    fill(out->kcv, out->kcv_len, 0xa0);
    fill(out->mac, sizeof(out->mac), 0xb0);
}

static void sample_master_key(struct kl_master_key *out)
{
    static uint8_t tbs_der[KL_TBS_MAX];
    struct kl_err err = KL_ERR_INIT;
    char pinpad[KL_SERIAL_MAX + 1];

    fill(out->tbs.t1, sizeof(out->tbs.t1), 0x10);
    fill(out->tbs.rnd2, sizeof(out->tbs.rnd2), 0x40);
    out->tbs.ctmk_len = 24;
    fill(out->tbs.ctmk, out->tbs.ctmk_len, 0x70);
    sample_serials(out->tbs.serial, pinpad);
    out->tbs.usage = KL_USAGE_KEK;
    out->tbs.alg = KL_ALG_TDES2;
    out->tbs.version = 7;
    out->tbs.kcv_method = KL_KCV_TDES_ZEROS;
    out->tbs.kcv_len = 4;
    fill(out->tbs.kcv, out->tbs.kcv_len, 0x90);
    out->sig_len = 256;
    fill(out->sig, out->sig_len, 0);
    if (kl_tbs_encode(&out->tbs, tbs_der, &out->tbs_der.len, &err) != KL_OK) {
        abort();
    }
    out->tbs_der.data = tbs_der;
}

void test_sample(enum kl_msg_type type, struct kl_msg *out)
{
    memset(out, 0, sizeof(*out));
    out->type = type;
    switch (type) {
    case KL_MSG_HELLO:
        out->u.hello.version = KL_PROTOCOL_VERSION;
        out->u.hello.suite_count = 2;
        out->u.hello.suites[0] = KL_SUITE_HARDENED_RSA;
        out->u.hello.suites[1] = 200; /* one that nobody knows */
        out->u.hello.alg_count = 2;
        out->u.hello.algs[0] = KL_ALG_TDES2;
        out->u.hello.algs[1] = KL_ALG_AES128;
        sample_serials(out->u.hello.serial, out->u.hello.pinpad_serial);
        break;
    case KL_MSG_CERTIFICATE:
        sample_certificate(&out->u.certificate);
        break;
    case KL_MSG_RANDOMS:
        out->u.randoms.c_rnd1_len = 256;
        fill(out->u.randoms.c_rnd1, out->u.randoms.c_rnd1_len, 0);
        fill(out->u.randoms.iv, sizeof(out->u.randoms.iv), 0x50);
        fill(out->u.randoms.c_rnd2, sizeof(out->u.randoms.c_rnd2), 0x60);
        break;
    case KL_MSG_MASTER_KEY:
        sample_master_key(&out->u.master_key);
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
    }
}
