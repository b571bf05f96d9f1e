/* SPDX-License-Identifier: BSD-2-Clause */
/* A trust's inside, shared by trust_load.c (the files) and trust.c (its use). Nobody else includes
 * this. */
#ifndef KL_DAEMON_LOADER_TRUST_IMPL_H
#define KL_DAEMON_LOADER_TRUST_IMPL_H

#include "daemon/loader/trust.h"

struct kl_trust {
    unsigned references;
    STACK_OF(X509) * roots, *terminal_roots;   /* the latter NULL if there are none */
    STACK_OF(X509_CRL) * crls, *terminal_crls; /* never NULL */
    size_t count;
    struct kl_trust_entry entries[KL_TRUST_MAX];
};

/* The time in an ASN.1 value that is known to be right. */
time_t kl_trust_time(const ASN1_TIME *time);

#endif
