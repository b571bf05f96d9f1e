/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon and the operating system: background, user, limits. The pid file is in pidfile.c. */
#include "daemon/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/log.h"

#define FDS_PER_WORKER 4 /* its three sockets, and the worker's end of one while it is started */
#define PASSWD_MAX 16384 /* bytes of a user's entry */
#define PROBE_SIZE 4096  /* bytes */

/* ---- The background ---- */

static int ready_fd = -1;

static enum kl_rc await_child(pid_t child, int fd)
{
    char byte;
    ssize_t n;
    int status;

    while ((n = read(fd, &byte, 1)) < 0 && errno == EINTR) {
    }
    if (n == 1) {
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static enum kl_rc leave_terminal(struct kl_err *err)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (setsid() < 0 || chdir("/") != 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(null, STDOUT_FILENO) < 0) {
        return kl_err_errno(err, "setsid", "cannot go into the background");
    }
    close(null);
    return KL_OK;
}

enum kl_rc kl_process_detach(struct kl_err *err)
{
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return kl_err_errno(err, "pipe2", "cannot go into the background");
    }
    child = fork();
    if (child < 0) {
        (void)kl_err_errno(err, "fork", "cannot go into the background");
        close(fds[0]);
        close(fds[1]);
        return err->rc;
    }
    if (child > 0) {
        close(fds[1]);
        return await_child(child, fds[0]);
    }
    close(fds[0]);
    ready_fd = fds[1];
    return leave_terminal(err);
}

void kl_process_ready(void)
{
    int null;

    if (ready_fd < 0) {
        return;
    }
    if (isatty(STDERR_FILENO) && (null = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0) {
        (void)dup2(null, STDERR_FILENO); /* until now start-up's messages went there */
        close(null);
    }
    while (write(ready_fd, "", 1) < 0 && errno == EINTR) {
    }
    close(ready_fd);
    ready_fd = -1;
}

/* ---- The user ---- */

enum kl_rc kl_user_find(const char *name, struct kl_user *out, struct kl_err *err)
{
    struct passwd entry, *found = NULL;
    char buffer[PASSWD_MAX];
    int fail = getpwnam_r(name, &entry, buffer, sizeof(buffer), &found);

    if (found == NULL) {
        errno = fail;
        return fail != 0 ? kl_err_errno(err, "getpwnam_r", "--user %.60s", name)
                         : kl_err_set(err, KL_ERR_USAGE, "--user: there is no user '%.60s'", name);
    }
    if (entry.pw_uid == 0 || strlen(name) >= sizeof(out->name)) {
        return kl_err_set(err, KL_ERR_USAGE, "--user: '%.60s' is root, or too long", name);
    }
    snprintf(out->name, sizeof(out->name), "%s", name);
    out->uid = entry.pw_uid;
    out->gid = entry.pw_gid;
    return KL_OK;
}

static int is_for_good(const struct kl_user *user)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;

    return getresuid(&r, &e, &s) == 0 && r == user->uid && e == user->uid && s == user->uid &&
           getresgid(&rg, &eg, &sg) == 0 && rg == user->gid && eg == user->gid && sg == user->gid &&
           setuid(0) != 0 && seteuid(0) != 0;
}

enum kl_rc kl_user_become(const struct kl_user *user, struct kl_err *err)
{
    if (geteuid() != 0) {
        return is_for_good(user)
                   ? KL_OK
                   : kl_err_set(err, KL_ERR_PERMISSION,
                                "--user %s: only root can become another user", user->name);
    }
    if (initgroups(user->name, user->gid) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
        setresuid(user->uid, user->uid, user->uid) != 0) {
        (void)kl_err_errno(err, "setresuid", "--user %s", user->name);
        return err->rc = KL_ERR_PERMISSION;
    }
    if (!is_for_good(user)) {
        return kl_err_set(err, KL_ERR_PERMISSION, "--user %s: there is a way back to root",
                          user->name);
    }
    /* A change of user makes a process dumpable or not by fs.suid_dumpable: never. */
    if (prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0) {
        return kl_err_errno(err, "prctl", "cannot forbid ptrace and core files");
    }
    return KL_OK;
}

/* ---- Descriptors ---- */

