/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backup in the place of the store, whole or not at all: whatever instant it is cut off at, there
 * is either the store of before or the new one.
 */
#ifndef KL_DAEMON_STORE_STORE_RESTORE_H
#define KL_DAEMON_STORE_STORE_RESTORE_H

#include <limits.h>

#include "daemon/life/life_restore.h"
#include "daemon/store/store.h"
#include "daemon/store/store_check.h"
#include "proto/err.h"

struct kl_restore {
    const char *backup; /* file; borrowed, as all here */
    const char *path;   /* of the store */
    const char *actor;  /* for the audit record */
    int64_t now;
    int keep_schema; /* 1: the backup is of an older keyloader, which is to have it: as it is */
    kl_copy_fn tell; /* may be NULL */
    void *arg;
    /* Out */
    struct kl_check check;       /* of the backup; tell and arg are the caller's to set */
    char kept[PATH_MAX];         /* where the store of before is; "" = there was none */
    struct kl_restored restored; /* nothing with keep_schema */
    int unrecorded;              /* 1: with keep_schema, the store of before took no record of it */
};

/* Verifies the backup, keeps what is there beside it, under a name with the time, and puts the
 * backup in its place, made fit (kl_life_restored); with keep_schema as it is, which the store of
 * before records (store-left). KL_ERR_BUSY: a daemon serves the store, or some
 * program is at it. KL_ERR_STORE or KL_ERR_VERIFY, with check.findings: the backup is not good.
 * KL_ERR_INPUT: keep_schema, and it is not of an older version. */
enum kl_rc kl_store_restore(struct kl_restore *restore, struct kl_err *err) KL_MUST_CHECK;

#endif
