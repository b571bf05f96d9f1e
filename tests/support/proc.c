/* SPDX-License-Identifier: BSD-2-Clause */
/* Children and files of the tests. */
#include "tests/support/proc.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

unsigned proc_descriptors(pid_t pid)
{
    char path[64];
    unsigned count = 0;
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    ck_assert_msg((dir = opendir(path)) != NULL, "%s is gone", path);
    while ((entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

int proc_seconds(int seconds)
{
    const char *factor = getenv("CK_TIMEOUT_MULTIPLIER");
    int n = factor != NULL ? (int)strtol(factor, NULL, 10) : 1;
    return seconds * (n > 1 ? n : 1);
}

void proc_sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
        ;
    }
}

/* Our environment with env's entries in the place of those of the same name; malloc'ed array. */
static char **environment(const char *const *env)
{
    size_t ours = 0, added = 0, n = 0;
    while (environ[ours] != NULL) {
        ours++;
    }
    while (env != NULL && env[added] != NULL) {
        added++;
    }
    char **all = calloc(ours + added + 1, sizeof *all);
    ck_assert_ptr_nonnull(all);
    for (size_t i = 0; i < ours; i++) {
        int replaced = 0;
        for (size_t k = 0; k < added; k++) {
            size_t name = strcspn(env[k], "=") + 1;
            replaced |= strncmp(environ[i], env[k], name) == 0;
        }
        if (!replaced) {
            all[n++] = environ[i];
        }
    }
    for (size_t k = 0; k < added; k++) {
        all[n++] = (char *)(uintptr_t)env[k];
    }
    return all;
}

static void name_outputs(struct proc *proc, const char *logs, const char *program)
{
    static unsigned runs;
    const char *base = strrchr(program, '/');
    base = base != NULL ? base + 1 : program;
    runs++;
    int n =
        snprintf(proc->out, sizeof proc->out, "%s/%d-%03u-%s.out", logs, (int)getpid(), runs, base);
    ck_assert(n > 0 && (size_t)n < sizeof proc->out);
    n = snprintf(proc->err, sizeof proc->err, "%s/%d-%03u-%s.err", logs, (int)getpid(), runs, base);
    ck_assert(n > 0 && (size_t)n < sizeof proc->err);
}

void proc_spawn(struct proc *proc, const char *logs, const char *const *env,
                const char *const *argv)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    char **all = environment(env);
    name_outputs(proc, logs, argv[0]);
    ck_assert_int_eq(posix_spawn_file_actions_init(&files), 0);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, proc->out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&files, 2, proc->err, O_WRONLY | O_CREAT | O_APPEND, 0600);
    sigemptyset(&none);
    ck_assert_int_eq(posix_spawnattr_init(&attr), 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attr, &none);
    int rc = posix_spawn(&proc->pid, argv[0], &files, &attr, (char *const *)(uintptr_t)argv, all);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    free(all);
    ck_assert_msg(rc == 0, "cannot run %s: %s", argv[0], strerror(rc));
}

static int status_of(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int proc_poll(struct proc *proc)
{
    int status;
    if (proc->pid == 0 || waitpid(proc->pid, &status, WNOHANG) != proc->pid) {
        return -1;
    }
    proc->pid = 0;
    return status_of(status);
}

int proc_wait(struct proc *proc, int seconds)
{
    int status = -1;
    ck_assert_int_ne(proc->pid, 0);
    for (int ms = 0; ms < proc_seconds(seconds) * 1000; ms += 10) {
        if ((status = proc_poll(proc)) != -1) {
            return status;
        }
        proc_sleep_ms(10);
    }
    proc_kill(proc);
    ck_abort_msg("no end after %d s; see %s", proc_seconds(seconds), proc->err);
    return -1;
}

void proc_kill(struct proc *proc)
{
    if (proc->pid == 0) {
        return;
    }
    kill(proc->pid, SIGKILL);
    while (waitpid(proc->pid, NULL, 0) < 0 && errno == EINTR) {
        ;
    }
    proc->pid = 0;
}

size_t proc_children(pid_t pid, pid_t *out, size_t max)
{
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    char *list = file_read(path, NULL), *at = list, *end;
    for (long child; n < max && (child = strtol(at, &end, 10)) > 0; at = end) {
        out[n++] = (pid_t)child;
    }
    free(list);
    return n;
}

char *file_read(const char *path, size_t *len)
{
    size_t size = 0, room = 4096;
    char *data = malloc(room);
    FILE *f = fopen(path, "rbe");
    ck_assert_ptr_nonnull(data);
    for (size_t n; f != NULL && (n = fread(data + size, 1, room - size - 1, f)) > 0;) {
        size += n;
        if (size + 1 == room) {
            data = realloc(data, room *= 2);
            ck_assert_ptr_nonnull(data);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    data[size] = '\0';
    if (len != NULL) {
        *len = size;
    }
    return data;
}

void file_write(const char *path, const void *data, size_t len, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

void file_mkdir(const char *path)
{
    ck_assert_msg(mkdir(path, 0700) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
}

char *file_path(char *out, const char *dir, const char *name)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    ck_assert(n > 0 && n < PATH_MAX);
    return out;
}

static struct {
    void (*fn)(const char *, void *);
    void *arg;
} walk;

static int walk_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_F && S_ISREG(st->st_mode)) {
        walk.fn(path, walk.arg);
    }
    return 0;
}

void file_walk(const char *dir, void (*fn)(const char *path, void *arg), void *arg)
{
    walk.fn = fn;
    walk.arg = arg;
    ck_assert_int_eq(nftw(dir, walk_one, 16, FTW_PHYS), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void file_remove_tree(const char *dir)
{
    if (dir[0] == '/' && strlen(dir) > 1) {
        (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

void proc_text(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(out, size, fmt, ap);
    va_end(ap);
    ck_assert_msg(n >= 0 && (size_t)n < size, "too long: %s", out);
}
