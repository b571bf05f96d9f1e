/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon as a service: in the background, as another user, under a service manager and its
 * sockets, twice on one store or port, without descriptors, and with a clock that is set.
 */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/lab.h"
#include "tests/support/peer.h"
#include "tests/support/sanitized.h"
#include "tests/support/suite.h"

static struct lab lab;

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static void serves(void)
{
    lab_arm(&lab, "T", 1);
    ck_assert_int_eq(lab_load(&lab, "T", lab.port), 0);
}

static int logged(const struct proc *proc, const char *text)
{
    char *log = file_read(proc->err, NULL);
    int found = strstr(log, text) != NULL;

    free(log);
    return found;
}

/* ---- The background ---- */

static pid_t pid_in(const char *path)
{
    char *text = file_read(path, NULL);
    pid_t pid = (pid_t)strtol(text, NULL, 10);

    free(text);
    return pid;
}

static void wait_gone(const char *path)
{
    for (int ms = 0; access(path, F_OK) == 0 && ms < proc_seconds(20) * 1000; ms += 20) {
        proc_sleep_ms(20);
    }
    ck_assert_int_ne(access(path, F_OK), 0);
}

/* The parent ends once it serves; a second one with that pid file ends, and harms nobody. */
START_TEST(detached)
{
    char pidfile[PATH_MAX];
    const char *args[] = {"--detach", "--pidfile", pidfile, NULL};
    struct proc parent = {0}, second = {0};
    char *at;

    lab_begin(&lab, "detached");
    file_path(pidfile, lab.run, "keyloaderd.pid");
    file_write(pidfile, "4194304\n", 8, 0644); /* stale: nobody holds it locked */
    lab.daemon_args = args;
    lab_spawn_another(&lab, &parent);
    ck_assert_int_eq(proc_wait(&parent, 30), 0);
    ck_assert(logged(&parent, "event=listening"));
    char *log = file_read(parent.err, NULL);
    ck_assert_ptr_nonnull(at = strstr(log, " port="));
    lab.port = (uint16_t)strtoul(at + 6, NULL, 10);
    free(log);
    pid_t pid = pid_in(pidfile);
    ck_assert_int_gt(pid, 1);
    ck_assert_int_ne(pid, 4194304);
    ck_assert_int_eq(getsid(pid), pid);
    lab_terminal(&lab, "T", "tdes2");
    serves();
    lab_spawn_another(&lab, &second);
    ck_assert_int_eq(proc_wait(&second, 30), 75);
    ck_assert(logged(&second, "keyloaderd runs already, as process"));
    ck_assert_int_eq(pid_in(pidfile), pid);
    serves();
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    wait_gone(pidfile);
    lab.daemon_args = NULL;
}
END_TEST

/* What keeps it from serving is the parent's status, and its words are on the terminal. */
START_TEST(detached_fails)
{
    char pidfile[PATH_MAX];
    const char *args[] = {"-d", "--pidfile", pidfile, NULL};
    struct proc parent = {0};

    lab_begin(&lab, "detached-fails");
    file_path(pidfile, lab.run, "keyloaderd.pid");
    lab_set(&lab, "certificates", "root", "/nonexistent");
    lab.daemon_args = args;
    lab_spawn_another(&lab, &parent);
    ck_assert_int_eq(proc_wait(&parent, 30), 66);
    ck_assert(logged(&parent, "/nonexistent"));
    ck_assert_int_ne(access(pidfile, F_OK), 0);
    lab.daemon_args = NULL;
}
END_TEST

/* ---- Another user ---- */

static unsigned long status_number(pid_t pid, const char *name, int base)
{
    char path[64], *text, *at;
    unsigned long value;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    text = file_read(path, NULL);
    at = strstr(text, name);
    ck_assert_msg(at != NULL, "%s: %s", path, name);
    value = strtoul(at + strlen(name), NULL, base);
    free(text);
    return value;
}

