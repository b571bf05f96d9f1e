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

/* Made once, by fake_make_keys. */
extern EVP_PKEY *fake_root_key, *fake_other_key, *fake_work_key, *fake_ec_key; /* EC: P-256 */
extern X509 *root, *fake_other_root;
extern X509 *work, *fake_ec_work; /* AcquireWCRT as it should be, of either key */

struct fake_profile { /* of an AcquireWCRT; what is 0 or NULL is as it should be */
    const char *eku, *key_usage;
    long from_days, to_days;
    const char *crl_scope; /* cRLDistributionPoints; NULL = none */
};

struct fake_crl { /* of a CRL; what is 0 or NULL is as it should be */
    const char *scope;
    long from_days, to_days;
    const X509 *revoked;
};

struct fake_loader {
    uint8_t told[4 * KL_MSG_MAX]; /* Hello, Certificate, Randoms, MasterKey, end to end */
    size_t told_len;
    uint8_t t0[32], t1[32], t2[32];
    uint8_t rnd1[32], rnd2[32];
    enum kl_suite suite;
    X509 *work;         /* sent */
    EVP_PKEY *work_key; /* opens C_rnd1_rnd2 */
    EVP_PKEY *sign_key; /* signs tbs */
    X509_CRL *crl;      /* stapled; NULL = none */
    int classic_delta;  /* bytes that classic's signature gives back beyond, or short of, its due */
    EVP_PKEY *device;   /* whose signature over Randoms is checked; NULL = none is expected */
    enum kl_alg alg;
    uint32_t version;
    size_t kcv_len;
    uint8_t kcv[4];
    void (*spoil_certificate)(struct kl_certificate *);
    void (*spoil_tbs)(struct fake_loader *, struct kl_tbs *); /* before signature and MAC */
    void (*spoil_master_key)(struct fake_loader *, struct kl_master_key *); /* after */

    /* ---- Sign-in: the session key is in rnd1, what it is derived by in t0 ---- */
    size_t session_len; /* 16 or 24 then; 0 in a load */
    uint8_t pik[32], mak[32];
    enum kl_alg keys_alg;
    const uint8_t *fixed_pik, *fixed_mak; /* as long as the TMK; NULL = drawn */
    void (*spoil_keys)(struct fake_loader *, struct kl_working_keys *);       /* before the MAC */
    void (*spoil_keys_after)(struct fake_loader *, struct kl_working_keys *); /* after */
};

X509 *fake_new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct fake_profile *profile);
X509_CRL *fake_new_crl(X509 *issuer, EVP_PKEY *issuer_key, const struct fake_crl *profile);
void fake_make_keys(void);
void fake_free_keys(void);
void fake_loader_init(struct fake_loader *loader);
/* Makes it a loader of hardened-ec on that key and certificate, or of classic. */
void fake_loader_ec(struct fake_loader *loader, EVP_PKEY *key, X509 *cert);
void fake_loader_classic(struct fake_loader *loader);
void fake_derive(const struct fake_loader *loader, const char *purpose, uint8_t key[32]);
void fake_encode(const struct kl_msg *msg, uint8_t *out, size_t *len);
void fake_say_certificate(struct fake_loader *loader, const uint8_t *hello, size_t hello_len,
                          uint8_t *out, size_t *out_len);
void fake_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt, struct kl_master_key *msg);
void fake_say_master_key(struct fake_loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len);
/* SignIn in, WorkingKeys out. */
void fake_say_keys(struct fake_loader *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                   size_t *out_len);
/* What the loader would recompute of a MAC or a PIN block; fake_block is ECB. */
void fake_retail_mac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                     uint8_t mac[8]);
void fake_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t mac[16]);
void fake_block(enum kl_alg alg, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                uint8_t *out);
void fake_ack_mac(const struct fake_loader *loader, uint8_t mac[16]);
void fake_say_done(const struct fake_loader *loader, enum kl_verdict verdict, struct kl_msg *msg);

#endif
