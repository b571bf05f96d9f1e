/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CSV as RFC 4180 has it, strictly: one record at a time, from text in memory or from a file of
 * any size in bounded memory, quotes and all. Whatever the RFC does not know (NULs, control
 * characters, a lone CR, a quote within a bare field, text after a closing quote) is refused, and
 * so is a record of more than KL_CSV_RECORD_MAX bytes or KL_CSV_FIELD_MAX fields. Lines may end in
 * LF alone; a leading UTF-8 byte order mark is passed over.
 */
#ifndef KL_DAEMON_CTL_CSV_H
#define KL_DAEMON_CTL_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

#define KL_CSV_RECORD_MAX 4096 /* bytes, without the line end */
#define KL_CSV_FIELD_MAX 8
#define KL_CSV_WINDOW ((size_t)4 * KL_CSV_RECORD_MAX) /* of a file that is in memory */

/* Points into itself: not to be copied. */
struct kl_csv {
    const char *at, *end; /* what is still to read, of what is in memory */
    unsigned long next_line;
    uint64_t loaded; /* bytes that are or were in memory */
    /* Of a file. */
    int fd; /* -1 = none, or its end is in memory */
    const char *path;
    uint64_t size; /* as the file system has it; 0 = not known (a pipe) */
    uint64_t max;  /* bytes that it may have */
    char window[KL_CSV_WINDOW];
    /* The record last read. */
    unsigned long line; /* where it begins, from 1 */
    size_t count;
    const char *field[KL_CSV_FIELD_MAX]; /* NUL-terminated, in buf */
    char buf[KL_CSV_RECORD_MAX + KL_CSV_FIELD_MAX];
};

/* Begins at text, which is borrowed. Needs no kl_csv_close. */
void kl_csv_init(struct kl_csv *csv, const char *text, size_t len);

/* Begins a file or a pipe. path is borrowed until kl_csv_close. KL_ERR_NO_FILE, KL_ERR_PERMISSION
 * or KL_ERR_IO; KL_ERR_INPUT if there are more than max bytes, here or later from kl_csv_next. On
 * failure there is nothing to close. */
enum kl_rc kl_csv_open(struct kl_csv *csv, const char *path, uint64_t max,
                       struct kl_err *err) KL_MUST_CHECK;
void kl_csv_close(struct kl_csv *csv); /* also twice */

/* Reads the next record; *more is 0 when there is none. KL_ERR_INPUT "line N: ..." or KL_ERR_IO,
 * after which the reader is only to be closed. */
enum kl_rc kl_csv_next(struct kl_csv *csv, int *more, struct kl_err *err) KL_MUST_CHECK;

/* Bytes read so far, up to the end of the record last read. */
uint64_t kl_csv_offset(const struct kl_csv *csv);

#endif
