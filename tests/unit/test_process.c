/* SPDX-License-Identifier: BSD-2-Clause */
/* Pid files, users, and what workers inherit. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/process/process.h"
#include "tests/support/hsm.h"
#include "tests/support/suite.h"

static char dir[64], path[80];
static struct kl_err err;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/kl-process-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/pid", dir);
}

static void teardown(void)
{
    test_rm_rf(dir);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "we");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static enum kl_rc make(struct kl_pidfile **out)
{
    return kl_pidfile_new(path, geteuid(), getegid(), out, &err);
}

START_TEST(pidfile_life)
{
    struct kl_pidfile *first = NULL, *second = NULL;
    char text[32] = "", wanted[32];
    FILE *f;

    ck_assert_msg(make(&first) == KL_OK, "%s", err.text);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
    fclose(f);
    snprintf(wanted, sizeof(wanted), "%d\n", (int)getpid());
    ck_assert_str_eq(text, wanted);
    ck_assert_int_eq(make(&second), KL_ERR_BUSY); /* held by the first */
    snprintf(wanted, sizeof(wanted), "as process %d", (int)getpid());
    ck_assert_msg(strstr(err.text, wanted) != NULL, "%s", err.text);
    ck_assert_ptr_null(second);
    kl_pidfile_free(first);
    ck_assert_int_ne(access(path, F_OK), 0);
    kl_pidfile_free(NULL);
}
END_TEST

/* One that nobody holds is stale, whatever number is in it. */
START_TEST(pidfile_stale)
{
    struct kl_pidfile *pidfile = NULL;
    char text[64];

    snprintf(text, sizeof(text), "%d and more\n", (int)getppid());
    write_file(text);
    ck_assert_msg(make(&pidfile) == KL_OK, "%s", err.text);
    kl_pidfile_free(pidfile);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* One that another has put in its place is not ours to remove. */
START_TEST(pidfile_of_another)
{
    struct kl_pidfile *pidfile = NULL;

    ck_assert_int_eq(make(&pidfile), KL_OK);
    ck_assert_int_eq(unlink(path), 0);
    write_file("1\n");
    kl_pidfile_free(pidfile);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* Nothing is written through a link, to a second name of another file, or into what is none. */
START_TEST(pidfile_traps)
{
    struct kl_pidfile *pidfile = NULL;
    char victim[80];
    struct stat st;

    snprintf(victim, sizeof(victim), "%s/victim", dir);
    write_file("precious");
    ck_assert_int_eq(rename(path, victim), 0);
    if (_i == 0) {
        ck_assert_int_eq(symlink(victim, path), 0);
    } else if (_i == 1) {
        ck_assert_int_eq(link(victim, path), 0);
    } else if (_i == 2) {
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    } else {
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    ck_assert_int_ne(make(&pidfile), KL_OK);
    ck_assert_ptr_null(pidfile);
    ck_assert_int_eq(stat(victim, &st), 0);
    ck_assert_int_eq(st.st_size, 8);
}
END_TEST

START_TEST(worker_environ)
{
    char **env;
    int path_there = 0;

    setenv("NOTIFY_SOCKET", "/x", 1);
    setenv("WATCHDOG_USEC", "1", 1);
    setenv("WATCHDOG_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDNAMES", "lan", 1);
    setenv("CREDENTIALS_DIRECTORY", "/c", 1); /* the PIN's */
    env = kl_process_worker_environ();
    ck_assert_ptr_nonnull(env);
    for (size_t i = 0; env[i] != NULL; i++) {
        ck_assert_msg(strncmp(env[i], "NOTIFY", 6) != 0 && strncmp(env[i], "WATCHDOG", 8) != 0 &&
                          strncmp(env[i], "LISTEN", 6) != 0,
                      "%s", env[i]);
        path_there += strcmp(env[i], "CREDENTIALS_DIRECTORY=/c") == 0;
    }
    ck_assert_int_eq(path_there, 1);
    free(env);
}
END_TEST

static unsigned count_tunables(const char *wanted)
{
    char **env = kl_process_worker_environ();
    unsigned count = 0;

    ck_assert_ptr_nonnull(env);
    for (size_t i = 0; env[i] != NULL; i++) {
        if (strncmp(env[i], "GLIBC_TUNABLES=", 15) == 0) {
            ck_assert_str_eq(env[i], wanted);
            count++;
        }
    }
    free(env);
    return count;
}

START_TEST(worker_environ_for_malloc)
{
    unsetenv("GLIBC_TUNABLES");
    ck_assert_uint_eq(count_tunables("GLIBC_TUNABLES=glibc.malloc.tcache_count=64"), 1);
    setenv("GLIBC_TUNABLES", "glibc.malloc.check=3", 1); /* the operator's own */
    ck_assert_uint_eq(count_tunables("GLIBC_TUNABLES=glibc.malloc.check=3"), 1);
}
END_TEST

/* A user for good: no way back. */
START_TEST(user)
{
    struct kl_user nobody;
    pid_t child;
    int status;

    ck_assert_int_eq(kl_user_find("no-such-user", &nobody, &err), KL_ERR_USAGE);
    ck_assert_int_eq(kl_user_find("root", &nobody, &err), KL_ERR_USAGE);
    ck_assert_msg(kl_user_find("nobody", &nobody, &err) == KL_OK, "%s", err.text);
    if (geteuid() != 0) {
        ck_assert_int_eq(kl_user_become(&nobody, &err), KL_ERR_PERMISSION);
        return;
    }
    child = fork();
    if (child == 0) {
        _exit(kl_user_become(&nobody, &err) == KL_OK && getuid() == nobody.uid && setuid(0) != 0 &&
                      kl_user_become(&nobody, &err) == KL_OK
                  ? 0
                  : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("process");
    TCase *tcase = tcase_create("process");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, pidfile_life);
    tcase_add_test(tcase, pidfile_stale);
    tcase_add_test(tcase, pidfile_of_another);
    tcase_add_loop_test(tcase, pidfile_traps, 0, 4);
    tcase_add_test(tcase, worker_environ);
    tcase_add_test(tcase, worker_environ_for_malloc);
    tcase_add_test(tcase, user);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