START_TEST(dropped_user)
{
    static const char *const args[] = {"--user", "nobody", NULL};
    struct proc chown = {0};
    pid_t pids[4];
    char path[PATH_MAX + 2], hsm[PATH_MAX], pin[PATH_MAX], store[PATH_MAX];

    if (geteuid() != 0) {
        return; /* takes root */
    }
    lab_begin(&lab, "user");
    lab_terminal(&lab, "T", "tdes2");
    lab_arm(&lab, "T", 1);
    proc_spawn(&chown, lab.logs, NULL,
               (const char *const[]){"/bin/chown", "-R", "nobody:nogroup",
                                     file_path(hsm, lab.dir, "hsm"),
                                     file_path(pin, lab.dir, "loader.pin"),
                                     file_path(store, lab.run, "store"), lab.conf, NULL});
    ck_assert_int_eq(proc_wait(&chown, 30), 0);
    snprintf(path, sizeof path, "%s/x", lab.run);
    for (char *at; (at = strrchr(path, '/')) != path;) {
        *at = '\0';
        if (strstr(path, "/kl-") != NULL) { /* a scratch directory of the tests, root's alone */
            ck_assert_int_eq(chmod(path, 0711), 0);
        }
    }
    lab.daemon_args = args;
    lab_start(&lab);
    lab.daemon_args = NULL;
    ck_assert_uint_eq(proc_children(lab.daemon.pid, pids, 4), 1);
    pids[1] = lab.daemon.pid;
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(status_number(pids[i], "Uid:\t", 10), 65534);
        ck_assert_uint_eq(status_number(pids[i], "Gid:\t", 10), 65534);
        ck_assert_uint_eq(status_number(pids[i], "CapEff:\t", 16), 0);
        ck_assert_uint_eq(status_number(pids[i], "CapPrm:\t", 16), 0);
        ck_assert_uint_eq(status_number(pids[i], "Groups:\t", 10), 65534);
    }
    ck_assert_int_eq(lab_load(&lab, "T", lab.port), 0);
    lab_stop(&lab);
}
END_TEST

START_TEST(no_such_user)
{
    static const char *const rows[][3] = {{"--user", "keyloader-nobody", NULL},
                                          {"--user", "root", NULL},
                                          {"--pidfile", "relative", NULL}};

    lab_begin(&lab, "no-user");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lab.daemon_args = rows[i];
        ck_assert_int_eq(lab_start_fails(&lab), 64);
    }
    lab.daemon_args = NULL;
}
END_TEST

/* ---- Two of them ---- */

START_TEST(two_on_one_store)
{
    struct proc second = {0};

    lab_begin(&lab, "two-store");
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
    lab_spawn_another(&lab, &second);
    ck_assert_int_eq(proc_wait(&second, 30), 75);
    ck_assert(logged(&second, "another daemon serves this store"));
    serves();
}
END_TEST

START_TEST(two_on_one_port)
{
    struct proc second = {0};
    char first_store[PATH_MAX], port[12];

    lab_begin(&lab, "two-port");
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
    snprintf(first_store, sizeof first_store, "%s", lab.store);
    snprintf(port, sizeof port, "%u", lab.port);
    strcat(lab.store, "2");
    lab_set(&lab, "store", "path", lab.store);
    lab_set(&lab, "listen", "port", port);
    lab_spawn_another(&lab, &second);
    ck_assert_int_eq(proc_wait(&second, 30), 71);
    ck_assert(logged(&second, "cannot listen on 127.0.0.1 port"));
    snprintf(lab.store, sizeof lab.store, "%s", first_store);
    lab_set(&lab, "store", "path", lab.store);
    serves();
}
END_TEST

/* ---- A service manager ---- */

static char notify_path[PATH_MAX];

/* Where the manager listens, and what it says about that. */
static int manager(const char *watchdog)
{
    static char notify[PATH_MAX + 16], usec[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = proc_seconds(20)};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(notify_path, sizeof notify_path, "/tmp/kl-notify-%d", (int)getpid());
    unlink(notify_path);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", notify_path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    snprintf(notify, sizeof notify, "NOTIFY_SOCKET=%s", notify_path);
    snprintf(usec, sizeof usec, "WATCHDOG_USEC=%s", watchdog);
    lab.env[0] = notify;
    lab.env[1] = usec;
    lab.env[2] = "LISTEN_FDNAMES=lan";
    lab.env[3] = NULL;
    return fd;
}

