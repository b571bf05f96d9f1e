/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests, certificates and CRLs signed by a token: OpenSSL encodes what is to be signed, the
 * token signs it, and OpenSSL verifies the result before it leaves this file.
 */
#include "pkcs11/x509sign.h"

#include <openssl/asn1t.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "pkcs11/ops.h"
#include "proto/alg.h"
#include "proto/cert.h"
#include "proto/pubkey.h"

#define PSS_SALT_LEN 32
#define SIGNATURE_MAX KL_RSA_MAX /* more than any ECDSA signature in DER */

enum sig_alg { SIG_PSS, SIG_PKCS1, SIG_ECDSA };

struct kl_signer {
    struct kl_session *session; /* NULL: `pkey` signs */
    CK_OBJECT_HANDLE private_key;
    EVP_PKEY *pkey; /* with session: the public key */
    enum kl_pair_role role;
    enum sig_alg alg;
    const struct kl_curve *curve; /* with SIG_ECDSA, else NULL */
};

/* What to sign: a request or a certificate, the other NULL. */
struct target {
    X509_REQ *req;
    X509 *cert;
};

static const char *target_name(const struct target *target)
{
    return target->req ? "certification request" : "certificate";
}

/* ---- Signers ---- */

static enum kl_rc choose_algorithm(enum kl_pair_role role, enum kl_key_type type, enum sig_alg *alg,
                                   struct kl_err *err)
{
    static const struct {
        int rsa, ec; /* enum sig_alg, or -1: the role has no such key */
    } by_role[] = {
        [KL_PAIR_WORK] = {SIG_PSS, -1},      [KL_PAIR_WORK_CLASSIC] = {SIG_PKCS1, -1},
        [KL_PAIR_WORK_EC] = {-1, SIG_ECDSA}, [KL_PAIR_CA] = {SIG_PKCS1, SIG_ECDSA},
        [KL_PAIR_TRANSPORT] = {-1, -1},      [KL_PAIR_DEVICE] = {SIG_PSS, SIG_ECDSA},
        [KL_PAIR_AUDIT] = {-1, -1},
    };
    int chosen = -1;

    if ((size_t)role < sizeof(by_role) / sizeof(by_role[0])) {
        chosen = type == KL_KEY_EC ? by_role[role].ec : by_role[role].rsa;
    }
    if (chosen < 0) {
        return kl_err_set(err, KL_ERR_KEY, "a key of this kind signs no requests or certificates");
    }
    *alg = (enum sig_alg)chosen;
    return KL_OK;
}

static enum kl_rc signer_new(struct kl_session *session, enum kl_pair_role role,
                             CK_OBJECT_HANDLE private_key, EVP_PKEY *pkey, struct kl_signer **out,
                             struct kl_err *err)
{
    struct kl_signer *signer;
    enum kl_key_type type = KL_KEY_RSA;
    enum sig_alg alg = SIG_PSS;
    unsigned bits = 0;

    if (kl_pubkey_type(pkey, &type, &bits, err) != KL_OK) {
        err->rc = KL_ERR_KEY; /* it is our own key, nobody's certificate */
        return kl_err_context(err, "signing key");
    }
    if (choose_algorithm(role, type, &alg, err) != KL_OK) {
        return err->rc;
    }
    if (!(signer = calloc(1, sizeof(*signer)))) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a signer");
    }
    *signer = (struct kl_signer){.session = session,
                                 .private_key = private_key,
                                 .pkey = pkey,
                                 .role = role,
                                 .alg = alg,
                                 .curve = type == KL_KEY_EC ? kl_curve_by_bits(bits) : NULL};
    *out = signer;
    return KL_OK;
}

enum kl_rc kl_signer_token(struct kl_session *session, enum kl_pair_role role,
                           CK_OBJECT_HANDLE private_key, EVP_PKEY *public_key,
                           struct kl_signer **out, struct kl_err *err)
{
    return signer_new(session, role, private_key, public_key, out, err);
}

enum kl_rc kl_signer_pkey(enum kl_pair_role role, EVP_PKEY *private_key, struct kl_signer **out,
                          struct kl_err *err)
{
    return signer_new(NULL, role, CK_INVALID_HANDLE, private_key, out, err);
}

void kl_signer_free(struct kl_signer *signer)
{
    free(signer);
}

EVP_PKEY *kl_signer_public(const struct kl_signer *signer)
{
    return signer->pkey;
}

/* ---- The algorithm's name ---- */

