/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines to a syslog of the test's own: taken, refused or not there, and never waited for. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "conf/syslog.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static char dir[64], path[80];
static struct kl_syslog *out;
static struct kl_err err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-syslog-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    ck_assert_int_eq(kl_syslog_new(path, "prog", LOG_AUTHPRIV | LOG_NOTICE, &out, &err), KL_OK);
}

static void teardown(void)
{
    kl_syslog_free(out);
    test_rm_rf(dir);
}

static int listen_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)unlink(path);
    memcpy(address.sun_path, path, strlen(path));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

START_TEST(taken)
{
    char text[4096], big[3000];
    ssize_t n;
    int fd = listen_here();

    ck_assert_int_eq(kl_syslog_send(out, "a=1 b=2", &err), KL_OK);
    n = recv(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_int_eq(strncmp(text, "<85>", 4), 0);
    ck_assert_ptr_nonnull(strstr(text, " prog["));
    ck_assert_ptr_nonnull(strstr(text, "]: a=1 b=2"));
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    ck_assert_int_eq(kl_syslog_send(out, big, &err), KL_OK); /* cut */
    n = recv(fd, text, sizeof(text), 0);
    ck_assert_int_eq(n, 2047);
    close(fd);
}
END_TEST

START_TEST(not_there)
{
    int fd;

    ck_assert_int_eq(kl_syslog_send(out, "x", &err), KL_ERR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    fd = listen_here();
    ck_assert_int_eq(kl_syslog_send(out, "x", &err), KL_OK);
    close(fd); /* it ends, and comes back as another socket */
    ck_assert_int_eq(kl_syslog_send(out, "x", &err), KL_ERR_UNAVAILABLE);
    fd = listen_here();
    ck_assert_int_eq(kl_syslog_send(out, "x", &err), KL_OK);
    close(fd);
}
END_TEST

START_TEST(full)
{
    char text[4096];
    int fd = listen_here(), sent = 0;
    enum kl_rc rc;

    while ((rc = kl_syslog_send(out, "x", &err)) == KL_OK && sent < 100000) {
        sent++;
    }
    ck_assert_int_eq(rc, KL_ERR_BUSY); /* and not: waits */
    ck_assert_int_gt(recv(fd, text, sizeof(text), 0), 0);
    ck_assert_int_eq(kl_syslog_send(out, "x", &err), KL_OK);
    close(fd);
}
END_TEST

START_TEST(long_path)
{
    struct kl_syslog *other = NULL;
    char big[300];

    memset(big, '/', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    ck_assert_int_eq(kl_syslog_new(big, "prog", 0, &other, &err), KL_ERR_CONFIG);
    ck_assert_ptr_null(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("syslog");
    TCase *tcase = tcase_create("syslog");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, taken);
    tcase_add_test(tcase, not_there);
    tcase_add_test(tcase, full);
    tcase_add_test(tcase, long_path);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
