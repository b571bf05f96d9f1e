/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines: nothing a peer sends can forge one, end one or make one too long. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "conf/log.h"
#include "tests/support/suite.h"

static int fd, saved;
static char line[4096];

static void setup(void)
{
    char name[] = "/tmp/kl-log-XXXXXX";

    fd = mkostemp(name, O_CLOEXEC | O_APPEND);
    ck_assert_int_ge(fd, 0);
    unlink(name);
    saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    kl_log_setup("test", KL_LOG_DEBUG, KL_LOG_STDERR);
}

static void teardown(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
}

/* What was written since the last call. */
static const char *written(void)
{
    ssize_t n = pread(fd, line, sizeof(line) - 1, 0);

    ck_assert_int_ge(n, 0);
    line[n] = '\0';
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    return line;
}

START_TEST(form)
{
    const char *text;
    unsigned y, mo, d, h, mi, s, ms;
    int at = 0;

    kl_log(KL_LOG_INFO, "tmk-active", KL_STR("serial", "T1"), KL_NUM("version", 3),
           KL_NUM("low", INT64_MIN));
    text = written();
    ck_assert_int_eq(sscanf(text, "ts=%4u-%2u-%2uT%2u:%2u:%2u.%3uZ%n", &y, &mo, &d, &h, &mi, &s,
                            &ms, &at),
                     7);
    ck_assert_str_eq(text + at,
                     " level=info event=tmk-active serial=T1 version=3 low=-9223372036854775808\n");
}
END_TEST

START_TEST(levels)
{
    kl_log_setup("test", KL_LOG_WARN, KL_LOG_STDERR);
    kl_log(KL_LOG_DEBUG, "e", KL_NUM("n", 1));
    kl_log(KL_LOG_INFO, "e", KL_NUM("n", 1));
    ck_assert_str_eq(written(), "");
    kl_log(KL_LOG_WARN, "e", KL_NUM("n", 1));
    ck_assert_ptr_nonnull(strstr(written(), " level=warn event=e n=1\n"));
    kl_log(KL_LOG_ERROR, "e", KL_NUM("n", 1));
    ck_assert_ptr_nonnull(strstr(written(), " level=error "));
}
END_TEST

static const struct {
    const char *value, *want;
} values[] = {
    {"plain-1.2_/:;", "k=plain-1.2_/:;"},
    {"", "k=\"\""},
    {"a b", "k=\"a b\""},
    {"a=b", "k=\"a=b\""},
    {"a\"b\\c", "k=\"a\\\"b\\\\c\""},
    {"x\nts=1 level=info event=forged", "k=\"x\\nts=1 level=info event=forged\""},
    {"\r\x1b[2J\x7f\t", "k=\"\\x0d\\x1b[2J\\x7f\\x09\""},
    {"caf\xc3\xa9", "k=\"caf\\xc3\\xa9\""},
};

START_TEST(escapes)
{
    struct kl_log_field field = KL_STR("k", values[_i].value);
    char out[200], want[220];

    ck_assert_uint_eq(kl_log_format(out, sizeof(out), &field, 1), strlen(values[_i].want));
    ck_assert_str_eq(out, values[_i].want);
    kl_log(KL_LOG_INFO, "e", field);
    snprintf(want, sizeof(want), " event=e %s\n", values[_i].want);
    ck_assert_ptr_nonnull(strstr(written(), want));
}
END_TEST

/* A line is 1024 bytes at most, says that it was cut, and closes its quotes. */
START_TEST(long_values)
{
    static char big[3000];
    const char *text;
    size_t len;

    memset(big, _i ? '\n' : 'x', sizeof(big) - 1);
    big[500] = ' ';
    kl_log(KL_LOG_INFO, "e", KL_STR("k", big), KL_STR("other", "o"));
    text = written();
    len = strlen(text);
    ck_assert_uint_le(len, 1024);
    ck_assert_uint_gt(len, 1000);
    ck_assert_ptr_eq(strchr(text, '\n'), text + len - 1);
    ck_assert_ptr_nonnull(strstr(text, "\" truncated=1\n"));
}
END_TEST