/* RFC 4055 section 3.1: every parameter that is not its SHA-1 default, spelled out. */
static ASN1_STRING *pss_parameters(void)
{
    RSA_PSS_PARAMS *params = RSA_PSS_PARAMS_new();
    X509_ALGOR *mgf_hash = X509_ALGOR_new();
    ASN1_STRING *mgf_param = NULL, *out = NULL;

    if (!params || !mgf_hash || !(params->hashAlgorithm = X509_ALGOR_new()) ||
        !(params->maskGenAlgorithm = X509_ALGOR_new()) ||
        !(params->saltLength = ASN1_INTEGER_new())) {
        goto out;
    }
    /* Section 2.1: the hash's own parameters are NULL, which X509_ALGOR_set_md would leave out. */
    if (!X509_ALGOR_set0(params->hashAlgorithm, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) ||
        !X509_ALGOR_set0(mgf_hash, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) ||
        !ASN1_item_pack(mgf_hash, ASN1_ITEM_rptr(X509_ALGOR), &mgf_param) ||
        !X509_ALGOR_set0(params->maskGenAlgorithm, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE,
                         mgf_param)) {
        goto out;
    }
    mgf_param = NULL;
    if (ASN1_INTEGER_set(params->saltLength, PSS_SALT_LEN)) {
        (void)ASN1_item_pack(params, ASN1_ITEM_rptr(RSA_PSS_PARAMS), &out);
    }
out:
    ASN1_STRING_free(mgf_param);
    X509_ALGOR_free(mgf_hash);
    RSA_PSS_PARAMS_free(params);
    return out;
}

/* NULL on failure. */
static X509_ALGOR *signature_algorithm(const struct kl_signer *signer)
{
    X509_ALGOR *out = X509_ALGOR_new();
    ASN1_STRING *params = NULL;
    int nid = NID_undef, ok = 0;

    if (!out) {
        return NULL;
    }
    switch (signer->alg) {
    case SIG_PSS:
        params = pss_parameters();
        ok = params && X509_ALGOR_set0(out, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, params);
        break;
    case SIG_PKCS1:
        ok = X509_ALGOR_set0(out, OBJ_nid2obj(NID_sha256WithRSAEncryption), V_ASN1_NULL, NULL);
        break;
    case SIG_ECDSA: /* RFC 5758 section 3.2: without parameters */
        ok = OBJ_find_sigid_by_algs(&nid, OBJ_sn2nid(signer->curve->hash), EVP_PKEY_EC) == 1 &&
             X509_ALGOR_set0(out, OBJ_nid2obj(nid), V_ASN1_UNDEF, NULL);
        break;
    }
    if (!ok) {
        ASN1_STRING_free(params);
        X509_ALGOR_free(out);
        return NULL;
    }
    return out;
}

/* ---- Bytes ---- */

static enum kl_rc sign_openssl(const struct kl_signer *signer, const uint8_t *in, size_t in_len,
                               uint8_t sig[SIGNATURE_MAX], size_t *len, struct kl_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* owned by ctx */
    const char *hash = signer->curve ? signer->curve->hash : "SHA256";
    size_t n = SIGNATURE_MAX;
    int ok = ctx && EVP_DigestSignInit_ex(ctx, &pctx, hash, NULL, NULL, signer->pkey, NULL) == 1;

    if (ok && signer->alg == SIG_PSS) {
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, EVP_sha256()) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, PSS_SALT_LEN) == 1;
    }
    ok = ok && EVP_DigestSign(ctx, sig, &n, in, in_len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        return kl_err_openssl(err, KL_ERR_KEY, "EVP_DigestSign", "signing failed");
    }
    *len = n;
    return KL_OK;
}

static enum kl_rc sign_token(const struct kl_signer *signer, const uint8_t *in, size_t in_len,
                             uint8_t sig[SIGNATURE_MAX], size_t *len, struct kl_err *err)
{
    uint8_t raw[2 * KL_EC_FIELD_MAX];
    size_t raw_len = 0;
    enum kl_rc rc = KL_ERR_INTERNAL;

    switch (signer->alg) {
    case SIG_PSS:
        return kl_op_sign_pss(signer->session, signer->private_key, in, in_len, sig, SIGNATURE_MAX,
                              len, err);
    case SIG_PKCS1:
        return kl_op_sign_pkcs1(signer->session, signer->private_key, in, in_len, sig,
                                SIGNATURE_MAX, len, err);
    case SIG_ECDSA:
        rc = kl_op_sign_ecdsa(signer->session, signer->private_key, signer->curve, in, in_len, raw,
                              sizeof(raw), &raw_len, err);
        if (rc == KL_OK) {
            rc = kl_ecdsa_to_der(signer->curve, raw, raw_len, sig, len, err);
        }
        break;
    }
    return rc;
}

