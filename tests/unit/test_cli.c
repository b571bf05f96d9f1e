/* SPDX-License-Identifier: BSD-2-Clause */
/* Values from people, and files that are whole or not there. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/options.h"
#include "conf/report.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static struct kl_err err;
static char dir[64], path[80];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-cli-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
}

static void teardown(void)
{
    test_rm_rf(dir);
}

START_TEST(numbers)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "0x1",
                                      "1.0",
                                      "1e2",
                                      "99",
                                      "18446744073709551616",
                                      "18446744073709551621"};
    uint64_t n = 77;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_parse_number(bad[i], 0, 98, &n, &err) == KL_ERR_INPUT, "%s", bad[i]);
        ck_assert_uint_eq(n, 77);
    }
    ck_assert_int_eq(kl_parse_number("2", 3, 9, &n, &err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "3 to 9"));
    ck_assert_int_eq(kl_parse_number("18446744073709551615", 0, UINT64_MAX, &n, &err), KL_OK);
    ck_assert(n == UINT64_MAX);
    ck_assert_int_eq(kl_parse_number("007", 0, 9, &n, &err), KL_OK);
    ck_assert_uint_eq(n, 7);
}
END_TEST

START_TEST(durations)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } good[] = {{"5", 5}, {"5s", 5}, {"5m", 300}, {"5h", 18000}, {"5d", 432000}, {"0", 0}};
    static const char *const bad[] = {"",    "s",   "5w",
                                      "5mm", "5 m", "m5",
                                      "-5m", "6d",  "1000000000000000000d"};
    uint64_t n = 77;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_parse_duration(bad[i], 0, 5 * 86400, &n, &err) == KL_ERR_INPUT, "%s",
                      bad[i]);
    }
    ck_assert_uint_eq(n, 77);
    ck_assert_ptr_nonnull(strstr(err.text, "0s to 5d"));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(kl_parse_duration(good[i].text, 0, 5 * 86400, &n, &err), KL_OK);
        ck_assert_uint_eq(n, good[i].seconds);
    }
}
END_TEST

START_TEST(times)
{
    static const char *const bad[] = {"",
                                      "2026-01-31",
                                      "2026-01-31T12:34:56",
                                      "2026-02-30T00:00:00Z",
                                      "2026-01-31t12:34:56z",
                                      "2026-1-31T12:34:560Z",
                                      "2026-01-31T24:00:00Z",
                                      " 026-01-31T12:34:56Z",
                                      "1969-12-31T23:59:59Z",
                                      "2026-01-31T12:34:56Z "};
    char text[KL_TIME_TEXT];
    int64_t t = 77;

    kl_time_format(0, text);
    ck_assert_str_eq(text, "1970-01-01T00:00:00Z");
    kl_time_format(1769862896, text);
    ck_assert_str_eq(text, "2026-01-31T12:34:56Z");
    kl_time_format(253402300799, text);
    ck_assert_str_eq(text, "9999-12-31T23:59:59Z");
    kl_time_format(253402300800, text);
    ck_assert_str_eq(text, "?");
    kl_time_format(-1, text);
    ck_assert_str_eq(text, "?");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(kl_time_parse(bad[i], &t, &err) == KL_ERR_INPUT, "%s", bad[i]);
    }
    ck_assert_int_eq(t, 77);
    ck_assert_int_eq(kl_time_parse("2026-01-31T12:34:56Z", &t, &err), KL_OK);
    ck_assert_int_eq(t, 1769862896);
    ck_assert_int_eq(kl_time_parse("2028-02-29T00:00:00Z", &t, &err), KL_OK);
}
END_TEST

START_TEST(read_file)
{
    char *text = NULL, big[100000];
    size_t len = 7;

    memset(big, 'x', sizeof(big));
    ck_assert_int_eq(kl_file_read(path, 10, &text, &len, &err), KL_ERR_NO_FILE);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(kl_file_read(dir, 10, &text, &len, &err), KL_ERR_NO_FILE);
    ck_assert_int_eq(kl_file_write(path, "a\0b", 3, 0600, 0, &err), KL_OK);
    ck_assert_int_eq(kl_file_read(path, 2, &text, &len, &err), KL_ERR_INPUT);
    ck_assert_ptr_null(text);
    ck_assert_int_eq(kl_file_read(path, 3, &text, &len, &err), KL_OK);
    ck_assert_uint_eq(len, 3);
    ck_assert_mem_eq(text, "a\0b", 4);
    free(text);
    ck_assert_int_eq(kl_file_write(path, big, sizeof(big), 0600, 1, &err), KL_OK);
    ck_assert_int_eq(kl_file_read(path, sizeof(big) - 1, &text, &len, &err), KL_ERR_INPUT);
    for (size_t max = sizeof(big); max < 300000; max += 90000) {
        ck_assert_int_eq(kl_file_read(path, max, &text, &len, &err), KL_OK);
        ck_assert_uint_eq(len, sizeof(big));
        ck_assert_mem_eq(text, big, len);
        free(text);
    }
}
END_TEST

static unsigned files_in_dir(void)
{
    char command[100], line[16];
    FILE *out;

    snprintf(command, sizeof(command), "ls -A %s | wc -l", dir);
    out = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), out));
    pclose(out);
    return (unsigned)atoi(line);
}

static void holds(const char *want)
{
    char *text = NULL;
    size_t len;

    ck_assert_int_eq(kl_file_read(path, 1 << 20, &text, &len, &err), KL_OK);
    ck_assert_str_eq(text, want);
    free(text);
}

START_TEST(write_file)
{
    struct stat st;
    char name[100];

    umask(077);
    ck_assert_int_eq(kl_file_write(path, "one", 3, 0644, 0, &err), KL_OK);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0644); /* what was asked for, whatever the umask */
    ck_assert_int_eq(kl_file_write(path, "two", 3, 0600, 0, &err), KL_ERR_EXISTS);
    holds("one");
    ck_assert_int_eq(kl_file_write(path, "two", 3, 0600, 1, &err), KL_OK);
    holds("two");
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    snprintf(name, sizeof(name), "%s/no/file", dir);
    ck_assert_int_eq(kl_file_write(name, "x", 1, 0600, 0, &err), KL_ERR_NO_FILE);
    ck_assert_uint_eq(files_in_dir(), 1); /* nothing temporary is left, of failures neither */
}
END_TEST

