/* SPDX-License-Identifier: BSD-2-Clause */
/* Strict CSV records from memory, or from a window that is moved over a file. */
#include "daemon/ctl/csv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A record that is allowed, or enough of one that is not to see it, and its line end. */
#define RECORD_SPAN (KL_CSV_RECORD_MAX + 8)

static void pass_byte_order_mark(struct kl_csv *csv)
{
    if (csv->end - csv->at >= 3 && memcmp(csv->at, "\xef\xbb\xbf", 3) == 0) {
        csv->at += 3;
    }
}

void kl_csv_init(struct kl_csv *csv, const char *text, size_t len)
{
    memset(csv, 0, sizeof(*csv));
    csv->fd = -1;
    csv->at = text;
    csv->end = text + len;
    csv->loaded = len;
    csv->next_line = 1;
    pass_byte_order_mark(csv);
}

void kl_csv_close(struct kl_csv *csv)
{
    if (csv->fd >= 0) {
        close(csv->fd);
        csv->fd = -1;
    }
}

/* Moves what is still to read to the window's front, and fills the rest. */
static enum kl_rc fill(struct kl_csv *csv, struct kl_err *err)
{
    size_t have = (size_t)(csv->end - csv->at);

    memmove(csv->window, csv->at, have);
    csv->at = csv->window;
    while (csv->fd >= 0 && have < sizeof(csv->window)) {
        ssize_t n = read(csv->fd, csv->window + have, sizeof(csv->window) - have);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return kl_err_errno(err, "read", "%s", csv->path);
        }
        if (n == 0) {
            kl_csv_close(csv);
        }
        have += (size_t)n;
        csv->loaded += (uint64_t)n;
        if (csv->loaded > csv->max) {
            return kl_err_set(err, KL_ERR_INPUT, "%s: larger than %llu bytes", csv->path,
                              (unsigned long long)csv->max);
        }
    }
    csv->end = csv->window + have;
    return KL_OK;
}

enum kl_rc kl_csv_open(struct kl_csv *csv, const char *path, uint64_t max, struct kl_err *err)
{
    struct stat st;
    enum kl_rc rc;

    kl_csv_init(csv, csv->window, 0);
    csv->path = path;
    csv->max = max;
    csv->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (csv->fd < 0) {
        return kl_err_errno(err, "open", "%s", path);
    }
    if (fstat(csv->fd, &st) != 0) {
        rc = kl_err_errno(err, "fstat", "%s", path);
    } else if (S_ISDIR(st.st_mode)) {
        rc = kl_err_set(err, KL_ERR_NO_FILE, "%s: is a directory", path);
    } else {
        csv->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
        rc = fill(csv, err);
    }
    if (rc != KL_OK) {
        kl_csv_close(csv);
        return rc;
    }
    pass_byte_order_mark(csv);
    return KL_OK;
}

uint64_t kl_csv_offset(const struct kl_csv *csv)
{
    return csv->loaded - (uint64_t)(csv->end - csv->at);
}

static enum kl_rc fault(const struct kl_csv *csv, struct kl_err *err, const char *what)
{
    return kl_err_set(err, KL_ERR_INPUT, "line %lu: %s", csv->next_line, what);
}

static enum kl_rc too_long(const struct kl_csv *csv, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_INPUT, "line %lu: the line is too long (%d bytes at most)",
                      csv->next_line, KL_CSV_RECORD_MAX);
}

/* The next byte, or -1 at the end. */
static int peek(const struct kl_csv *csv)
{
    return csv->at < csv->end ? (unsigned char)*csv->at : -1;
}

static int at_line_end(const struct kl_csv *csv)
{
    int c = peek(csv);

    return c == -1 || c == '\n' || (c == '\r' && csv->end - csv->at > 1 && csv->at[1] == '\n');
}

static void pass_line_end(struct kl_csv *csv)
{
    if (peek(csv) == '\r') {
        csv->at++;
    }
    if (peek(csv) == '\n') {
        csv->at++;
    }
    csv->next_line++;
}

/* Control characters have no place in any field of ours, not even a quoted line break. */
static int is_text(int c)
{
    return c >= ' ' && c != 0x7f;
}

/* Reads a field from *used on into buf; `start` is where the record began. */
static enum kl_rc read_field(struct kl_csv *csv, const char *start, size_t *used,
                             struct kl_err *err)
{
    int quoted = peek(csv) == '"';

    if (quoted) {
        csv->at++;
    }
    for (;;) {
        int c = peek(csv);

        if (csv->at - start > KL_CSV_RECORD_MAX) {
            return too_long(csv, err);
        }
        if (!quoted && (c == ',' || at_line_end(csv))) {
            return KL_OK;
        }
        if (c == -1) {
            return fault(csv, err, "a quoted field is not closed");
        }
        if (!is_text(c)) {
            return fault(csv, err, "control character");
        }
        csv->at++;
        if (c == '"') {
            if (!quoted) {
                return fault(csv, err, "a quote within a field that is not quoted");
            }
            if (peek(csv) != '"') {
                break;
            }
            csv->at++;
        }
        csv->buf[(*used)++] = (char)c;
    }
    if (peek(csv) != ',' && !at_line_end(csv)) {
        return fault(csv, err, "text after a closing quote");
    }
    return KL_OK;
}

enum kl_rc kl_csv_next(struct kl_csv *csv, int *more, struct kl_err *err)
{
    const char *start;
    size_t used = 0, count = 0;
    enum kl_rc rc;

    if (csv->fd >= 0 && csv->end - csv->at < RECORD_SPAN && (rc = fill(csv, err)) != KL_OK) {
        return rc;
    }
    start = csv->at;
    if (csv->at == csv->end) {
        *more = 0;
        return KL_OK;
    }
    for (;;) {
        if (count == KL_CSV_FIELD_MAX) {
            return fault(csv, err, "too many fields");
        }
        csv->field[count++] = csv->buf + used;
        if ((rc = read_field(csv, start, &used, err)) != KL_OK) {
            return rc;
        }
        csv->buf[used++] = '\0';
        if (at_line_end(csv)) {
            break;
        }
        csv->at++; /* the comma */
    }
    /* A last quote may have come just over the limit. */
    if (csv->at - start > KL_CSV_RECORD_MAX) {
        return too_long(csv, err);
    }
    csv->count = count;
    csv->line = csv->next_line;
    pass_line_end(csv);
    *more = 1;
    return KL_OK;
}
