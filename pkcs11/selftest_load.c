/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loads of the self-test: S5 to S9 with this token as loader and as the terminal's PIN pad.
 * The terminal's keys have the terminal's uses (K_nonce encrypts, K_wrap unwraps), so both
 * directions of every operation are tried, and a TMK made here is never anybody's.
 */
#include "pkcs11/suite.h"

#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "pkcs11/ops.h"
#include "proto/secret.h"
#include "proto/transcript.h"

/* A load seen from the terminal. Large, so never on the stack. */
struct self {
    const struct kl_work *work;
    enum kl_alg alg;
    struct kl_self_pad pad;
    CK_OBJECT_HANDLE ack, done, tmk;
    struct kl_transcript *transcript;
    uint8_t t0[KL_HASH_LEN], t1[KL_HASH_LEN], t2[KL_HASH_LEN];
    uint8_t hello[KL_MSG_MAX], certificate[KL_MSG_MAX], randoms[KL_MSG_MAX];
    size_t hello_len, certificate_len, randoms_len;
    struct kl_msg msg; /* scratch */
    struct kl_load_out out;
};

/* Encodes self->msg and puts it into the transcript. */
static enum kl_rc emit(struct self *self, uint8_t *der, size_t *len, struct kl_err *err)
{
    enum kl_rc rc = kl_msg_encode(&self->msg, der, len, err);

    return rc != KL_OK ? rc : kl_transcript_add(self->transcript, der, *len, err);
}

static enum kl_rc make_hello(struct self *self, struct kl_err *err)
{
    struct kl_hello hello = {
        .version = KL_PROTOCOL_VERSION,
        .suite_count = 1,
        .suites = {(uint8_t)self->work->suite->id},
        .alg_count = 1,
        .algs = {(uint8_t)self->alg},
        .serial = "SELF-TEST",
        .pinpad_serial = "SELF-TEST",
    };

    self->msg = (struct kl_msg){.type = KL_MSG_HELLO, .u.hello = hello};
    return emit(self, self->hello, &self->hello_len, err);
}

/* The work certificate may not be issued yet; its public key stands in for it. */
static enum kl_rc make_certificate(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    struct kl_certificate certificate = {
        .suite = (uint8_t)self->work->suite->id,
        .oaep_hash = (uint8_t)self->work->oaep_hash,
        .chain_count = 1,
    };
    uint8_t *der = NULL;
    enum kl_rc rc;
    int len;

    kl_err_openssl_clear();
    len = i2d_PUBKEY(self->work->public_key, &der);
    if (len <= 0) {
        return kl_err_openssl(err, KL_ERR_INTERNAL, "i2d_PUBKEY", "public key");
    }
    certificate.chain[0] = (struct kl_bytes){der, (size_t)len};
    if ((rc = kl_op_random(loader->session, certificate.nonce, sizeof(certificate.nonce), err)) ==
        KL_OK) {
        self->msg = (struct kl_msg){.type = KL_MSG_CERTIFICATE, .u.certificate = certificate};
        rc = emit(self, self->certificate, &self->certificate_len, err);
    }
    if (rc == KL_OK) {
        rc = kl_transcript_hash(self->transcript, self->t0, err);
    }
    OPENSSL_free(der);
    return rc;
}

/* S5 in the PIN pad. */
static enum kl_rc make_randoms(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    const struct kl_suite_loader *suite = self->work->suite;
    enum kl_rc rc;

    self->msg = (struct kl_msg){.type = KL_MSG_RANDOMS, .u.randoms.suite = suite->id};
    if ((rc = suite->enclose(loader, self->work, self->t0, &self->pad, &self->msg.u.randoms,
                             err)) != KL_OK ||
        (rc = emit(self, self->randoms, &self->randoms_len, err)) != KL_OK) {
        return rc;
    }
    return kl_transcript_hash(self->transcript, self->t1, err);
}

/* Unwraps a cryptogram of the TMK and compares the KCV. */
static enum kl_rc check_cryptogram(struct kl_loader *loader, struct self *self,
                                   CK_OBJECT_HANDLE key, const uint8_t *wrapped, size_t len,
                                   const char *what, struct kl_err *err)
{
    uint8_t kcv[KL_KCV_LEN_MAX];
    enum kl_rc rc;

    kl_op_destroy(loader->session, &self->tmk);
    if ((rc = kl_op_unwrap_tmk(loader->session, key, self->alg, wrapped, len, KL_USE_KCV,
                               &self->tmk, err)) != KL_OK ||
        (rc = kl_op_kcv(loader->session, self->tmk, self->alg, self->out.kcv_len, kcv, err)) !=
            KL_OK) {
        return kl_err_context(err, "%s", what);
    }
    if (CRYPTO_memcmp(kcv, self->out.kcv, self->out.kcv_len) != 0) {
        return kl_err_set(err, KL_ERR_HSM_LACKS,
                          "%s: CKM_AES_KEY_WRAP does not give back the key that went in", what);
    }
    return KL_OK;
}

/* S8 of a suite whose signature does not cover tbs. */
static enum kl_rc check_tbs_mac(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    const struct kl_master_key *master_key = &self->msg.u.master_key;
    uint8_t mac[KL_MAC_LEN];
    enum kl_rc rc =
        self->work->suite->mac(loader, self->pad.rnd1, self->t0, master_key->tbs_der, mac, err);

    if (rc == KL_OK && CRYPTO_memcmp(mac, master_key->mac, KL_MAC_LEN) != 0) {
        rc = kl_err_set(err, KL_ERR_HSM_LACKS, "C_Sign(CKM_AES_CMAC) gives another MAC");
    }
    return rc;
}

