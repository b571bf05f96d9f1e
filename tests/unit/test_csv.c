/* SPDX-License-Identifier: BSD-2-Clause */
/* CSV: RFC 4180 section 2, and everything that is not in it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/csv.h"
#include "tests/support/suite.h"

/* Records as "[a|b][c]", ended by "!LINE: message" at an error. The text is copied to the heap
 * without a NUL, so that a sanitizer sees a read past its end. */
static void read_all(const char *text, size_t len, char *out, size_t capacity)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_csv *csv = malloc(sizeof(*csv));
    char *copy = malloc(len ? len : 1);
    size_t used = 0;
    int more = 1;

    ck_assert(csv != NULL && copy != NULL);
    memcpy(copy, text, len);
    kl_csv_init(csv, copy, len);
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
    free(copy);
    free(csv);
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
    ck_assert_str_eq(out, "!line 1: the line is too long (1024 bytes at most)");
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

int main(void)
{
    Suite *suite = suite_create("csv");
    TCase *tcase = tcase_create("csv");

    tcase_add_loop_test(tcase, row, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, long_line);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
