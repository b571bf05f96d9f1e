/* SPDX-License-Identifier: BSD-2-Clause */
/* What the service manager hears: that we are alive, as long as loop and store thread are. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/process/manager.h"
#include "proto/clock.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

#define WATCHDOG_MS 400

static char dir[] = "/tmp/kl-manager-XXXXXX";
static struct kl_service service;
static struct kl_manager *manager;
static struct kl_err err;
static int fd;

static void setup(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct kl_store *store = NULL;
    char path[80], usec[16];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/store.db", dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
    snprintf(usec, sizeof(usec), "%d", WATCHDOG_MS * 1000);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    setenv("WATCHDOG_USEC", usec, 1);
    service.base = event_base_new();
    TAILQ_INIT(&service.conns);
    ck_assert_int_eq(kl_store_open(path, KL_STORE_CREATE, &store, &err), KL_OK);
    ck_assert_int_eq(kl_committer_new(service.base, store, &service.committer, &err), KL_OK);
    ck_assert_int_eq(kl_manager_new(&service, &manager, &err), KL_OK);
}

static void teardown(void)
{
    kl_manager_free(manager);
    kl_committer_free(service.committer);
    event_base_free(service.base);
    close(fd);
    test_rm_rf(dir);
}

/* Lets the loop turn for that long; how many times it said so. */
static unsigned alive_within(int ms)
{
    int64_t until = kl_clock_ms() + ms;
    unsigned count = 0;
    char text[256];
    ssize_t len;

    while (kl_clock_ms() < until) {
        event_base_loop(service.base, EVLOOP_NONBLOCK);
        while ((len = recv(fd, text, sizeof(text) - 1, 0)) > 0) {
            text[len] = '\0';
            count += strstr(text, "WATCHDOG=1") != NULL;
        }
        usleep(5000);
    }
    return count;
}

struct hang {
    struct kl_unit unit;
    int fds[2], done;
};

static enum kl_rc hang_run(struct kl_unit *unit, struct kl_store *store, struct kl_err *unit_err)
{
    char byte;

    (void)store;
    return read(((struct hang *)unit)->fds[0], &byte, 1) == 1
               ? KL_OK
               : kl_err_errno(unit_err, "read", "hang");
}

static void hang_done(struct kl_unit *unit)
{
    ((struct hang *)unit)->done = 1;
}

/* A store thread that hangs is a reason to be ended; once it gets on, all is well again. */
START_TEST(watchdog)
{
    struct hang hang = {.unit = {.run = hang_run, .done = hang_done}};

    ck_assert_uint_ge(alive_within(2 * WATCHDOG_MS), 3);
    ck_assert_int_eq(pipe(hang.fds), 0);
    ck_assert_int_eq(kl_committer_submit(service.committer, &hang.unit, &err), KL_OK);
    (void)alive_within(WATCHDOG_MS); /* until it is thought to hang */
    ck_assert_uint_eq(alive_within(2 * WATCHDOG_MS), 0);
    ck_assert_int_eq(write(hang.fds[1], "", 1), 1);
    ck_assert_uint_ge(alive_within(2 * WATCHDOG_MS), 3);
    ck_assert_int_eq(hang.done, 1);
    close(hang.fds[0]);
    close(hang.fds[1]);
}
END_TEST

/* Without a store, for the moment of a hand-over, the loop is enough. */
START_TEST(no_store)
{
    kl_committer_free(service.committer);
    service.committer = NULL;
    ck_assert_uint_ge(alive_within(2 * WATCHDOG_MS), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("manager");
    TCase *tcase = tcase_create("manager");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, watchdog);
    tcase_add_test(tcase, no_store);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
