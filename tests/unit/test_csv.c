/* SPDX-License-Identifier: BSD-2-Clause */
/* CSV: RFC 4180 section 2, and everything that is not in it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/ctl/csv.h"
#include "tests/support/suite.h"

/* Records as "[a|b][c]", ended by "!LINE: message" at an error. */
static void read_on(struct kl_csv *csv, char *out, size_t capacity)
{
    struct kl_err err = KL_ERR_INIT;
    size_t used = 0;
    int more = 1;

    out[0] = '\0';
    for (;;) {
        if (kl_csv_next(csv, &more, &err) != KL_OK) {
            ck_assert_int_eq(err.rc, KL_ERR_INPUT);
            snprintf(out + used, capacity - used, "!%s", err.text);
            break;
        }
        if (!more) {
            break;
        }
        for (size_t i = 0; i < csv->count; i++) {
            used += (size_t)snprintf(out + used, capacity - used, "%c%.60s", i ? '|' : '[',
                                     csv->field[i]);
        }
        used += (size_t)snprintf(out + used, capacity - used, "]%lu ", csv->line);
    }
}

/* The text is copied to the heap without a NUL, so that a sanitizer sees a read past its end. */
static void read_text(const char *text, size_t len, char *out, size_t capacity)
{
    struct kl_csv *csv = malloc(sizeof(*csv));
    char *copy = malloc(len ? len : 1);

    ck_assert(csv != NULL && copy != NULL);
    memcpy(copy, text, len);
    kl_csv_init(csv, copy, len);
    read_on(csv, out, capacity);
    free(copy);
    free(csv);
}

static char path[] = "/tmp/kl-csv-XXXXXX";