/* S8 and S9 in the PIN pad, and the store's cryptogram. */
static enum kl_rc check_master_key(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    struct kl_master_key *master_key = &self->msg.u.master_key;
    const struct kl_tbs *tbs = &master_key->tbs;
    const struct kl_load_out *out = &self->out;
    enum kl_rc rc;

    if ((rc = kl_msg_decode(out->master_key, out->master_key_len, &self->msg, err)) != KL_OK ||
        (rc = self->work->suite->open(self->work, master_key, err)) != KL_OK) {
        return kl_err_context(err, "C_Sign by the work key");
    }
    if (self->work->suite->mac && (rc = check_tbs_mac(loader, self, err)) != KL_OK) {
        return rc;
    }
    if (CRYPTO_memcmp(tbs->rnd2, self->pad.rnd2, KL_RND2_LEN) != 0 ||
        CRYPTO_memcmp(tbs->t1, self->t1, KL_HASH_LEN) != 0) {
        return kl_err_set(err, KL_ERR_HSM_LACKS, "C_Decrypt gives back another text than went in");
    }
    rc = check_cryptogram(loader, self, self->pad.unwrap, tbs->ctmk, tbs->ctmk_len,
                          "TMK for the terminal", err);
    return rc != KL_OK ? rc
                       : check_cryptogram(loader, self, loader->storage_key, out->cryptogram,
                                          out->cryptogram_len, "TMK under the storage key", err);
}

/* The MAC that the terminal's PIN pad would send, and the one it would expect. */
static enum kl_rc check_macs(struct kl_loader *loader, struct self *self, struct kl_err *err)
{
    const struct kl_load_out *out = &self->out;
    uint8_t ack[KL_ACK_INPUT_MAX], done[KL_DONE_INPUT_LEN];
    uint8_t ack_mac[KL_MAC_LEN], done_mac[KL_MAC_LEN];
    size_t len;
    enum kl_rc rc;

    if ((rc = kl_transcript_add(self->transcript, out->master_key, out->master_key_len, err)) !=
            KL_OK ||
        (rc = kl_transcript_hash(self->transcript, self->t2, err)) != KL_OK ||
        (rc = kl_loader_derive(loader, self->pad.rnd1, self->t0, KL_PURPOSE_ACK, KL_USE_MAC,
                               &self->ack, err)) != KL_OK ||
        (rc = kl_loader_derive(loader, self->pad.rnd1, self->t0, KL_PURPOSE_DONE, KL_USE_MAC,
                               &self->done, err)) != KL_OK) {
        return rc;
    }
    len = kl_suite_ack_input(self->t2, out->kcv, out->kcv_len, ack);
    kl_suite_done_input(self->t2, KL_VERDICT_ACTIVE, done);
    if ((rc = kl_op_cmac(loader->session, self->ack, ack, len, ack_mac, err)) != KL_OK ||
        (rc = kl_op_cmac(loader->session, self->done, done, sizeof(done), done_mac, err)) !=
            KL_OK) {
        return rc;
    }
    if (CRYPTO_memcmp(ack_mac, out->ack_mac, KL_MAC_LEN) != 0 ||
        CRYPTO_memcmp(done_mac, out->active_mac, KL_MAC_LEN) != 0) {
        return kl_err_set(err, KL_ERR_HSM_LACKS, "C_Sign(CKM_AES_CMAC) gives another MAC");
    }
    return KL_OK;
}

static enum kl_rc one_load(struct kl_loader *loader, const struct kl_work *work, enum kl_alg alg,
                           struct kl_err *err)
{
    struct self *self = calloc(1, sizeof(*self));
    struct kl_load_in in = {
        .work_key = work->label,
        .alg = alg,
        .tmk_version = 1,
        .kcv_len = KL_KCV_LEN_MAX,
    };
    enum kl_rc rc;

    if (!self) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory");
    }
    self->work = work;
    self->alg = alg;
    if ((rc = kl_transcript_new(&self->transcript, err)) != KL_OK ||
        (rc = make_hello(self, err)) != KL_OK ||
        (rc = make_certificate(loader, self, err)) != KL_OK ||
        (rc = make_randoms(loader, self, err)) != KL_OK) {
        goto out;
    }
    in.hello = (struct kl_bytes){self->hello, self->hello_len};
    in.certificate = (struct kl_bytes){self->certificate, self->certificate_len};
    in.randoms = (struct kl_bytes){self->randoms, self->randoms_len};
    if ((rc = kl_loader_load(loader, &in, &self->out, err)) != KL_OK ||
        (rc = check_master_key(loader, self, err)) != KL_OK) {
        goto out;
    }
    rc = check_macs(loader, self, err);
out:
    kl_op_destroy(loader->session, &self->tmk);
    kl_op_destroy(loader->session, &self->done);
    kl_op_destroy(loader->session, &self->ack);
    kl_op_destroy(loader->session, &self->pad.unwrap);
    kl_op_destroy(loader->session, &self->pad.rnd1);
    kl_transcript_free(self->transcript);
    kl_wipe(self, sizeof(*self));
    free(self);
    return rc;
}

enum kl_rc kl_loader_selftest_loads(struct kl_loader *loader, const struct kl_work *work,
                                    struct kl_err *err)
{
    struct kl_err too_weak = KL_ERR_INIT;

    for (unsigned alg = 1; alg <= KL_ALG_COUNT; alg++) {
        enum kl_rc rc;

        if (loader->strength_enforce &&
            kl_alg_strength(work->type, work->bits, alg, &too_weak) != KL_OK) {
            continue;
        }
        rc = one_load(loader, work, alg, err);
        if (rc != KL_OK) {
            return kl_err_context(err, "load of a TMK %s", kl_alg_info(alg)->name);
        }
    }
    return KL_OK;
}
