/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small PKI in memory for tests: plan a good one, put a flaw into the plan, make it. Certificates
 * and CRLs come out encoded and signed as planned, however wrong that is.
 */
#ifndef KL_TESTS_SUPPORT_PKI_H
#define KL_TESTS_SUPPORT_PKI_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#define PKI_NOW ((time_t)1800000000)
#define PKI_DAY 86400

/* Made once, before check forks. root, other, inter, leaf: RSA; weak: RSA-1024; e3: RSA with
 * exponent 3; ec_root: P-384. */
struct pki_keys {
    EVP_PKEY *root, *other, *inter, *leaf, *weak, *e3;
    EVP_PKEY *ec_root, *p256, *p384, *p521, *k256, *ed25519;
};
extern struct pki_keys pki_keys;
void pki_make_keys(void);
void pki_free_keys(void);
EVP_PKEY *pki_make_rsa(size_t bits, unsigned exponent);

/* What a certificate is to say; extensions as in openssl.cnf, NULL = left out. Those that need
 * sections find the ones in pki.c. */
struct pki_spec {
    const char *subject, *issuer; /* common names, under O=Bank */
    const char *serial[2];        /* serialNumber attributes of the subject */
    EVP_PKEY *key, *signer;
    const char *basic_constraints, *key_usage, *eku, *ski, *aki, *cdp;
    long from, to; /* seconds from PKI_NOW */
    const EVP_MD *md;
    int pss;           /* sign by RSA-PSS, with ... */
    const EVP_MD *mgf; /* ... this in MGF1, NULL = md too */
    int odd_extension; /* 1 = a critical one that nobody knows */
    int twice_cdp;     /* 1 = the cdp extension once more */
};

/* issuer NULL = itself. The caller frees. */
X509 *pki_issue(const struct pki_spec *spec, X509 *issuer);

struct pki_crl_spec {
    const char *issuer;
    EVP_PKEY *signer;
    const char *idp; /* as in openssl.cnf */
    const EVP_MD *md;
    long version, number; /* number -1 = a negative one, -2 = none */
    long from, to;        /* seconds from PKI_NOW; to 0 = no nextUpdate */
    const char *odd_time; /* thisUpdate, as it stands */
    int lists_leaf;       /* 1 = listed, 2 = with a reason, 3 = with a critical extension */
    int others;           /* serial numbers of nobody, before and after */
    int delta;            /* 1 = deltaCRLIndicator, not critical; 2 = critical */
    int odd_extension;    /* 1 = a critical one that nobody knows, 2 = not critical */
    int twice_idp;
};

/* A whole little PKI, good until a flaw is put in. */
struct pki {
    struct pki_spec root, inter, leaf;
    struct pki_crl_spec crl;
    int use_inter; /* 1 = leaf is issued by inter */
    X509 *root_cert, *inter_cert, *leaf_cert;
    X509_CRL *leaf_crl;             /* of the leaf's issuer */
    STACK_OF(X509) * chain, *roots; /* borrow */
};
void pki_plan(struct pki *pki);          /* a key loader's, RSA */
void pki_plan_terminal(struct pki *pki); /* terminal "SN-1" */
void pki_use_inter(struct pki *pki);
void pki_use_ec(struct pki *pki, EVP_PKEY *leaf); /* an EC root, and that key, a loader's */
void pki_use_crl(struct pki *pki);                /* the leaf names its CRL */
void pki_make(struct pki *pki);
void pki_wipe(struct pki *pki);

#endif
