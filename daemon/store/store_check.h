/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is a store whole, and as keyloader wrote it? All that can be seen without an HSM: the file, its
 * schema, the audit trail's chain, and the rules between rows. A backup is looked at so after it
 * was made and before it is restored.
 */
#ifndef KL_DAEMON_STORE_STORE_CHECK_H
#define KL_DAEMON_STORE_STORE_CHECK_H

#include <stdint.h>

#include "daemon/store/store.h"
#include "proto/err.h"

#define KL_CHECK_FINDINGS_MAX 100 /* told of; more are counted only */

/* kind: KL_ERR_STORE, the file is damaged; KL_ERR_VERIFY, it is whole, but not what keyloader
 * wrote. */
typedef void (*kl_finding_fn)(enum kl_rc kind, const char *text, void *arg);

struct kl_check {
    kl_finding_fn tell;
    void *arg;
    /* Out */
    uint64_t findings, terminals, tmks, records;
    enum kl_rc worst;    /* KL_OK, KL_ERR_VERIFY or KL_ERR_STORE */
    struct kl_err first; /* finding, as an error */
};

/* KL_OK: it was looked through, and check says what was found; else it could not be. Of the rows,
 * and then of the audit trail, one state is looked at, whoever writes meanwhile. */
enum kl_rc kl_store_check(struct kl_store *store, struct kl_check *check,
                          struct kl_err *err) KL_MUST_CHECK;

/* One more finding, by who looks further. */
void kl_check_found(struct kl_check *check, enum kl_rc kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