static void dismiss(int fd)
{
    close(fd);
    unlink(notify_path);
    lab.env[0] = NULL;
}

/* Waits for a notification that has `wanted` in it; *text: it. */
static void expect(int fd, const char *wanted, char text[512])
{
    ssize_t len;

    do {
        len = recv(fd, text, 511, 0);
        ck_assert_msg(len > 0, "no %s: %s", wanted, file_read(lab.daemon.err, NULL));
        text[len] = '\0';
    } while (strstr(text, wanted) == NULL);
}

START_TEST(notifies)
{
    char text[512], pid[32], path[64], *environment;
    size_t len;
    pid_t worker[4];
    int fd;

    lab_begin(&lab, "notifies");
    fd = manager("1000000");
    lab_start(&lab);
    expect(fd, "READY=1", text);
    snprintf(pid, sizeof pid, "MAINPID=%d", (int)lab.daemon.pid);
    ck_assert_ptr_nonnull(strstr(text, pid));
    expect(fd, "WATCHDOG=1", text);
    /* A worker that does not answer is no reason. */
    ck_assert_uint_eq(proc_children(lab.daemon.pid, worker, 4), 1);
    kill(worker[0], SIGSTOP);
    for (int i = 0; i < 6; i++) {
        expect(fd, "WATCHDOG=1", text);
    }
    kill(worker[0], SIGCONT);
    /* Nor does it hear what is said to the daemon alone. */
    snprintf(path, sizeof path, "/proc/%d/environ", (int)worker[0]);
    environment = file_read(path, &len);
    if (len > 0) { /* else we are not root */
        ck_assert_ptr_null(memmem(environment, len, "NOTIFY_SOCKET=", 14));
        ck_assert_ptr_null(memmem(environment, len, "WATCHDOG_USEC=", 14));
        ck_assert_ptr_null(memmem(environment, len, "LISTEN_FDNAMES=", 15));
        ck_assert_ptr_nonnull(memmem(environment, len, "SOFTHSM2_CONF=", 14));
    }
    free(environment);
    kill(lab.daemon.pid, SIGHUP);
    expect(fd, "RELOADING=1", text);
    ck_assert_ptr_nonnull(strstr(text, "MONOTONIC_USEC="));
    expect(fd, "READY=1", text);
    kill(lab.daemon.pid, SIGTERM);
    expect(fd, "STOPPING=1", text);
    ck_assert_ptr_nonnull(strstr(text, "EXTEND_TIMEOUT_USEC="));
    ck_assert_int_eq(proc_wait(&lab.daemon, 30), 0);
    dismiss(fd);
}
END_TEST

/* The one that hands over names its successor. */
START_TEST(names_successor)
{
    static const char *const take_over[] = {"--take-over", NULL};
    struct proc next = {0};
    char text[512], pid[32];
    int fd;

    lab_begin(&lab, "successor");
    fd = manager("60000000");
    lab_start(&lab);
    expect(fd, "READY=1", text);
    lab.daemon_args = take_over;
    lab_spawn_another(&lab, &next);
    lab.daemon_args = NULL;
    snprintf(pid, sizeof pid, "MAINPID=%d", (int)next.pid);
    expect(fd, pid, text);
    ck_assert_int_eq(proc_wait(&lab.daemon, 30), 0);
    lab.daemon = next;
    lab_stop(&lab);
    dismiss(fd);
}
END_TEST

/* ---- Its sockets ---- */