/* The disk fills up: the old file stays as it was. */
START_TEST(write_fails_halfway)
{
    struct rlimit limit = {4096, RLIM_INFINITY};
    char big[10000] = {0};

    ck_assert_int_eq(kl_file_write(path, "old", 3, 0600, 0, &err), KL_OK);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_ne(kl_file_write(path, big, sizeof(big), 0600, 1, &err), KL_OK);
    holds("old");
    ck_assert_uint_eq(files_in_dir(), 1);
}
END_TEST

START_TEST(write_beside_us)
{
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(kl_file_write("file", "x", 1, 0600, 0, &err), KL_OK);
    holds("x");
}
END_TEST

/* Gone, now or already; what is not a file stays and says so. */
START_TEST(remove_file)
{
    ck_assert_int_eq(kl_file_write(path, "one", 3, 0600, 0, &err), KL_OK);
    ck_assert_int_eq(kl_file_remove(path, &err), KL_OK);
    ck_assert_uint_eq(files_in_dir(), 0);
    ck_assert_int_eq(kl_file_remove(path, &err), KL_OK);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_ne(kl_file_remove(path, &err), KL_OK);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* Runs with stdout and stderr in a file and returns what came. */
static void captured(void (*fn)(void), char *out, size_t capacity)
{
    int saved_out = dup(STDOUT_FILENO), saved = dup(STDERR_FILENO),
        fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    ssize_t n;

    ck_assert(saved >= 0 && saved_out >= 0 && fd >= 0);
    fflush(stdout);
    fflush(stderr);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    fn();
    fflush(stdout);
    fflush(stderr);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved, STDERR_FILENO);
    close(saved_out);
    close(saved);
    n = pread(fd, out, capacity - 1, 0);
    ck_assert_int_ge(n, 0);
    out[n] = '\0';
    close(fd);
}

static void do_fail(void)
{
    struct kl_err e = KL_ERR_INIT;

    kl_err_set(&e, KL_ERR_CONFIG, "bad %s", "thing");
    ck_assert_int_eq(kl_cli_fail("prog", &e), 78);
    e.text[0] = '\0';
    ck_assert_int_eq(kl_cli_fail("prog", &e), 78);
}

static void do_usage(void)
{
    ck_assert_int_eq(kl_cli_usage("prog", "no %s", "x"), 64);
}

static void do_progress(void)
{
    struct kl_progress progress = {0};

    kl_progress(&progress, "things", 1, 2);
    progress.started_ms -= 10000;
    kl_progress(&progress, "things", 2, 2);
}

static void do_report(void)
{
    ck_assert_int_eq(kl_report_print(json_pack("{s:s, s:i, s:b, s:b, s:n, s:[], s:[n]}", "name",
                                               "n", "number", 7, "true", 1, "false", 0, "null",
                                               "empty", "list"),
                                     0, &err),
                     KL_OK);
}

START_TEST(report_lines)
{
    char out[400];

    captured(do_report, out, sizeof(out));
    ck_assert_str_eq(out, "name: n\nnumber: 7\ntrue: yes\nfalse: no\nnull: -\nempty: none\n"
                          "list:\n -\n");
}
END_TEST

START_TEST(json_first)
{
    char prog[] = "prog", json[] = "--json", list[] = "list", dir_option[] = "--dir";
    char *before[] = {prog, json, list, dir_option, NULL};
    char *after[] = {prog, list, json, dir_option, NULL};
    char *alone[] = {prog, json, NULL};

    kl_options_json_first(4, before);
    ck_assert_ptr_eq(before[1], list);
    ck_assert_ptr_eq(before[2], json);
    ck_assert_ptr_eq(before[3], dir_option);
    kl_options_json_first(4, after);
    ck_assert_ptr_eq(after[1], list);
    ck_assert_ptr_eq(after[2], json);
    kl_options_json_first(2, alone);
    ck_assert_ptr_eq(alone[1], json);
}
END_TEST

START_TEST(hex)
{
    char text[7] = "------";

    kl_hex_format((const uint8_t *)"\x00\x9a\xff", 3, text);
    ck_assert_str_eq(text, "009aff");
    kl_hex_format(NULL, 0, text);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(messages)
{
    char out[400];

    captured(do_fail, out, sizeof(out));
    ck_assert_str_eq(out, "prog: bad thing\nprog: configuration is wrong\n");
    captured(do_usage, out, sizeof(out));
    ck_assert_str_eq(out, "prog: no x\nTry 'prog --help'.\n");
    captured(do_progress, out, sizeof(out));
    ck_assert_str_eq(out, ""); /* a file is no terminal */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli");
    TCase *tcase = tcase_create("cli");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, numbers);
    tcase_add_test(tcase, durations);
    tcase_add_test(tcase, times);
    tcase_add_test(tcase, read_file);
    tcase_add_test(tcase, write_file);
    tcase_add_test(tcase, write_fails_halfway);
    tcase_add_test(tcase, write_beside_us);
    tcase_add_test(tcase, remove_file);
    tcase_add_test(tcase, report_lines);
    tcase_add_test(tcase, json_first);
    tcase_add_test(tcase, hex);
    tcase_add_test(tcase, messages);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
