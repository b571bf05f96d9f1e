/* SPDX-License-Identifier: BSD-2-Clause */
/* The rogue loader's keys and roots, made once for a run, and its certificate for each session. */
#ifndef KL_TERMINAL_SIM_ATTACK_ROGUE_PKI_H
#define KL_TERMINAL_SIM_ATTACK_ROGUE_PKI_H

#include <openssl/x509.h>

#include "terminal-sim/attack/rogue.h"
#include "terminal-sim/attack/scenario.h"

struct kl_rogue_pki {
    EVP_PKEY *root_key, *other_key; /* of two roots of the same name */
    EVP_PKEY *rsa, *ec, *other_rsa, *other_ec;
    X509 *root, *other_root;
    STACK_OF(X509) * roots; /* what a terminal that trusts the first one has */
};

/* KL_ERR_INTERNAL: OpenSSL fails. kl_rogue_pki_wipe in any case. */
enum kl_rc kl_rogue_pki_make(struct kl_rogue_pki *pki, struct kl_err *err) KL_MUST_CHECK;
void kl_rogue_pki_wipe(struct kl_rogue_pki *pki);

/* A loader of that suite that shows such a certificate. kl_rogue_drop frees what it has. */
enum kl_rc kl_rogue_pki_loader(const struct kl_rogue_pki *pki, enum kl_suite suite,
                               enum kl_sc_cert kind, struct kl_rogue *out,
                               struct kl_err *err) KL_MUST_CHECK;
void kl_rogue_drop(struct kl_rogue *loader);

#endif
