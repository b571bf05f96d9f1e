/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CSV as RFC 4180 has it, strictly: one record at a time from text in memory, quotes and all.
 * Whatever the RFC does not know (NULs, control characters, a lone CR, a quote within a bare
 * field, text after a closing quote) is refused, and so is a record of more than KL_CSV_RECORD_MAX
 * bytes or KL_CSV_FIELD_MAX fields. Lines may end in LF alone; a leading UTF-8 byte order mark is
 * passed over.
 */
#ifndef KL_DAEMON_CSV_H
#define KL_DAEMON_CSV_H

#include <stddef.h>

#include "proto/err.h"

#define KL_CSV_RECORD_MAX 1024 /* bytes, without the line end */
#define KL_CSV_FIELD_MAX 8

struct kl_csv {
    const char *at, *end; /* what is still to read */
    unsigned long next_line;
    /* The record last read. */
    unsigned long line; /* where it begins, from 1 */
    size_t count;
    const char *field[KL_CSV_FIELD_MAX]; /* NUL-terminated, in buf */
    char buf[KL_CSV_RECORD_MAX + KL_CSV_FIELD_MAX];
};

/* Begins at text, which is borrowed. */
void kl_csv_init(struct kl_csv *csv, const char *text, size_t len);

/* Reads the next record; *more is 0 when there is none. KL_ERR_INPUT "line N: ...", after which
 * the reader is not to be used again. */
enum kl_rc kl_csv_next(struct kl_csv *csv, int *more, struct kl_err *err) KL_MUST_CHECK;

#endif
