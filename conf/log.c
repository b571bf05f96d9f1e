/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines. A line is built on the caller's stack and leaves by one write, so that lines of
 * several threads and processes do not mix and nothing here needs a lock.
 */
#include "conf/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024 /* with the newline */

static _Atomic int log_level = KL_LOG_INFO;
static _Atomic int log_target = KL_LOG_STDERR;
static _Atomic uint64_t lost_untold; /* since the log last took a line */
static _Atomic uint64_t lost_ever;
static _Atomic int line_torn; /* the last line that went out has no end */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* A bounded line under construction; two bytes are always kept, for a closing quote and for what
 * ends the line. */
struct line {
    char *text;
    size_t used, capacity;
    int full;
};

/* All of it or nothing: half an escape would read as something else. */
static void put(struct line *line, const char *text, size_t len)
{
    if (line->full || len + 1 >= line->capacity - line->used) {
        line->full = 1;
        return;
    }
    memcpy(line->text + line->used, text, len);
    line->used += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static int is_bare(const char *text)
{
    if (!*text) {
        return 0;
    }
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~' || *text == '"' || *text == '=' || *text == '\\') {
            return 0;
        }
    }
    return 1;
}

/* Whatever is not printable ASCII becomes an escape: no line breaks, no terminal codes. */
static void put_value(struct line *line, const char *text)
{
    char piece[8];

    if (is_bare(text)) {
        put_text(line, text);
        return;
    }
    put_text(line, "\"");
    if (line->full) {
        return;
    }
    for (; *text && !line->full; text++) {
        if (*text == '"' || *text == '\\') {
            snprintf(piece, sizeof(piece), "\\%c", *text);
        } else if (*text == '\n') {
            snprintf(piece, sizeof(piece), "\\n");
        } else if (*text < ' ' || *text > '~') {
            snprintf(piece, sizeof(piece), "\\x%02x", (unsigned)(unsigned char)*text);
        } else {
            snprintf(piece, sizeof(piece), "%c", *text);
        }
        put_text(line, piece);
    }
    line->text[line->used++] = '"';
}

static void put_field(struct line *line, const struct kl_log_field *field)
{
    char number[24];

    if (line->used > 0) {
        put_text(line, " ");
    }
    put_text(line, field->key);
    put_text(line, "=");
    if (field->text) {
        put_value(line, field->text);
        return;
    }
    snprintf(number, sizeof(number), "%" PRId64, field->number);
    put_text(line, number);
}

size_t kl_log_format(char *out, size_t capacity, const struct kl_log_field *fields, size_t count)
{
    struct line line = {out, 0, capacity, 0};

    for (size_t i = 0; i < count; i++) {
        put_field(&line, &fields[i]);
    }
    out[line.used] = '\0';
    return line.used;
}

void kl_log_setup(const char *program, enum kl_log_level level, enum kl_log_target target)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_target, (int)target);
    if (target == KL_LOG_SYSLOG) {
        openlog(program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    }
}

void kl_log_set_level(enum kl_log_level level)
{
    atomic_store(&log_level, (int)level);
}

/* Syslog stamps lines itself. */
static void put_time(struct line *line)
{
    struct timespec ts;
    struct tm tm;
    char text[40];
    size_t len;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (!gmtime_r(&ts.tv_sec, &tm)) {
        return;
    }
    len = strftime(text, sizeof(text), "ts=%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(ts.tv_nsec / 1000000));
    put_text(line, text);
}

static const char cut[] = " truncated=1";

/* The whole line but its newline, for which there is room in text (LINE_MAX_BYTES); its length. */
static size_t build(char *text, int with_time, enum kl_log_level level, const char *event,
                    const struct kl_log_field *fields, size_t count)
{
    struct line line = {text, 0, LINE_MAX_BYTES - sizeof(cut), 0};
    struct kl_log_field head[] = {KL_STR("level", level_names[level]), KL_STR("event", event)};

    if (with_time) {
        put_time(&line);
    }
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++) {
        put_field(&line, &head[i]);
    }
    for (size_t i = 0; i < count; i++) {
        put_field(&line, &fields[i]);
    }
    if (line.full) {
        memcpy(text + line.used, cut, sizeof(cut) - 1);
        line.used += sizeof(cut) - 1;
    }
    return line.used;
}

/* One write; 0 if the log has not taken the line. A full disk may take the beginning of one: then
 * the next that it takes begins with a line break. */
static int put_out(char *text, size_t len)
{
    char whole[LINE_MAX_BYTES + 1];
    int torn = atomic_load(&line_torn);
    ssize_t n;

    whole[0] = '\n';
    memcpy(whole + torn, text, len);
    len += (size_t)torn;
    whole[len++] = '\n';
    do {
        n = write(STDERR_FILENO, whole, len);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        atomic_store(&line_torn, (size_t)n < len);
    }
    return n == (ssize_t)len;
}

/* What was lost is said in the first line that the log takes again. */
static void write_out(char *text, size_t len)
{
    char report[LINE_MAX_BYTES];
    struct kl_log_field field = KL_NUM("count", 0);
    uint64_t lost = atomic_exchange(&lost_untold, 0);
    int taken = 1;

    if (lost > 0) {
        field.number = (int64_t)lost;
        taken = put_out(report, build(report, 1, KL_LOG_WARN, "log-lines-lost", &field, 1));
    }
    if (!taken || !put_out(text, len)) {
        atomic_fetch_add(&lost_untold, (taken ? 0 : lost) + 1);
        atomic_fetch_add(&lost_ever, 1);
    }
}

uint64_t kl_log_lost(void)
{
    return atomic_load(&lost_ever);
}

void kl_log_write(enum kl_log_level level, const char *event, const struct kl_log_field *fields,
                  size_t count)
{
    static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR};
    char text[LINE_MAX_BYTES];
    int saved = errno, to_syslog = atomic_load(&log_target) == KL_LOG_SYSLOG;
    size_t len;

    if ((int)level < atomic_load(&log_level)) {
        return;
    }
    len = build(text, !to_syslog, level, event, fields, count);
    if (to_syslog) {
        syslog(priorities[level], "%.*s", (int)len, text);
    } else {
        write_out(text, len);
    }
    errno = saved;
}
