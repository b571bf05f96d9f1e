/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests and certificates signed by a token: OpenSSL encodes what is to be signed, the token
 * signs it, and OpenSSL verifies the result before it leaves this file.
 */
#include "pkcs11/x509sign.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "pkcs11/ops.h"

#define PSS_SALT_LEN 32

struct kl_signer {
    struct kl_session *session; /* NULL: `pkey` signs */
    CK_OBJECT_HANDLE private_key;
    EVP_PKEY *pkey; /* with session: the public key */
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

static enum kl_rc signer_new(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                             EVP_PKEY *pkey, struct kl_signer **out, struct kl_err *err)
{
    struct kl_signer *signer;

    if (!EVP_PKEY_is_a(pkey, "RSA")) {
        return kl_err_set(err, KL_ERR_KEY, "signing key is not an RSA key");
    }
    if (!(signer = calloc(1, sizeof(*signer)))) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a signer");
    }
    *signer = (struct kl_signer){session, private_key, pkey};
    *out = signer;
    return KL_OK;
}

enum kl_rc kl_signer_token(struct kl_session *session, CK_OBJECT_HANDLE private_key,
                           EVP_PKEY *public_key, struct kl_signer **out, struct kl_err *err)
{
    return signer_new(session, private_key, public_key, out, err);
}

enum kl_rc kl_signer_pkey(EVP_PKEY *private_key, struct kl_signer **out, struct kl_err *err)
{
    return signer_new(NULL, CK_INVALID_HANDLE, private_key, out, err);
}

void kl_signer_free(struct kl_signer *signer)
{
    free(signer);
}

EVP_PKEY *kl_signer_public(const struct kl_signer *signer)
{
    return signer->pkey;
}

/* ---- By an OpenSSL key ---- */

static enum kl_rc sign_openssl(struct kl_signer *signer, const struct target *target,
                               enum kl_sig_alg alg, struct kl_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* owned by ctx */
    enum kl_rc rc = KL_OK;
    int ok = ctx && EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, signer->pkey) == 1;

    if (ok && alg == KL_SIG_RSA_PSS_SHA256) {
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, EVP_sha256()) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, PSS_SALT_LEN) == 1;
    }
    if (ok) {
        ok = (target->req ? X509_REQ_sign_ctx(target->req, ctx)
                          : X509_sign_ctx(target->cert, ctx)) > 0;
    }
    if (!ok) {
        rc = kl_err_openssl(err, KL_ERR_KEY, "X509_sign_ctx", "%s cannot be signed",
                            target_name(target));
    }
    EVP_MD_CTX_free(ctx);
    return rc;
}

/* ---- By a token ---- */

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

static X509_ALGOR *signature_algorithm(enum kl_sig_alg alg)
{
    X509_ALGOR *out = X509_ALGOR_new();
    ASN1_STRING *params = NULL;
    int ok;

    if (!out) {
        return NULL;
    }
    if (alg == KL_SIG_RSA_PSS_SHA256) {
        params = pss_parameters();
        ok = params && X509_ALGOR_set0(out, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, params);
    } else {
        ok = X509_ALGOR_set0(out, OBJ_nid2obj(NID_sha256WithRSAEncryption), V_ASN1_NULL, NULL);
    }
    if (!ok) {
        ASN1_STRING_free(params);
        X509_ALGOR_free(out);
        return NULL;
    }
    return out;
}

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

static int set_signature(const struct target *target, const uint8_t *sig, size_t len)
{
    const ASN1_BIT_STRING *place = NULL;
    ASN1_BIT_STRING *bits;

    if (target->req) {
        X509_REQ_get0_signature(target->req, &place, NULL);
    } else {
        X509_get0_signature(&place, NULL, target->cert);
    }
    bits = (ASN1_BIT_STRING *)place;
    if (!bits || !ASN1_STRING_set(bits, sig, (int)len)) {
        return 0;
    }
    /* No unused bits at the end, whatever the bytes are. */
    bits->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
    bits->flags |= ASN1_STRING_FLAG_BITS_LEFT;
    return 1;
}

static enum kl_rc sign_token(struct kl_signer *signer, const struct target *target,
                             enum kl_sig_alg alg, struct kl_err *err)
{
    X509_ALGOR *algorithm = signature_algorithm(alg);
    uint8_t *tbs = NULL, sig[KL_RSA_MAX];
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
    if (alg == KL_SIG_RSA_PSS_SHA256) {
        rc = kl_op_sign_pss(signer->session, signer->private_key, tbs, (size_t)len, sig,
                            sizeof(sig), &sig_len, err);
    } else {
        rc = kl_op_sign_pkcs1(signer->session, signer->private_key, tbs, (size_t)len, sig,
                              sizeof(sig), &sig_len, err);
    }
    ERR_clear_error();
    if (rc == KL_OK && !set_signature(target, sig, sig_len)) {
        rc = kl_err_openssl(err, KL_ERR_MEMORY, "ASN1_STRING_set", "signature");
    }
out:
    OPENSSL_free(tbs);
    X509_ALGOR_free(algorithm);
    return rc;
}

/* ---- Both ---- */

static enum kl_rc sign_and_verify(struct kl_signer *signer, const struct target *target,
                                  enum kl_sig_alg alg, struct kl_err *err)
{
    enum kl_rc rc;

    ERR_clear_error();
    rc = signer->session ? sign_token(signer, target, alg, err)
                         : sign_openssl(signer, target, alg, err);
    if (rc != KL_OK) {
        return rc;
    }
    ERR_clear_error(); /* of a module, which may use this very queue */
    if ((target->req ? X509_REQ_verify(target->req, signer->pkey)
                     : X509_verify(target->cert, signer->pkey)) != 1) {
        return kl_err_openssl(err, KL_ERR_VERIFY, "X509_verify",
                              "the signature just made on the %s does not verify",
                              target_name(target));
    }
    return KL_OK;
}

enum kl_rc kl_sign_request(struct kl_signer *signer, X509_REQ *req, enum kl_sig_alg alg,
                           struct kl_err *err)
{
    const struct target target = {.req = req};

    return sign_and_verify(signer, &target, alg, err);
}

enum kl_rc kl_sign_certificate(struct kl_signer *signer, X509 *cert, enum kl_sig_alg alg,
                               struct kl_err *err)
{
    const struct target target = {.cert = cert};

    return sign_and_verify(signer, &target, alg, err);
}