/* A listening socket of ours, which outlives the daemons. */
static int listen_here(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* Starts the daemon as a service manager does: the socket as descriptor 3, LISTEN_PID its own. */
static void spawn_with(int fd, const char *name, struct proc *proc)
{
    static const char *const prefix[] = {"/bin/bash", "-c",
                                         "LISTEN_PID=$$ exec \"$@\" 3<&\"$LAN_FD\"", "bash", NULL};
    static char names[64], number[32];

    snprintf(names, sizeof names, "LISTEN_FDNAMES=%s", name);
    snprintf(number, sizeof number, "LAN_FD=%d", fd);
    lab.env[0] = "LISTEN_FDS=1";
    lab.env[1] = names;
    lab.env[2] = number;
    lab.env[3] = NULL;
    ck_assert_int_eq(fcntl(fd, F_SETFD, 0), 0);
    lab.daemon_prefix = prefix;
    lab_spawn_another(&lab, proc);
    lab.daemon_prefix = NULL;
    lab.env[0] = NULL;
    ck_assert_int_eq(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
}

/* A restart refuses nobody: who comes meanwhile waits in the socket. */
START_TEST(socket_activation)
{
    char port[12];
    struct proc load;
    int fd;

    lab_begin(&lab, "activation");
    lab_terminal(&lab, "T", "tdes2");
    fd = listen_here(&lab.port);
    snprintf(port, sizeof port, "%u", lab.port);
    lab_set(&lab, "listen", "port", port);
    spawn_with(fd, "lan", &lab.daemon);
    ck_assert(lab_logged(&lab, "event=listening", 20));
    serves();
    lab_stop(&lab);
    lab_arm(&lab, "T", 1);
    lab_load_start(&lab, "T", lab.port, NULL, &load);
    proc_sleep_ms(300);
    ck_assert_int_eq(proc_poll(&load), -1);
    spawn_with(fd, "lan", &lab.daemon);
    ck_assert_int_eq(proc_wait(&load, LAB_LOAD_SECONDS), 0);
    close(fd);
}
END_TEST

/* Not what the configuration says. */
START_TEST(wrong_socket)
{
    struct proc proc = {0};
    char port[12];
    uint16_t bound;
    int fd, other;

    lab_begin(&lab, "wrong-socket");
    fd = listen_here(&bound);
    snprintf(port, sizeof port, "%u", bound);
    lab_set(&lab, "listen", "port", port);
    spawn_with(fd, "terminals", &proc);
    ck_assert_int_eq(proc_wait(&proc, 30), 78);
    ck_assert(logged(&proc, "must be lan, control or monitor"));
    snprintf(port, sizeof port, "%u", bound == 1 ? 2 : bound - 1u);
    lab_set(&lab, "listen", "port", port);
    spawn_with(fd, "lan", &proc);
    ck_assert_int_eq(proc_wait(&proc, 30), 78);
    ck_assert(logged(&proc, "is not [listen] address"));
    other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* does not listen */
    spawn_with(other, "lan", &proc);
    ck_assert_int_eq(proc_wait(&proc, 30), 78);
    ck_assert(logged(&proc, "does not listen"));
    close(other);
    close(fd);
}
END_TEST

/* ---- Descriptors ---- */

/* Fewer than the configuration wants: fewer connections, and all else has what it needs. */
START_TEST(few_descriptors)
{
    static const char *const prefix[] = {"/usr/bin/prlimit", "--nofile=160:160", NULL};
    static const char *const no_root[] = {"/usr/bin/setpriv",
                                          "--bounding-set=-sys_resource",
                                          "--inh-caps=-sys_resource",
                                          "/usr/bin/prlimit",
                                          "--nofile=160:160",
                                          NULL};
    int fds[150];

    lab_begin(&lab, "descriptors");
    lab_set(&lab, "limits", "connections", "1000");
    lab_set(&lab, "limits", "connections-per-address", "1000");
    lab.daemon_prefix = geteuid() == 0 ? no_root : prefix;
    lab_start(&lab);
    lab.daemon_prefix = NULL;
    ck_assert(lab_logged(&lab, "event=descriptors connections=60 wanted=1000", 5));
    lab_terminal(&lab, "T", "tdes2");
    for (int i = 0; i < 150; i++) {
        fds[i] = peer_dial(lab.port);
    }
    ck_assert(lab_logged(&lab, "event=turned-away", 10));
    ck_assert_uint_eq(lab_log_count(&lab, "event=accept-failed"), 0);
    /* The store and the workers go on: a reload that rolls them, and the audit trail. */
    lab_set(&lab, "policy", "strength-policy", "warn");
    kill(lab.daemon.pid, SIGHUP);
    ck_assert(lab_logged(&lab, "event=reloaded", 30));
    for (int i = 0; i < 150; i++) {
        close(fds[i]);
    }
    proc_sleep_ms(300);
    serves();
}
END_TEST

/* None at all, for a while: accepting pauses, and goes on afterwards. */
START_TEST(no_descriptors)
{
    struct rlimit before, none;
    int fd;

    lab_begin(&lab, "none");
    lab_start(&lab);
    lab_terminal(&lab, "T", "tdes2");
    ck_assert_int_eq(prlimit(lab.daemon.pid, RLIMIT_NOFILE, NULL, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    ck_assert_int_eq(prlimit(lab.daemon.pid, RLIMIT_NOFILE, &none, NULL), 0);
    fd = peer_dial(lab.port);
    ck_assert(lab_logged(&lab, "event=accept-failed", 10));
    proc_sleep_ms(2500);
    ck_assert_uint_le(lab_log_count(&lab, "event=accept-failed"), 5); /* it does not spin */
    ck_assert_int_eq(prlimit(lab.daemon.pid, RLIMIT_NOFILE, &before, NULL), 0);
    close(fd);
    serves();
}
END_TEST

/* ---- The clock ---- */

/* Not under a sanitizer, whose runtime and faketime's do not start together. */
static const char *faketime(void)
{
    static const char *const paths[] = {"/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
                                        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"};

    for (size_t i = 0; !SANITIZED && i < sizeof paths / sizeof paths[0]; i++) {
        if (access(paths[i], R_OK) == 0) {
            return paths[i];
        }
    }
    return NULL;
}

/* An arming for an hour; the clock is set back by three: it is over when it would have been, and
 * what was over does not come back. */
START_TEST(clock_set_back)
{
    char preload[PATH_MAX + 16], file[PATH_MAX], variable[PATH_MAX + 32], *list;
    const char *library = faketime();

    if (library == NULL) {
        return; /* Debian's faketime is not there, or cannot be used */
    }
    lab_begin(&lab, "clock");
    file_path(file, lab.run, "clock");
    file_write(file, "+0", 2, 0600);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    snprintf(variable, sizeof variable, "FAKETIME_TIMESTAMP_FILE=%s", file);
    lab.env[0] = preload;
    lab.env[1] = variable;
    lab.env[2] = "FAKETIME_NO_CACHE=1";
    lab.env[3] = "DONT_FAKE_MONOTONIC=1";
    lab.env[4] = NULL;
    lab_start(&lab);
    lab.env[0] = NULL;
    lab_terminal(&lab, "T", "tdes2");
    lab_arm(&lab, "T", 1);
    file_write(file, "-7d", 3, 0600);
    ck_assert_msg(lab_logged(&lab, "event=clock-stepped seconds=-60", 10), "%s",
                  file_read(lab.daemon.err, NULL));
    ck_assert(lab_logged(&lab, "event=armings-shortened count=1", 10));
    ck_assert_int_ne(lab_load(&lab, "T", lab.port), 0); /* the certificate is not valid yet, too */
    file_write(file, "+0", 2, 0600);
    ck_assert(lab_logged(&lab, "event=clock-stepped seconds=60", 10));
    ck_assert_int_ne(lab_load(&lab, "T", lab.port), 0);
    ck_assert(lab_logged(&lab, "rc=unarmed", 10));
    serves(); /* armed anew */
    list = lab_ctl(&lab, "audit", "list", NULL);
    ck_assert_ptr_nonnull(strstr(list, "clock-stepped"));
    free(list);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("service");
    TCase *tc = tcase_create("service");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, detached);
    tcase_add_test(tc, detached_fails);
    tcase_add_test(tc, no_such_user);
    tcase_add_test(tc, two_on_one_store);
    tcase_add_test(tc, two_on_one_port);
    tcase_add_test(tc, notifies);
    tcase_add_test(tc, names_successor);
    tcase_add_test(tc, socket_activation);
    tcase_add_test(tc, wrong_socket);
    tcase_add_test(tc, few_descriptors);
    tcase_add_test(tc, no_descriptors);
    tcase_add_test(tc, clock_set_back);
    suite_add_tcase(suite, tc);
    tc = tcase_create("user"); /* gives the whole centre away */
    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, dropped_user);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