START_TEST(small_buffers)
{
    struct kl_log_field fields[] = {KL_STR("key", "some value"), KL_STR("b", "\"\""),
                                    KL_NUM("n", 12345)};

    for (size_t capacity = 1; capacity < 60; capacity++) {
        char *out = malloc(capacity); /* on the heap, for sanitizers */
        size_t len = kl_log_format(out, capacity, fields, 3);

        ck_assert_uint_lt(len, capacity);
        ck_assert_uint_eq(strlen(out), len);
        free(out);
    }
}
END_TEST

START_TEST(errno_is_kept)
{
    close(STDERR_FILENO);
    errno = ENOTTY;
    kl_log(KL_LOG_INFO, "e", KL_NUM("n", 1)); /* nowhere to write to: no harm */
    ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

/* A log that has no more room: lines are lost, and said to be so, once, when there is room again;
 * half a line never runs into another. */
START_TEST(a_full_log)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit full = {300, RLIM_INFINITY};
    const char *text;
    char begun[400];
    uint64_t lost;
    int kept = 0;
    size_t len;

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &full); /* check's own files as well: no assertion until it is off */
    for (int i = 0; i < 10; i++) {
        errno = ENOTTY;
        kl_log(KL_LOG_INFO, "e", KL_STR("pad", "ppppppppppppppppppppppppppppppppppppppppppppp"));
        kept += errno == ENOTTY;
    }
    lost = kl_log_lost();
    setrlimit(RLIMIT_FSIZE, &none);
    ck_assert_int_eq(kept, 10);
    ck_assert_uint_eq(lost, 7);
    len = (size_t)pread(fd, begun, sizeof(begun) - 1, 0);
    ck_assert_uint_eq(len, 300); /* the fourth line is cut off */
    ck_assert_int_ne(begun[len - 1], '\n');
    kl_log(KL_LOG_INFO, "room", KL_NUM("n", 1));
    kl_log(KL_LOG_INFO, "more", KL_NUM("n", 2));
    ck_assert_uint_eq(kl_log_lost(), 7);
    text = written() + len;
    ck_assert_int_eq(text[0], '\n');
    ck_assert_int_eq(strncmp(text + 1, "ts=", 3), 0);
    ck_assert_ptr_nonnull(strstr(text, " level=warn event=log-lines-lost count=7\nts="));
    ck_assert_ptr_nonnull(strstr(text, " level=info event=room n=1\nts="));
    ck_assert_ptr_nonnull(strstr(text, " level=info event=more n=2\n"));
    ck_assert_ptr_eq(strstr(text, "\n\n"), NULL);
}
END_TEST

static void *writer(void *arg)
{
    for (int i = 0; i < 500; i++) {
        kl_log(KL_LOG_INFO, "e", KL_STR("pad", "ppppppppppppppppppppppppppppppppppppppppppppp"),
               KL_STR("end", arg));
    }
    return NULL;
}

START_TEST(many_threads)
{
    static char end[] = ".";
    pthread_t threads[4];
    FILE *in;
    int lines = 0;

    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, writer, end), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    in = fdopen(dup(fd), "r");
    rewind(in);
    while (fgets(line, sizeof(line), in)) {
        size_t len = strlen(line);

        lines++;
        ck_assert_int_eq(strncmp(line, "ts=", 3), 0);
        ck_assert_str_eq(line + len - 7, " end=.\n");
    }
    fclose(in);
    ck_assert_int_eq(lines, 2000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, form);
    tcase_add_test(tcase, levels);
    tcase_add_loop_test(tcase, escapes, 0, (int)(sizeof(values) / sizeof(values[0])));
    tcase_add_loop_test(tcase, long_values, 0, 2);
    tcase_add_test(tcase, small_buffers);
    tcase_add_test(tcase, errno_is_kept);
    tcase_add_test(tcase, a_full_log);
    tcase_add_test(tcase, many_threads);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
