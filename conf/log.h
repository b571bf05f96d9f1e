/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logging: one logfmt line an event, to stderr or syslog. Values are escaped, so that no peer can
 * forge a line; a line is at most 1024 bytes and written by one write. A log that takes no lines (a
 * full disk) stops nobody: what is lost is counted, and said in the line log-lines-lost once the
 * log takes lines again. (Syslog does not say what it loses.) Thread-safe.
 *
 *   kl_log(KL_LOG_INFO, "tmk-active", KL_STR("serial", s), KL_NUM("version", v));
 *   -> ts=2026-01-31T12:34:56.789Z level=info event=tmk-active serial=T1 version=3
 */
#ifndef KL_CONF_LOG_H
#define KL_CONF_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

enum kl_log_level { KL_LOG_DEBUG, KL_LOG_INFO, KL_LOG_WARN, KL_LOG_ERROR };
enum kl_log_target { KL_LOG_STDERR, KL_LOG_SYSLOG };

struct kl_log_field {
    const char *key;
    const char *text; /* NULL: number is meant */
    int64_t number;
};
#define KL_STR(key, text) ((struct kl_log_field){(key), (text), 0})
#define KL_NUM(key, number) ((struct kl_log_field){(key), NULL, (int64_t)(number)})
/* An error's name and text, as the fields rc and detail. The text carries what another
 * library said in its words; its bare number (native) is not logged. */
#define KL_LOG_ERR(err) KL_STR("rc", kl_rc_name((err)->rc)), KL_STR("detail", (err)->text)

/* program is kept (not copied). Call before threads start; calling again changes level/target. */
void kl_log_setup(const char *program, enum kl_log_level level, enum kl_log_target target);

/* Changes the level alone. Any thread. */
void kl_log_set_level(enum kl_log_level level);

void kl_log_write(enum kl_log_level level, const char *event, const struct kl_log_field *fields,
                  size_t count);
#define kl_log(level, event, ...) \
    kl_log_write((level), (event), (const struct kl_log_field[]){__VA_ARGS__}, \
                 sizeof((const struct kl_log_field[]){__VA_ARGS__}) / sizeof(struct kl_log_field))

/* How many lines have been lost since the start, told of or not. */
uint64_t kl_log_lost(void);

/* Formats fields alone, "key=value key=value", as kl_log_write would; what does not fit in capacity
 * (at least 1) is cut at a whole escape. Always NUL-terminated. Returns the length. */
size_t kl_log_format(char *out, size_t capacity, const struct kl_log_field *fields, size_t count);

#endif
