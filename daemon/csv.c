/* SPDX-License-Identifier: BSD-2-Clause */
/* Strict CSV records from memory. */
#include "daemon/csv.h"

#include <string.h>

void kl_csv_init(struct kl_csv *csv, const char *text, size_t len)
{
    memset(csv, 0, sizeof(*csv));
    csv->at = text;
    csv->end = text + len;
    csv->next_line = 1;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        csv->at += 3;
    }
}

static enum kl_rc fault(const struct kl_csv *csv, struct kl_err *err, const char *what)
{
    return kl_err_set(err, KL_ERR_INPUT, "line %lu: %s", csv->next_line, what);
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
            return fault(csv, err, "the line is too long (1024 bytes at most)");
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
    const char *start = csv->at;
    size_t used = 0, count = 0;
    enum kl_rc rc;

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
        return fault(csv, err, "the line is too long (1024 bytes at most)");
    }
    csv->count = count;
    csv->line = csv->next_line;
    pass_line_end(csv);
    *more = 1;
    return KL_OK;
}
