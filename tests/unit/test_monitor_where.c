/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the monitor may listen, whom it answers, and the policy of its page. */
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/monitor/monitor_http.h"
#include "daemon/monitor/monitor_where.h"
#include "daemon/monitor/status_page.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static struct kl_err err;

START_TEST(good_places)
{
    static const struct {
        const char *text;
        int family;
        unsigned port;
    } rows[] = {{"", 0, 0},
                {"127.0.0.1:9477", AF_INET, 9477},
                {"127.255.0.9:0", AF_INET, 0},
                {"[::1]:65535", AF_INET6, 65535},
                {"unix:/run/keyloader/monitor.sock", AF_UNIX, 0}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kl_monitor_where where;
        ck_assert_msg(kl_monitor_parse(rows[i].text, &where, &err) == KL_OK, "%s: %s", rows[i].text,
                      err.text);
        ck_assert_int_eq(where.family, rows[i].family);
        if (where.family == AF_INET || where.family == AF_INET6) {
            ck_assert_uint_eq(ntohs(((struct sockaddr_in *)(void *)&where.address)->sin_port),
                              rows[i].port);
        }
    }
}
END_TEST

/* Anything that could be reached from elsewhere, or read as something else than it is. */
START_TEST(bad_places)
{
    static const char *const rows[] = {"0.0.0.0:9477",
                                       "192.0.2.1:9477",
                                       "126.0.0.1:1",
                                       "128.0.0.1:1",
                                       "[::]:9477",
                                       "[fd00::1]:9477",
                                       "[::ffff:127.0.0.1]:1",
                                       "::1:9477",
                                       "localhost:9477",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "127.0.0.1:65536",
                                       "127.0.0.1:-1",
                                       "127.0.0.1:+1",
                                       "127.0.0.1: 1",
                                       "127.0.0.1:1x",
                                       "127.1:80",
                                       "127.0.0.1:000001",
                                       ":9477",
                                       "*:9477",
                                       "unix:",
                                       "unix:monitor.sock",
                                       "[127.0.0.1]:1",
                                       "[::1:1",
                                       " 127.0.0.1:9477",
                                       "http://127.0.0.1:1"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kl_monitor_where where = {.family = 77};
        ck_assert_msg(kl_monitor_parse(rows[i], &where, &err) == KL_ERR_CONFIG, "%s", rows[i]);
        ck_assert_int_eq(where.family, 77);
    }
}
END_TEST

START_TEST(long_path)
{
    char text[200] = "unix:/";
    struct kl_monitor_where where;

    memset(text + 6, 'a', 106);
    ck_assert_int_eq(kl_monitor_parse(text, &where, &err), KL_OK); /* 107 bytes */
    strcat(text, "a");
    ck_assert_int_eq(kl_monitor_parse(text, &where, &err), KL_ERR_CONFIG);
}
END_TEST

/* A dead socket makes way; a live one, and whatever else is there, does not. */
START_TEST(unix_sockets)
{
    char dir[] = "/tmp/kl-monitor-XXXXXX", text[80];
    struct kl_monitor_where where;
    struct stat st;
    int fd, other;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(text, sizeof(text), "unix:%s/sock", dir);
    ck_assert_int_eq(kl_monitor_parse(text, &where, &err), KL_OK);
    ck_assert_msg(kl_monitor_bind(&where, &fd, &err) == KL_OK, "%s", err.text);
    ck_assert_int_eq(stat(text + 5, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0660);
    ck_assert_int_eq(kl_monitor_bind(&where, &other, &err), KL_ERR_BUSY);
    close(fd);
    ck_assert_msg(kl_monitor_bind(&where, &fd, &err) == KL_OK, "%s", err.text);
    close(fd);
    ck_assert_int_eq(unlink(text + 5), 0);
    fd = open(text + 5, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(kl_monitor_bind(&where, &other, &err), KL_ERR_EXISTS);
    test_rm_rf(dir);
}
END_TEST

START_TEST(hosts)
{
    static const char *const good[] = {"localhost", "LocalHost:9477", "127.0.0.1:9477", "[::1]",
                                       "[::1]:80"};
    static const char *const bad[] = {
        "",           "evil.example",  "127.0.0.1.evil.example",    "localhost.evil.example:9477",
        "localhost:", "localhost:80x", "127.0.0.1:80@evil.example", "x127.0.0.1",
        "127.0.0.2"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(kl_monitor_host_ok(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!kl_monitor_host_ok(bad[i]), "%s", bad[i]);
    }
}
END_TEST

static unsigned times(const char *what)
{
    const char *end = kl_status_page + kl_status_page_len, *at = kl_status_page;
    unsigned count = 0;

    while ((at = memmem(at, (size_t)(end - at), what, strlen(what))) != NULL) {
        at += strlen(what);
        count++;
    }
    return count;
}

/* One script and one style, whose hashes the policy has; nothing that it would not allow. */
START_TEST(page_and_policy)
{
    char policy[KL_STATUS_PAGE_POLICY_MAX];

    ck_assert_msg(kl_status_page_policy(policy, &err) == KL_OK, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(policy, "default-src 'none'; script-src 'sha256-"));
    ck_assert_ptr_nonnull(strstr(policy, "frame-ancestors 'none'"));
    ck_assert_ptr_null(strstr(policy, "unsafe"));
    ck_assert_uint_eq(times("<script"), 1);
    ck_assert_uint_eq(times("<style"), 1);
    ck_assert_uint_eq(times(" style="), 0);
    ck_assert_uint_eq(times("http://"), 1); /* the name of SVG, which nobody fetches */
    ck_assert_uint_eq(times("https://"), 0);
    ck_assert_uint_eq(times("innerHTML"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *tcase = tcase_create("where");

    tcase_add_test(tcase, good_places);
    tcase_add_test(tcase, bad_places);
    tcase_add_test(tcase, long_path);
    tcase_add_test(tcase, unix_sockets);
    tcase_add_test(tcase, hosts);
    tcase_add_test(tcase, page_and_policy);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