uint64_t kl_process_connections(uint64_t connections, uint64_t workers)
{
    uint64_t reserve = KL_PROCESS_RESERVE + FDS_PER_WORKER * workers;
    uint64_t wanted = connections + reserve, room;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return connections;
    }
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
        struct rlimit more = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
        if (more.rlim_max != RLIM_INFINITY && more.rlim_max < wanted) {
            more.rlim_max = wanted; /* for root alone */
        }
        if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
            more = (struct rlimit){limit.rlim_max, limit.rlim_max};
            (void)setrlimit(RLIMIT_NOFILE, &more);
        }
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    room = limit.rlim_cur;
    if (room == RLIM_INFINITY || room >= wanted) {
        return connections;
    }
    room = room > reserve ? room - reserve : 1;
    kl_log(KL_LOG_WARN, "descriptors", KL_NUM("connections", room), KL_NUM("wanted", connections),
           KL_STR("detail", "the limit of open files leaves room for no more: raise it (ulimit -n, "
                            "LimitNOFILE= in the service unit), or lower [limits] connections"));
    return room;
}

void kl_process_raise_limits(uint64_t connections, uint64_t workers, int lock_memory)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

    if (geteuid() != 0) {
        return;
    }
    (void)kl_process_connections(connections, workers);
    if (lock_memory) {
        (void)setrlimit(RLIMIT_MEMLOCK, &none); /* what that did not do is told of later */
    }
}

/* ---- Memory ---- */

/* Beyond RLIMIT_MEMLOCK every later allocation would fail: so there must be none, or it must not
 * hold for us (CAP_IPC_LOCK), which one lock beyond it shows. */
static int may_lock_all(void)
{
    struct rlimit limit, low;
    void *page;
    int free_of_limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return limit.rlim_cur == RLIM_INFINITY;
    }
    page = mmap(NULL, PROBE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    low = (struct rlimit){0, limit.rlim_max};
    free_of_limit =
        page != MAP_FAILED && setrlimit(RLIMIT_MEMLOCK, &low) == 0 && mlock(page, PROBE_SIZE) == 0;
    (void)setrlimit(RLIMIT_MEMLOCK, &limit);
    if (page != MAP_FAILED) {
        munmap(page, PROBE_SIZE);
    }
    return free_of_limit;
}

enum kl_rc kl_process_lock_memory(enum kl_lock_memory how, struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;

    if (how == KL_LOCK_MEMORY_NO) {
        return KL_OK;
    }
    if (!may_lock_all()) {
        (void)kl_err_set(&why, KL_ERR_PERMISSION,
                         "memory cannot be locked and may be swapped out: raise RLIMIT_MEMLOCK to "
                         "unlimited (ulimit -l, LimitMEMLOCK= in the service unit), or encrypt or "
                         "turn off swap and set [process] lock-memory = no");
    } else if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        (void)kl_err_errno(&why, "mlockall", "memory cannot be locked and may be swapped out");
        why.rc = KL_ERR_PERMISSION;
    } else {
        return KL_OK;
    }
    if (how == KL_LOCK_MEMORY_YES) {
        *err = why;
        return err->rc;
    }
    kl_log(KL_LOG_WARN, "memory-not-locked", KL_LOG_ERR(&why));
    return KL_OK;
}

/* ---- What workers inherit ---- */

static int is_ours_alone(const char *variable)
{
    static const char *const names[] = {"NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=",
                                        "LISTEN_FDS=",    "LISTEN_PID=",    "LISTEN_FDNAMES=",
                                        "MAINPID="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(variable, names[i], strlen(names[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A module's calls allocate very many small things and free them at their end; of a size, glibc
 * keeps 7 at hand by default. 64 save 5 % of the instructions of a P-256 load on SoftHSM, for 0.4
 * MiB. */
#define TUNABLES "GLIBC_TUNABLES"
static char more_at_hand[] = TUNABLES "=glibc.malloc.tcache_count=64";

char **kl_process_worker_environ(void)
{
    size_t count = 0, kept = 0;
    char **out;

    while (environ[count] != NULL) {
        count++;
    }
    out = calloc(count + 2, sizeof(*out));
    for (size_t i = 0; out != NULL && i < count; i++) {
        if (!is_ours_alone(environ[i])) {
            out[kept++] = environ[i];
        }
    }
    if (out != NULL && getenv(TUNABLES) == NULL) {
        out[kept] = more_at_hand;
    }
    return out;
}
