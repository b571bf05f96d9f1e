/* SPDX-License-Identifier: BSD-2-Clause */
/* Dies at the n-th operation on a folder, and knows what the disk would hold: see disk_preload.h.
 */
#include "tests/tools/disk_preload.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define ENTRY_MAX 128
#define ID_MAX 64
#define NAME_LEN 192

struct entry { /* a durable name: the file it leads to, by inode and, if that was reused, more */
    char id[ID_MAX], name[NAME_LEN];
};

struct listing {
    size_t count;
    struct entry entries[ENTRY_MAX];
};

static struct disk_control *control;
static char watched[PATH_MAX], own[PATH_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int inside; /* our own file operations are nobody's business */
static struct listing durable;
static uint32_t dice;

static __attribute__((noreturn)) void die(const char *what)
{
    fprintf(stderr, "disk_preload: %s: %s\n", what, strerror(errno));
    _exit(70);
}

static char *path_of(char out[PATH_MAX], const char *dir, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        die(name);
    }
    return out;
}

/* ---- Files, whole ---- */

struct bytes {
    uint8_t *data; /* malloc'ed */
    size_t len;
    int there;
};

static int is_watched(const char *path)
{
    size_t len = strlen(watched);

    return len && strncmp(path, watched, len) == 0 && path[len] == '/' &&
           !strchr(path + len + 1, '/');
}

/* What has been opened in the folder stays open: to close it would drop the locks that the process
 * has on it (SQLite's are fcntl's), and others would believe that nobody is at it. */
static int open_watched(const char *path)
{
    static struct {
        ino_t inode;
        int fd;
    } opened[ENTRY_MAX];
    static size_t count;
    struct stat st;

    if (stat(path, &st) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (opened[i].inode == st.st_ino) {
            return opened[i].fd;
        }
    }
    if (count == ENTRY_MAX) {
        die("too many files");
    }
    opened[count].inode = st.st_ino;
    opened[count].fd = open(path, O_RDONLY | O_CLOEXEC);
    return opened[count].fd < 0 ? -1 : opened[count++].fd;
}

static struct bytes load(const char *path)
{
    struct bytes out = {NULL, 0, 0};
    struct stat st;
    int stays = is_watched(path),
        fd = stays ? open_watched(path) : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0) {
        return out;
    }
    out.data = malloc((size_t)st.st_size + 1);
    for (ssize_t n; out.data && (n = pread(fd, out.data + out.len, (size_t)st.st_size - out.len,
                                           (off_t)out.len)) > 0;) {
        out.len += (size_t)n;
    }
    out.there = out.data != NULL;
    if (!stays) {
        close(fd);
    }
    return out;
}

/* Whole or not at all, as a test may kill the process while it is at it. */
static void store(const char *path, const void *data, size_t len)
{
    char part[PATH_MAX];
    FILE *file = fopen(path_of(part, own, "part"), "we");

    if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0 ||
        rename(part, path) != 0) {
        die(path);
    }
}

/* ---- What is durable ---- */

static char *shadow_path(char out[PATH_MAX], const char *id)
{
    char dir[PATH_MAX];

    return path_of(out, path_of(dir, own, "shadow"), id);
}

static int matters(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_type == DT_REG && len < NAME_LEN &&
           (len < 4 || strcmp(entry->d_name + len - 4, "-shm") != 0);
}

static void list_folder(struct listing *out)
{
    const struct dirent *entry;
    DIR *dir = opendir(watched);

    out->count = 0;
    while (dir && (entry = readdir(dir)) != NULL) {
        if (!matters(entry)) {
            continue;
        }
        if (out->count == ENTRY_MAX) {
            die("too many files");
        }
        struct entry *to = &out->entries[out->count++];
        snprintf(to->id, sizeof(to->id), "%llu", (unsigned long long)entry->d_ino);
        strcpy(to->name, entry->d_name); /* which fits: it matters */
    }
    if (dir) {
        closedir(dir);
    }
}

