/* SPDX-License-Identifier: BSD-2-Clause */
/* See rogue_pki.h. */
#include "terminal-sim/attack/rogue_pki.h"

#include <openssl/rsa.h>
#include <string.h>

#include "proto/cert.h"

static enum kl_rc failed(struct kl_err *err)
{
    return kl_err_openssl(err, KL_ERR_INTERNAL, "OpenSSL",
                          "the rogue loader's keys and certificates cannot be made");
}

enum kl_rc kl_rogue_pki_make(struct kl_rogue_pki *pki, struct kl_err *err)
{
    pki->root_key = EVP_EC_gen("P-256");
    pki->other_key = EVP_EC_gen("P-256");
    pki->ec = EVP_EC_gen("P-256");
    pki->other_ec = EVP_EC_gen("P-256");
    pki->rsa = EVP_RSA_gen(2048);
    pki->other_rsa = EVP_RSA_gen(2048);
    if (!pki->root_key || !pki->other_key || !pki->ec || !pki->other_ec || !pki->rsa ||
        !pki->other_rsa) {
        return failed(err);
    }
    pki->root = kl_rogue_cert("Rogue root", pki->root_key, NULL, pki->root_key, NULL);
    pki->other_root = kl_rogue_cert("Rogue root", pki->other_key, NULL, pki->other_key, NULL);
    pki->roots = sk_X509_new_null();
    if (!pki->root || !pki->other_root || !pki->roots || !sk_X509_push(pki->roots, pki->root)) {
        return failed(err);
    }
    return KL_OK;
}

void kl_rogue_pki_wipe(struct kl_rogue_pki *pki)
{
    sk_X509_free(pki->roots);
    X509_free(pki->other_root);
    X509_free(pki->root);
    EVP_PKEY_free(pki->other_ec);
    EVP_PKEY_free(pki->ec);
    EVP_PKEY_free(pki->other_rsa);
    EVP_PKEY_free(pki->rsa);
    EVP_PKEY_free(pki->other_key);
    EVP_PKEY_free(pki->root_key);
    memset(pki, 0, sizeof(*pki));
}

static struct kl_rogue_profile profile_of(enum kl_sc_cert kind)
{
    struct kl_rogue_profile profile = {0};

    switch (kind) {
    case KL_SC_CERT_EXPIRED:
        profile.from_days = -30;
        profile.to_days = -1;
        break;
    case KL_SC_CERT_EARLY:
        profile.from_days = 1;
        break;
    case KL_SC_CERT_TERMINAL:
        profile.eku = "critical," KL_OID_EKU_TERMINAL;
        break;
    case KL_SC_CERT_NO_USAGE:
        profile.eku = "critical,serverAuth";
        break;
    case KL_SC_CERT_SIGN_ONLY:
        profile.key_usage = "critical,digitalSignature";
        break;
    case KL_SC_CERT_NO_CRL:
    case KL_SC_CERT_REVOKED:
    case KL_SC_CERT_OLD_CRL:
    case KL_SC_CERT_OTHER_SCOPE:
    case KL_SC_CERT_OTHER_CRL:
        profile.crl_scope = KL_CRL_SCOPE_LOADER;
        break;
    default:
        break;
    }
    return profile;
}

/* 1 if the loader has the CRL that such a certificate is to be shown with. */
static int staple(const struct kl_rogue_pki *pki, enum kl_sc_cert kind, struct kl_rogue *out)
{
    struct kl_rogue_crl_profile crl = {0};
    int other = kind == KL_SC_CERT_OTHER_CRL;

    if (kind < KL_SC_CERT_REVOKED) {
        return 1;
    }
    if (kind == KL_SC_CERT_REVOKED) {
        crl.revoked = out->work;
    } else if (kind == KL_SC_CERT_OLD_CRL) {
        crl.from_days = -8;
        crl.to_days = -1;
    } else if (kind == KL_SC_CERT_OTHER_SCOPE) {
        crl.scope = KL_CRL_SCOPE_TERMINAL;
    }
    out->crl = kl_rogue_crl(other ? pki->other_root : pki->root,
                            other ? pki->other_key : pki->root_key, &crl);
    return out->crl != NULL;
}

enum kl_rc kl_rogue_pki_loader(const struct kl_rogue_pki *pki, enum kl_suite suite,
                               enum kl_sc_cert kind, struct kl_rogue *out, struct kl_err *err)
{
    const struct kl_rogue_profile profile = profile_of(kind);
    int is_ec = kl_suite_key_type(suite) == KL_KEY_EC;
    EVP_PKEY *key = is_ec ? pki->ec : pki->rsa;
    X509 *issuer = kind == KL_SC_CERT_FOREIGN       ? pki->other_root
                   : kind == KL_SC_CERT_SELF_SIGNED ? NULL
                                                    : pki->root;
    EVP_PKEY *issuer_key = kind == KL_SC_CERT_FOREIGN       ? pki->other_key
                           : kind == KL_SC_CERT_SELF_SIGNED ? key
                                                            : pki->root_key;

    kl_rogue_init(out, key, kl_rogue_cert("Rogue loader", key, issuer, issuer_key, &profile));
    out->suite = suite;
    if (!out->work || !staple(pki, kind, out)) {
        kl_rogue_drop(out);
        return failed(err);
    }
    if (kind == KL_SC_CERT_OTHER_KEY) {
        out->sign_key = is_ec ? pki->other_ec : pki->other_rsa;
    }
    return KL_OK;
}

void kl_rogue_drop(struct kl_rogue *loader)
{
    X509_free(loader->work);
    X509_CRL_free(loader->crl);
    memset(loader, 0, sizeof(*loader));
}