static int new_file(void)
{
    int fd;

    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* The same from a file. */
static void read_file(const char *text, size_t len, char *out, size_t capacity)
{
    struct kl_csv *csv = malloc(sizeof(*csv));
    struct kl_err err = KL_ERR_INIT;
    int fd = new_file();

    ck_assert_int_eq(write(fd, text, len), len);
    close(fd);
    ck_assert_msg(kl_csv_open(csv, path, len, &err) == KL_OK, "%s", err.text);
    ck_assert_uint_eq(csv->size, len);
    read_on(csv, out, capacity);
    kl_csv_close(csv);
    kl_csv_close(csv);
    unlink(path);
    free(csv);
}

static void read_all(const char *text, size_t len, char *out, size_t capacity)
{
    char same[400];

    read_text(text, len, out, capacity);
    read_file(text, len, same, sizeof(same));
    ck_assert_str_eq(out, same);
}

#define BYTES(text) text, sizeof(text) - 1
static const struct {
    const char *text;
    size_t len;
    const char *want;
} rows[] = {
    {BYTES(""), ""},
    {BYTES("a,b\r\nc,d\r\n"), "[a|b]1 [c|d]2 "},
    {BYTES("a,b\nc,d"), "[a|b]1 [c|d]2 "},
    {BYTES("a,,\n,\n"), "[a||]1 [|]2 "},
    {BYTES("\n\na\n"), "[]1 []2 [a]3 "},
    {BYTES(" a , b \n"), "[ a | b ]1 "},
    {BYTES("\"a,b\",\"c\"\"d\",\"\"\n"), "[a,b|c\"d|]1 "},
    {BYTES("\xef\xbb\xbf"
           "a\n"),
     "[a]1 "},
    {BYTES("\"\""), "[]1 "},
    {BYTES("caf\xc3\xa9\n"), "[caf\xc3\xa9]1 "},
    {BYTES("a\n\"b\nc\"\n"), "[a]1 !line 2: control character"},
    {BYTES("a\n\"b"), "[a]1 !line 2: a quoted field is not closed"},
    {BYTES("\""), "!line 1: a quoted field is not closed"},
    {BYTES("\"a\"b\n"), "!line 1: text after a closing quote"},
    {BYTES("\"a\" ,b\n"), "!line 1: text after a closing quote"},
    {BYTES("a\"b\n"), "!line 1: a quote within a field that is not quoted"},
    {BYTES("a\0b\n"), "!line 1: control character"},
    {BYTES("a\rb\n"), "!line 1: control character"},
    {BYTES("a\r"), "!line 1: control character"},
    {BYTES("a\tb\n"), "!line 1: control character"},
    {BYTES("a\x7f\n"), "!line 1: control character"},
    {BYTES("1,2,3,4,5,6,7,8\n"), "[1|2|3|4|5|6|7|8]1 "},
    {BYTES("1,2,3,4,5,6,7,8,9\n"), "!line 1: too many fields"},
};

START_TEST(row)
{
    char out[400];

    read_all(rows[_i].text, rows[_i].len, out, sizeof(out));
    ck_assert_str_eq(out, rows[_i].want);
}
END_TEST

START_TEST(long_line)
{
    char text[KL_CSV_RECORD_MAX + 10], out[400];

    memset(text, 'x', sizeof(text));
    text[KL_CSV_RECORD_MAX] = '\n';
    read_all(text, KL_CSV_RECORD_MAX + 1, out, sizeof(out));
    ck_assert_int_eq(out[0], '[');
    text[KL_CSV_RECORD_MAX] = 'x';
    text[KL_CSV_RECORD_MAX + 1] = '\n';
    read_all(text, KL_CSV_RECORD_MAX + 2, out, sizeof(out));
    ck_assert_str_eq(out, "!line 1: the line is too long (4096 bytes at most)");
    read_all(text, KL_CSV_RECORD_MAX + 1, out, sizeof(out)); /* and without an end */
    ck_assert_int_eq(out[0], '!');
    text[0] = '"';
    text[KL_CSV_RECORD_MAX] = '"'; /* the closing quote is one byte too far */
    read_all(text, KL_CSV_RECORD_MAX + 1, out, sizeof(out));
    ck_assert_int_eq(out[0], '!');
    text[KL_CSV_RECORD_MAX - 1] = '"';
    read_all(text, KL_CSV_RECORD_MAX, out, sizeof(out));
    ck_assert_int_eq(out[0], '[');
}
END_TEST

/* Many records, of all lengths, so that each place of the window is met by a record's end. */
START_TEST(long_file)
{
    struct kl_csv *csv = malloc(sizeof(*csv));
    struct kl_err err = KL_ERR_INIT;
    FILE *file = fdopen(new_file(), "w");
    uint64_t bytes = 0, before = 0;
    int more = 1;

    for (int i = 0; i < 9000; i++) {
        bytes +=
            (uint64_t)fprintf(file, "%d,\"%0*d\"\"\"%s", i, 1 + i % 4000, 7, i % 2 ? "\r\n" : "\n");
    }
    fclose(file);
    ck_assert_int_eq(kl_csv_open(csv, path, bytes, &err), KL_OK);
    for (int i = 0; i < 9000; i++) {
        ck_assert_msg(kl_csv_next(csv, &more, &err) == KL_OK && more, "%s", err.text);
        ck_assert_uint_eq(csv->line, i + 1);
        ck_assert_uint_eq(csv->count, 2);
        ck_assert_int_eq(atoi(csv->field[0]), i);
        ck_assert_uint_eq(strlen(csv->field[1]), 2 + i % 4000);
        ck_assert_uint_gt(kl_csv_offset(csv), before);
        before = kl_csv_offset(csv);
    }
    ck_assert_int_eq(kl_csv_next(csv, &more, &err), KL_OK);
    ck_assert_int_eq(more, 0);
    ck_assert_uint_eq(kl_csv_offset(csv), bytes);
    kl_csv_close(csv);
    unlink(path);
    free(csv);
}
END_TEST

/* A gigabyte without a line end (NULs, which a sparse file is made of, or text before them) is not
 * read to its end. */
START_TEST(huge_line)
{
    struct kl_csv *csv = malloc(sizeof(*csv));
    struct kl_err err = KL_ERR_INIT;
    char text[2 * KL_CSV_RECORD_MAX];
    int fd = new_file(), more = 1;

    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(write(fd, "a,b\n", 4), 4);
    if (_i) {
        ck_assert_int_eq(write(fd, text, sizeof(text)), sizeof(text));
    }
    ck_assert_int_eq(ftruncate(fd, 1 << 30), 0);
    ck_assert_int_eq(kl_csv_open(csv, path, UINT64_MAX, &err), KL_OK);
    ck_assert_int_eq(kl_csv_next(csv, &more, &err), KL_OK);
    ck_assert_int_eq(kl_csv_next(csv, &more, &err), KL_ERR_INPUT);
    ck_assert_str_eq(err.text, _i ? "line 2: the line is too long (4096 bytes at most)"
                                  : "line 2: control character");
    ck_assert_uint_le(csv->loaded, 2 * KL_CSV_WINDOW);
    kl_csv_close(csv);
    close(fd);
    unlink(path);
    free(csv);
}
END_TEST

START_TEST(file_bounds)
{
    struct kl_csv *csv = malloc(sizeof(*csv));
    struct kl_err err = KL_ERR_INIT;
    FILE *file = fdopen(new_file(), "w");
    int more = 1, ends[2];
    unsigned n = 0;
    enum kl_rc rc;

    ck_assert_int_eq(kl_csv_open(csv, "/nonexistent", 10, &err), KL_ERR_NO_FILE);
    ck_assert_int_eq(kl_csv_open(csv, "/tmp", 10, &err), KL_ERR_NO_FILE);
    for (int i = 0; i < 20000; i++) {
        fputs("a,b\n", file);
    }
    fclose(file);
    ck_assert_int_eq(kl_csv_open(csv, path, 1000, &err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "larger than 1000 bytes"));
    ck_assert_int_eq(kl_csv_open(csv, path, 79999, &err), KL_OK); /* it shows further on */
    while ((rc = kl_csv_next(csv, &more, &err)) == KL_OK && more) {
        n++;
    }
    ck_assert_int_eq(rc, KL_ERR_INPUT);
    ck_assert_uint_lt(n, 20000);
    kl_csv_close(csv);
    unlink(path);
    /* A pipe that gives its bytes one by one. */
    ck_assert_int_eq(pipe(ends), 0);
    if (fork() == 0) {
        for (const char *at = "\xef\xbb\xbf"
                              "x,y\r\nz\n";
             *at; at++) {
            if (write(ends[1], at, 1) != 1) {
                _exit(1);
            }
            usleep(1000);
        }
        _exit(0);
    }
    close(ends[1]);
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
    ck_assert_msg(kl_csv_open(csv, path, 100, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(kl_csv_next(csv, &more, &err), KL_OK);
    ck_assert_str_eq(csv->field[0], "x");
    ck_assert_str_eq(csv->field[1], "y");
    ck_assert_int_eq(kl_csv_next(csv, &more, &err), KL_OK);
    ck_assert_str_eq(csv->field[0], "z");
    kl_csv_close(csv);
    free(csv);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("csv");
    TCase *tcase = tcase_create("csv");

    tcase_add_loop_test(tcase, row, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, long_line);
    tcase_add_test(tcase, long_file);
    tcase_add_loop_test(tcase, huge_line, 0, 2);
    tcase_add_test(tcase, file_bounds);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