static const struct entry *by_name(const struct listing *in, const char *name)
{
    for (size_t i = 0; i < in->count; i++) {
        if (strcmp(in->entries[i].name, name) == 0) {
            return &in->entries[i];
        }
    }
    return NULL;
}

static const struct entry *by_id(const struct listing *in, const char *id)
{
    for (size_t i = 0; i < in->count; i++) {
        if (strcmp(in->entries[i].id, id) == 0) {
            return &in->entries[i];
        }
    }
    return NULL;
}

static void save_names(void)
{
    char path[PATH_MAX];

    store(shadow_path(path, "names"), &durable, sizeof(durable));
}

static void copy_durable(const char *from, const char *id)
{
    char path[PATH_MAX];
    struct bytes now = load(from);

    if (now.there) {
        store(shadow_path(path, id), now.data, now.len);
    }
    free(now.data);
}

/* A file that has just been made may have the inode of one that is gone, but durably there. */
static void made(const char *path)
{
    char old[PATH_MAX], kept[PATH_MAX], id[24], other[ID_MAX];
    static unsigned reused;
    struct stat st;
    int renamed = 0;

    if (stat(path, &st) != 0) {
        return;
    }
    snprintf(id, sizeof(id), "%llu", (unsigned long long)st.st_ino);
    snprintf(other, sizeof(other), "%s-%d-%u", id, (int)getpid(), reused++);
    for (size_t i = 0; i < durable.count; i++) {
        if (strcmp(durable.entries[i].id, id) == 0) {
            strcpy(durable.entries[i].id, other);
            renamed = 1;
        }
    }
    shadow_path(old, id);
    if (renamed) {
        (void)rename(old, shadow_path(kept, other));
        save_names();
    } else {
        (void)unlink(old);
    }
}

/* All that is there. */
static void begin_anew(void)
{
    char path[PATH_MAX];

    list_folder(&durable);
    for (size_t i = 0; i < durable.count; i++) {
        copy_durable(path_of(path, watched, durable.entries[i].name), durable.entries[i].id);
    }
    save_names();
}

static void begin(void)
{
    char path[PATH_MAX];
    struct bytes names = load(shadow_path(path, "names"));

    if (names.there && names.len == sizeof(durable)) {
        memcpy(&durable, names.data, sizeof(durable));
    } else {
        begin_anew();
    }
    free(names.data);
}

/* ---- The disk after the cut ---- */

static int coin(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 17;
    dice ^= dice << 5;
    return (dice >> 7) & 1;
}

/* Some of the sectors of `now` come over `was`, into `was`. */
static void mix(struct bytes *was, const struct bytes *now)
{
    size_t most = was->len > now->len ? was->len : now->len, end = was->len;
    uint8_t *out = calloc(1, most + 1);

    if (!out) {
        die("calloc");
    }
    memcpy(out, was->data, was->len);
    for (size_t at = 0; at < now->len; at += SECTOR) {
        size_t len = now->len - at < SECTOR ? now->len - at : SECTOR;
        if (coin()) {
            memcpy(out + at, now->data + at, len);
            end = at + len > end ? at + len : end;
        }
    }
    if (coin()) { /* the new length may be durable without the bytes, which are zeros then */
        end = now->len;
    }
    free(was->data);
    *was = (struct bytes){out, end, 1};
}

static void make_file(const struct entry *file, const char *name, const struct listing *now)
{
    char path[PATH_MAX], dir[PATH_MAX];
    struct bytes was = load(shadow_path(path, file->id)), is = {NULL, 0, 0};
    const struct entry *current = by_id(now, file->id);

    if (!was.there && !(was.data = calloc(1, 1))) { /* never synced: a name and no bytes */
        die("calloc");
    }
    if (control->spread && current) {
        is = load(path_of(path, watched, current->name));
        if (is.there) {
            mix(&was, &is);
        }
    }
    store(path_of(path, path_of(dir, own, "image"), name), was.data, was.len);
    free(was.data);
    free(is.data);
}