static enum kl_rc sign_bytes(const struct kl_signer *signer, const uint8_t *in, size_t in_len,
                             uint8_t sig[SIGNATURE_MAX], size_t *len, struct kl_err *err)
{
    enum kl_rc rc;

    kl_err_openssl_clear();
    rc = (signer->session ? sign_token : sign_openssl)(signer, in, in_len, sig, len, err);
    kl_err_openssl_clear(); /* of a module, which may use this very queue */
    return rc;
}

/* ---- Requests and certificates ---- */

/* Writes the algorithm where it stands: in a certificate twice, inside what is signed and beside
 * it. OpenSSL 3.0 has setters for requests only; for a certificate its getters give the places. */
static int set_algorithm(const struct target *target, X509_ALGOR *algorithm)
{
    const X509_ALGOR *outer = NULL;

    if (target->req) {
        return X509_REQ_set1_signature_algo(target->req, algorithm);
    }
    X509_get0_signature(NULL, &outer, target->cert);
    return X509_ALGOR_copy((X509_ALGOR *)X509_get0_tbs_sigalg(target->cert), algorithm) &&
           X509_ALGOR_copy((X509_ALGOR *)outer, algorithm);
}

static int fill_bits(ASN1_BIT_STRING *bits, const uint8_t *sig, size_t len)
{
    if (!bits || !ASN1_STRING_set(bits, sig, (int)len)) {
        return 0;
    }
    /* No unused bits at the end, whatever the bytes are. */
    bits->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
    bits->flags |= ASN1_STRING_FLAG_BITS_LEFT;
    return 1;
}

static int set_signature(const struct target *target, const uint8_t *sig, size_t len)
{
    const ASN1_BIT_STRING *place = NULL;

    if (target->req) {
        X509_REQ_get0_signature(target->req, &place, NULL);
    } else {
        X509_get0_signature(&place, NULL, target->cert);
    }
    return fill_bits((ASN1_BIT_STRING *)place, sig, len);
}

static enum kl_rc sign_target(struct kl_signer *signer, const struct target *target,
                              struct kl_err *err)
{
    X509_ALGOR *algorithm = signature_algorithm(signer);
    uint8_t *tbs = NULL, sig[SIGNATURE_MAX];
    size_t sig_len = 0;
    enum kl_rc rc;
    int len;

    if (!algorithm || !set_algorithm(target, algorithm)) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "X509_ALGOR_set0", "signature algorithm");
        goto out;
    }
    len =
        target->req ? i2d_re_X509_REQ_tbs(target->req, &tbs) : i2d_re_X509_tbs(target->cert, &tbs);
    if (len <= 0) {
        rc = kl_err_openssl(err, KL_ERR_INTERNAL, "i2d_re_X509_tbs", "%s cannot be encoded",
                            target_name(target));
        goto out;
    }
    rc = sign_bytes(signer, tbs, (size_t)len, sig, &sig_len, err);
    if (rc == KL_OK && !set_signature(target, sig, sig_len)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_STRING_set", "signature");
    }
    if (rc == KL_OK && (target->req ? X509_REQ_verify(target->req, signer->pkey)
                                    : X509_verify(target->cert, signer->pkey)) != 1) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "X509_verify",
                            "the signature just made on the %s does not verify",
                            target_name(target));
    }
out:
    OPENSSL_free(tbs);
    X509_ALGOR_free(algorithm);
    return rc;
}

static enum kl_rc check_ca(const struct kl_signer *signer, struct kl_err *err)
{
    return signer->role == KL_PAIR_CA
               ? KL_OK
               : kl_err_set(err, KL_ERR_KEY, "only a CA's key signs certificates and CRLs");
}

enum kl_rc kl_sign_request(struct kl_signer *signer, X509_REQ *req, struct kl_err *err)
{
    const struct target target = {.req = req};

    return sign_target(signer, &target, err);
}

enum kl_rc kl_sign_certificate(struct kl_signer *signer, X509 *cert, struct kl_err *err)
{
    const struct target target = {.cert = cert};
    enum kl_rc rc = check_ca(signer, err);

    return rc == KL_OK ? sign_target(signer, &target, err) : rc;
}

/* ---- CRLs ---- */

/* CertificateList of RFC 5280 section 5.1, whose fields OpenSSL lets nobody complete. */
struct crl_tbs {
    ASN1_INTEGER *version;
    X509_ALGOR *algorithm;
    X509_NAME *issuer;
    ASN1_TIME *this_update, *next_update;
    STACK_OF(X509_REVOKED) * revoked;
    STACK_OF(X509_EXTENSION) * extensions;
};
struct crl_signed {
    struct crl_tbs *tbs;
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *signature;
};
typedef struct crl_tbs CRL_TBS;
typedef struct crl_signed CRL_SIGNED;

