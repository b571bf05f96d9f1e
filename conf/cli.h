/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every program's main() does alike: the version line, reporting an error with its exit
 * status, parsing numbers and durations from a command line or file, writing a file so that a
 * crash leaves the old or the new one whole, and progress on a terminal.
 */
#ifndef KL_CONF_CLI_H
#define KL_CONF_CLI_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

/* Prints "NAME VERSION", the Makefile's, and the OpenSSL version to stdout. */
void kl_cli_version(const char *program);

/* Prints "PROGRAM: text" to stderr and returns the exit status of err->rc. */
int kl_cli_fail(const char *program, const struct kl_err *err);

/* Prints "PROGRAM: text" and "Try 'PROGRAM --help'." to stderr and returns 64 (EX_USAGE). */
int kl_cli_usage(const char *program, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Decimal, nothing around it, within [min, max]; KL_ERR_INPUT says what was wrong. */
enum kl_rc kl_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out,
                           struct kl_err *err) KL_MUST_CHECK;

/* A number with an optional unit s, m, h or d (none = seconds), within [min, max] seconds. */
enum kl_rc kl_parse_duration(const char *text, uint64_t min, uint64_t max, uint64_t *seconds,
                             struct kl_err *err) KL_MUST_CHECK;

/* UTC as "2026-01-31T12:34:56Z"; out holds KL_TIME_TEXT bytes. */
#define KL_TIME_TEXT 21
void kl_time_format(int64_t unix_time, char out[KL_TIME_TEXT]);
/* The reverse, exactly that form (years 1970 to 9999); KL_ERR_INPUT. */
enum kl_rc kl_time_parse(const char *text, int64_t *unix_time, struct kl_err *err) KL_MUST_CHECK;

/* Lower-case hex with its NUL: out holds 2 * len + 1 bytes. */
void kl_hex_format(const uint8_t *data, size_t len, char *out);

/* The reverse, exactly len bytes in exactly that form; 1 if it is so, else 0. */
int kl_hex_parse(const char *text, uint8_t *out, size_t len) KL_MUST_CHECK;

/* Reads a whole file of at most max bytes; *out is malloc'ed, NUL-terminated, the caller frees. */
enum kl_rc kl_file_read(const char *path, size_t max, char **out, size_t *len,
                        struct kl_err *err) KL_MUST_CHECK;

/* Writes path whole or not at all: temporary file beside it, fsync, rename, fsync of the
 * directory. overwrite 0: KL_ERR_EXISTS if path is there. Should the last step fail, the new file
 * is in place but may not survive a crash: to know what a failure left, read path. */
enum kl_rc kl_file_write(const char *path, const void *data, size_t len, unsigned mode,
                         int overwrite, struct kl_err *err) KL_MUST_CHECK;

/* The last part of path, within it; all of it if there is no folder in it. */
const char *kl_file_name(const char *path);

/* Makes the name of path in its directory durable, for who has written the file himself. */
enum kl_rc kl_file_sync_dir(const char *path, struct kl_err *err) KL_MUST_CHECK;

/* Removes what killed processes have left beside path: files of its folder that are called as path,
 * and then `rest`, if stale(rest) says so. What cannot be removed stays. */
void kl_file_sweep(const char *path, int (*stale)(const char *rest));

/* For kl_file_sweep: 1 if it is what a kl_file_write to path leaves that is killed. Only for who
 * knows that nobody writes path meanwhile. */
int kl_file_unfinished(const char *rest);

/* Removes path so that no crash brings it back; one that is not there is KL_OK. */
enum kl_rc kl_file_remove(const char *path, struct kl_err *err) KL_MUST_CHECK;

/* Progress line on stderr when that is a terminal and two seconds have passed: "WHAT done/total".
 * Call at will, with a total of 0 while that is not known: "WHAT done"; call with done == total to
 * end the line. Start is a caller-owned zeroed struct. */
struct kl_progress {
    int64_t started_ms, shown_ms;
};
void kl_progress(struct kl_progress *progress, const char *what, uint64_t done, uint64_t total);

#endif
