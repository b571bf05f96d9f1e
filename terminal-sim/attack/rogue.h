/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A key loader that needs no HSM and holds nothing worth keeping, to be turned against terminals:
 * for attacks (attack.h), and for the tests of the terminal. It is made of nothing but OpenSSL: its
 * labels, transcripts and MACs come from the words of the protocol, not from proto/, which only
 * codes messages. It can be told to spoil what it says. Its TMK is a constant. One thread.
 */
#ifndef KL_TERMINAL_SIM_ATTACK_ROGUE_H
#define KL_TERMINAL_SIM_ATTACK_ROGUE_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/alg.h"
#include "proto/message.h"

/* ---- Certificates, good and bad ---- */

#define KL_ROGUE_DAY (24 * 3600) /* seconds */

struct kl_rogue_profile { /* of an AcquireWCRT; what is 0 or NULL is as it should be */
    const char *eku, *key_usage;
    long from_days, to_days;
    const char *crl_scope; /* cRLDistributionPoints; NULL = none */
};

struct kl_rogue_crl_profile { /* of a CRL; what is 0 or NULL is as it should be */
    const char *scope;
    long from_days, to_days;
    const X509 *revoked;
};

/* A certificate of that common name for a key; issuer NULL = a root of its own. NULL if OpenSSL
 * fails; the caller frees. */
X509 *kl_rogue_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                    const struct kl_rogue_profile *profile);
X509_CRL *kl_rogue_crl(X509 *issuer, EVP_PKEY *issuer_key,
                       const struct kl_rogue_crl_profile *profile);

/* ---- The loader ---- */

struct kl_rogue {
    char serial[KL_SERIAL_MAX + 1]; /* that Hello named */
    uint8_t told[4 * KL_MSG_MAX];   /* Hello, Certificate, Randoms, MasterKey, end to end */
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
    void (*spoil_tbs)(struct kl_rogue *, struct kl_tbs *); /* before signature and MAC */
    void (*spoil_master_key)(struct kl_rogue *, struct kl_master_key *); /* after */
    /* Changes the DER of tbs in place, before it is signed; 0 = it cannot. */
    int (*edit_tbs)(void *arg, uint8_t der[KL_TBS_MAX], size_t *len);
    void *edit_arg;

    /* ---- Sign-in: the session key is in rnd1, what it is derived by in t0 ---- */
    size_t session_len; /* 16 or 24 then; 0 in a load */
    uint8_t pik[32], mak[32];
    enum kl_alg keys_alg;
    const uint8_t *fixed_pik, *fixed_mak; /* as long as the TMK; NULL = drawn */
    void (*spoil_keys)(struct kl_rogue *, struct kl_working_keys *);       /* before the MAC */
    void (*spoil_keys_after)(struct kl_rogue *, struct kl_working_keys *); /* after */
};

/* Of hardened-rsa with that key and its certificate, which is borrowed as all it points to; a TMK
 * of TDES2, version 1. */
void kl_rogue_init(struct kl_rogue *loader, EVP_PKEY *work_key, X509 *work);

/* S3: Hello in, Certificate out. S6 and S7: Randoms in, MasterKey out. Sign-in: SignIn in,
 * WorkingKeys out. All out hold KL_MSG_MAX bytes. KL_ERR_PROTOCOL: what came cannot be read;
 * KL_ERR_VERIFY: it does not open; KL_ERR_INTERNAL: OpenSSL failed, or what it was told to say
 * cannot be coded. */
enum kl_rc kl_rogue_certificate(struct kl_rogue *loader, const uint8_t *hello, size_t hello_len,
                                uint8_t *out, size_t *out_len, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_rogue_master_key(struct kl_rogue *loader, const uint8_t *in, size_t in_len,
                               uint8_t *out, size_t *out_len, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_rogue_keys(struct kl_rogue *loader, const uint8_t *in, size_t in_len, uint8_t *out,
                         size_t *out_len, struct kl_err *err) KL_MUST_CHECK;
/* The MAC of a good Loaded; and Done, whatever came. */
enum kl_rc kl_rogue_ack_mac(const struct kl_rogue *loader, uint8_t mac[16],
                            struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_rogue_done(const struct kl_rogue *loader, enum kl_verdict verdict, struct kl_msg *msg,
                         struct kl_err *err) KL_MUST_CHECK;

/* ---- What it is made of; each 1 if it was done, else 0 ---- */

/* K_purpose: AES-ECB(Rnd1 or session key, SHA-256("keyloader/1 " purpose NUL t0)). */
int kl_rogue_derive(const struct kl_rogue *loader, const char *purpose, uint8_t key[32]);
int kl_rogue_block(enum kl_alg alg, int encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                   uint8_t *out); /* ECB */
int kl_rogue_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
                  uint8_t mac[16]);
int kl_rogue_kcv(enum kl_alg alg, const uint8_t *key, uint8_t kcv[4]);
/* RFC 3394: how many bytes came out, 0 = it failed. */
size_t kl_rogue_key_wrap(int wrap, const uint8_t *kek, size_t kek_len, const uint8_t *in,
                         size_t len, uint8_t *out);
/* RSASSA-PSS with a salt of that length, or ECDSA as r || s. */
int kl_rogue_sign(EVP_PKEY *key, const uint8_t *in, size_t len, int salt,
                  struct kl_master_key *msg);
/* The first len bytes of its TMK, 32 at most. */
const uint8_t *kl_rogue_tmk(void);
/* Goes on with the transcript; hash, unless NULL, gets SHA-256 over all of it so far. 0: no room.
 */
int kl_rogue_hear(struct kl_rogue *loader, const uint8_t *der, size_t len, uint8_t hash[32]);

#endif