/* clang-format off */
ASN1_SEQUENCE(CRL_TBS) = {
    ASN1_OPT(CRL_TBS, version, ASN1_INTEGER),
    ASN1_SIMPLE(CRL_TBS, algorithm, X509_ALGOR),
    ASN1_SIMPLE(CRL_TBS, issuer, X509_NAME),
    ASN1_SIMPLE(CRL_TBS, this_update, ASN1_TIME),
    ASN1_OPT(CRL_TBS, next_update, ASN1_TIME),
    ASN1_SEQUENCE_OF_OPT(CRL_TBS, revoked, X509_REVOKED),
    ASN1_EXP_SEQUENCE_OF_OPT(CRL_TBS, extensions, X509_EXTENSION, 0),
} static_ASN1_SEQUENCE_END(CRL_TBS)

ASN1_SEQUENCE(CRL_SIGNED) = {
    ASN1_SIMPLE(CRL_SIGNED, tbs, CRL_TBS),
    ASN1_SIMPLE(CRL_SIGNED, algorithm, X509_ALGOR),
    ASN1_SIMPLE(CRL_SIGNED, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(CRL_SIGNED)
    /* clang-format on */

    static enum kl_rc
    encode(const void *value, const ASN1_ITEM *item, uint8_t **der, int *len, struct kl_err *err)
{
    *len = ASN1_item_i2d(value, der, item);
    return *len > 0
               ? KL_OK
               : kl_err_openssl(err, KL_ERR_INTERNAL, "ASN1_item_i2d", "CRL cannot be encoded");
}

/* The encoding of content, signed, read back and verified. */
static enum kl_rc sign_crl_content(struct kl_signer *signer, struct crl_tbs *content,
                                   X509_CRL **out, struct kl_err *err)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    struct crl_signed whole = {content, content->algorithm, bits};
    uint8_t *tbs = NULL, *der = NULL, sig[SIGNATURE_MAX];
    X509_CRL *crl = NULL;
    size_t sig_len = 0;
    int len = 0;
    enum kl_rc rc = encode(content, ASN1_ITEM_rptr(CRL_TBS), &tbs, &len, err);

    if (rc == KL_OK) {
        rc = sign_bytes(signer, tbs, (size_t)len, sig, &sig_len, err);
    }
    if (rc == KL_OK && !fill_bits(bits, sig, sig_len)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_STRING_set", "signature");
    }
    if (rc == KL_OK) {
        rc = encode(&whole, ASN1_ITEM_rptr(CRL_SIGNED), &der, &len, err);
    }
    if (rc == KL_OK) {
        const uint8_t *p = der;
        crl = d2i_X509_CRL(NULL, &p, len);
        if (!crl) {
            rc = kl_err_openssl(err, KL_ERR_INTERNAL, "d2i_X509_CRL", "CRL cannot be read again");
        }
    }
    if (rc == KL_OK && X509_CRL_verify(crl, signer->pkey) != 1) {
        rc = kl_err_openssl(err, KL_ERR_VERIFY, "X509_CRL_verify",
                            "the signature just made on the CRL does not verify");
    }
    if (rc == KL_OK) {
        *out = crl;
        crl = NULL;
    }
    X509_CRL_free(crl);
    OPENSSL_free(der);
    OPENSSL_free(tbs);
    ASN1_BIT_STRING_free(bits);
    return rc;
}

enum kl_rc kl_sign_crl(struct kl_signer *signer, X509_CRL *draft, X509_CRL **out,
                       struct kl_err *err)
{
    struct crl_tbs content = {
        .version = ASN1_INTEGER_new(),
        .algorithm = signature_algorithm(signer),
        .issuer = X509_CRL_get_issuer(draft),
        .this_update = (ASN1_TIME *)X509_CRL_get0_lastUpdate(draft),
        .next_update = (ASN1_TIME *)X509_CRL_get0_nextUpdate(draft),
        .revoked = X509_CRL_get_REVOKED(draft),
        .extensions = (STACK_OF(X509_EXTENSION) *)X509_CRL_get0_extensions(draft),
    };
    enum kl_rc rc = check_ca(signer, err);

    if (rc == KL_OK && (!content.version || !content.algorithm ||
                        !ASN1_INTEGER_set(content.version, X509_CRL_get_version(draft)))) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_INTEGER_new", "CRL");
    }
    if (rc == KL_OK) {
        rc = sign_crl_content(signer, &content, out, err);
    }
    X509_ALGOR_free(content.algorithm);
    ASN1_INTEGER_free(content.version);
    return rc;
}
