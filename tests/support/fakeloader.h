/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A key loader made of nothing but OpenSSL: its labels, transcripts and MACs come from the words of
 * the protocol, not from proto/ (which only codes messages). It can be told to spoil what it says.
 */
#ifndef KL_TESTS_SUPPORT_FAKELOADER_H
#define KL_TESTS_SUPPORT_FAKELOADER_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/message.h"

#define FAKE_SERIAL "T-0001" /* of the terminal it serves */
#define FAKE_DAY (24 * 3600)

extern EVP_PKEY *fake_root_key, *fake_other_key, *fake_work_key; /* made once, by fake_make_keys */
extern X509 *root, *fake_other_root;
extern X509 *work; /* AcquireWCRT as it should be */

struct fake_profile { /* of an AcquireWCRT; what is 0 or NULL is as it should be */
    const char *eku, *key_usage;
    long from_days, to_days;
};

struct fake_loader {
    uint8_t told[4 * KL_MSG_MAX]; /* Hello, Certificate, Randoms, MasterKey, end to end */
    size_t told_len;
    uint8_t t0[32], t1[32], t2[32];
    uint8_t rnd1[32], rnd2[32];
    X509 *work;         /* sent */
    EVP_PKEY *sign_key; /* signs tbs */
    enum kl_alg alg;
    uint32_t version;
    size_t kcv_len;
    uint8_t kcv[4];
    void (*spoil_certificate)(struct kl_certificate *);
    void (*spoil_tbs)(struct fake_loader *, struct kl_tbs *); /* before it is signed */
    void (*spoil_master_key)(struct fake_loader *, struct kl_master_key *); /* after */
};

X509 *fake_new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct fake_profile *profile);
void fake_make_keys(void);
void fake_free_keys(void);
void fake_loader_init(struct fake_loader *loader);
void fake_derive(const struct fake_loader *loader, const char *purpose, uint8_t key[32]);
void fake_encode(const struct kl_msg *msg, uint8_t *out, size_t *len);
void fake_say_certificate(struct fake_loader *loader, const uint8_t *hello, size_t hello_len,
                          uint8_t *out, size_t *out_len);
void fake_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg);
void fake_say_master_key(struct fake_loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len);
void fake_ack_mac(const struct fake_loader *loader, uint8_t mac[16]);
void fake_say_done(const struct fake_loader *loader, enum kl_verdict verdict, struct kl_msg *msg);

#endif