static void make_image(void)
{
    static struct listing now;

    list_folder(&now);
    dice = control->spread;
    for (size_t i = 0; i < durable.count; i++) {
        const struct entry *was = &durable.entries[i], *is = by_name(&now, was->name);
        const struct entry *pick = control->spread && coin() ? is : was;
        if (pick) {
            make_file(pick, was->name, &now);
        }
    }
    for (size_t i = 0; control->spread && i < now.count; i++) {
        if (!by_name(&durable, now.entries[i].name) && coin()) {
            make_file(&now.entries[i], now.entries[i].name, &now);
        }
    }
}

/* ---- Counting, and the end ---- */

/* 1 if this is the one. */
static int is_stop(uint32_t kind)
{
    return control && (control->kinds & kind) &&
           atomic_fetch_add(&control->count, 1) + 1 == control->stop;
}

static void stop(const char *operation, const char *path)
{
    const char *name = strrchr(path, '/');

    snprintf(control->stopped, sizeof(control->stopped), "%s %s %.80s",
             control->after ? "after" : "before", operation, name ? name + 1 : path);
    if (control->cut) {
        make_image();
    }
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

/* 1 if fd is a file of the folder, 2 if it is the folder; its path. */
static int fd_path(int fd, char path[PATH_MAX])
{
    char link[64];
    ssize_t len;

    if (!control || inside || fd <= 2) {
        return 0;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, PATH_MAX - 1);
    if (len <= 0) {
        return 0;
    }
    path[len] = '\0';
    return is_watched(path) ? 1 : strcmp(path, watched) == 0 ? 2 : 0;
}

/* The function of that name behind ours. */
#define REAL(function) \
    static __typeof__(&(function)) real; \
    if (!real) { \
        void *symbol = dlsym(RTLD_NEXT, #function); \
        memcpy(&real, &symbol, sizeof(symbol)); \
    }

static void enter(void)
{
    pthread_mutex_lock(&lock);
    inside = 1;
    if (control->fresh) {
        control->fresh = 0;
        begin_anew();
    }
}

static void leave(void)
{
    int saved = errno;

    inside = 0;
    pthread_mutex_unlock(&lock);
    errno = saved;
}

/* An operation of that kind on `path`: dies before or after it, or does it. */
#define WRAPPED(result, kind, name, path, call, noted) \
    do { \
        enter(); \
        int end = is_stop(kind); \
        if (end && !control->after) { \
            stop(name, path); \
        } \
        (result) = (call); \
        noted; \
        if (end) { \
            stop(name, path); \
        } \
        leave(); \
    } while (0)

/* ---- The functions ---- */

static void synced(int what, const char *path)
{
    struct stat st;
    char id[24];

    if (what == 2) {
        list_folder(&durable);
        save_names();
    } else if (stat(path, &st) == 0) {
        snprintf(id, sizeof(id), "%llu", (unsigned long long)st.st_ino);
        copy_durable(path, id);
    }
}

static int sync_fd(int (*real)(int), const char *name, int fd)
{
    char path[PATH_MAX];
    int what = fd_path(fd, path), rc;

    if (!what) {
        return real(fd);
    }
    WRAPPED(rc, DISK_SYNC, name, path, control->swallow ? 0 : real(fd),
            if (rc == 0 && !control->swallow) synced(what, path));
    return rc;
}

int fsync(int fd)
{
    REAL(fsync)
    return sync_fd(real, "fsync", fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync)
    return sync_fd(real, "fdatasync", fd);
}

static int names(const char *a, const char *b)
{
    return control && !inside && (is_watched(a) || (b && is_watched(b)));
}

int rename(const char *from, const char *to)
{
    REAL(rename)
    int rc;
    if (!names(from, to)) {
        return real(from, to);
    }
    WRAPPED(rc, DISK_NAME, "rename", to, real(from, to), (void)0);
    return rc;
}

int link(const char *from, const char *to)
{
    REAL(link)
    int rc;
    if (!names(from, to)) {
        return real(from, to);
    }
    WRAPPED(rc, DISK_NAME, "link", to, real(from, to), (void)0);
    return rc;
}

int unlink(const char *path)
{
    REAL(unlink)
    int rc;
    if (!names(path, NULL)) {
        return real(path);
    }
    WRAPPED(rc, DISK_NAME, "unlink", path, real(path), (void)0);
    return rc;
}

ssize_t write(int fd, const void *data, size_t len)
{
    REAL(write)
    char path[PATH_MAX];
    ssize_t n;
    if (fd_path(fd, path) != 1) {
        return real(fd, data, len);
    }
    WRAPPED(n, DISK_WRITE, "write", path, real(fd, data, len), (void)0);
    return n;
}

static ssize_t pwrite_fd(ssize_t (*real)(int, const void *, size_t, off_t), int fd,
                         const void *data, size_t len, off_t at)
{
    char path[PATH_MAX];
    ssize_t n;

    if (fd_path(fd, path) != 1 || strstr(path, "-shm")) {
        return real(fd, data, len, at);
    }
    WRAPPED(n, DISK_WRITE, "pwrite", path, real(fd, data, len, at), (void)0);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    REAL(pwrite)
    return pwrite_fd(real, fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    REAL(pwrite64)
    return pwrite_fd(real, fd, data, len, at);
}

static int ftruncate_fd(int (*real)(int, off_t), int fd, off_t len)
{
    char path[PATH_MAX];
    int rc;

    if (fd_path(fd, path) != 1 || strstr(path, "-shm")) {
        return real(fd, len);
    }
    WRAPPED(rc, DISK_WRITE, "ftruncate", path, real(fd, len), (void)0);
    return rc;
}

int ftruncate(int fd, off_t len)
{
    REAL(ftruncate)
    return ftruncate_fd(real, fd, len);
}

int ftruncate64(int fd, off_t len)
{
    REAL(ftruncate64)
    return ftruncate_fd(real, fd, len);
}

/* Opening is watched for what it makes. */
static int open_path(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
    int fd, is_new;

    if (!control || inside || !(flags & O_CREAT) || !is_watched(path)) {
        return real(path, flags, mode);
    }
    enter();
    is_new = access(path, F_OK) != 0;
    fd = real(path, flags, mode);
    if (fd >= 0 && is_new) {
        made(path);
    }
    leave();
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags)&O_CREAT) { \
        va_list ap; \
        va_start(ap, flags); \
        mode = va_arg(ap, mode_t); \
        va_end(ap); \
    }

int open(const char *path, int flags, ...)
{
    REAL(open)
    MODE(flags)
    return open_path(real, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(open64)
    MODE(flags)
    return open_path(real, path, flags, mode);
}

int mkostemp(char *template, int flags)
{
    REAL(mkostemp)
    int fd = real(template, flags);
    if (fd >= 0 && names(template, NULL)) {
        enter();
        made(template);
        leave();
    }
    return fd;
}

__attribute__((constructor)) static void set_up(void)
{
    const char *watch = getenv("KL_DISK_WATCH"), *folder = getenv("KL_DISK");
    char path[PATH_MAX];
    int fd;

    if (!watch || !folder) {
        return;
    }
    inside = 1;
    snprintf(watched, sizeof(watched), "%s", watch);
    snprintf(own, sizeof(own), "%s", folder);
    fd = open(path_of(path, own, "control"), O_RDWR | O_CLOEXEC);
    void *map =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, sizeof(struct disk_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        die(path);
    }
    close(fd);
    begin();
    control = map;
    inside = 0;
}
