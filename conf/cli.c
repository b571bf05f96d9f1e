/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What programs share at their edges: texts for people, values from command lines and files, and
 * files that are read or written whole.
 */
#include "conf/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"

#define PROGRESS_AFTER_MS 2000
#define PROGRESS_EVERY_MS 200
#define EXIT_USAGE 64

void kl_cli_version(const char *program)
{
    printf("%s %s\n%s\n", program, KL_VERSION, OpenSSL_version(OPENSSL_VERSION));
}

int kl_cli_fail(const char *program, const struct kl_err *err)
{
    fprintf(stderr, "%s: %s\n", program, err->text[0] ? err->text : kl_rc_text(err->rc));
    return kl_rc_exit_status(err->rc);
}

int kl_cli_usage(const char *program, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\nTry '%s --help'.\n", program);
    va_end(args);
    return EXIT_USAGE;
}

/* ---- Values ---- */

/* Digits only, as many as *end says; strtoull alone would take blanks, signs and "0x". */
static int scan_digits(const char *text, uint64_t *out, const char **end)
{
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');

        if (value > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        value = value * 10 + digit;
    }
    *out = value;
    *end = at;
    return at != text;
}

enum kl_rc kl_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out,
                           struct kl_err *err)
{
    uint64_t value;
    const char *end;

    if (!scan_digits(text, &value, &end) || *end || value < min || value > max) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "'%.40s' must be a number from %" PRIu64 " to %" PRIu64, text, min, max);
    }
    *out = value;
    return KL_OK;
}

/* Seconds as the largest unit that divides them, for messages. */
static const char *duration_text(uint64_t seconds, char out[32])
{
    static const struct {
        uint64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if ((seconds && seconds % units[i].seconds == 0) || units[i].seconds == 1) {
            snprintf(out, 32, "%" PRIu64 "%c", seconds / units[i].seconds, units[i].unit);
            break;
        }
    }
    return out;
}

enum kl_rc kl_parse_duration(const char *text, uint64_t min, uint64_t max, uint64_t *seconds,
                             struct kl_err *err)
{
    char low[32], high[32];
    uint64_t value, unit = 1;
    const char *end;
    int ok = scan_digits(text, &value, &end);

    if (ok && *end) {
        unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
        ok = unit != 0 && end[1] == '\0';
    }
    if (!ok || value > UINT64_MAX / unit || value * unit < min || value * unit > max) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "'%.40s' must be a duration from %s to %s (a number and s, m, h or d)",
                          text, duration_text(min, low), duration_text(max, high));
    }
    *seconds = value * unit;
    return KL_OK;
}

void kl_time_format(int64_t unix_time, char out[KL_TIME_TEXT])
{
    time_t t = (time_t)unix_time;
    struct tm tm;

    /* Years beyond four digits would not fit; nothing of ours lives then. */
    if (unix_time < 0 || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900 ||
        strftime(out, KL_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        memcpy(out, "?", 2);
    }
}

enum kl_rc kl_time_parse(const char *text, int64_t *unix_time, struct kl_err *err)
{
    struct tm tm = {0};
    char again[KL_TIME_TEXT];
    const char *end = NULL;
    time_t t = -1;

    if (strlen(text) == KL_TIME_TEXT - 1) {
        end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    if (end && *end == '\0') {
        t = timegm(&tm);
    }
    /* strptime takes blanks, short fields and 31 February; what does not print back is not it. */
    if (t >= 0) {
        kl_time_format((int64_t)t, again);
    }
    if (t < 0 || strcmp(text, again) != 0) {
        return kl_err_set(err, KL_ERR_INPUT,
                          "'%.40s' must be a time in UTC like 2026-01-31T12:34:56Z", text);
    }
    *unix_time = (int64_t)t;
    return KL_OK;
}

void kl_hex_format(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
}

int kl_hex_parse(const char *text, uint8_t *out, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(text) != 2 * len) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        const char *high = strchr(digits, text[2 * i]), *low = strchr(digits, text[2 * i + 1]);
        if (!high || !low) {
            return 0;
        }
        out[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return 1;
}

/* ---- Files ---- */

static enum kl_rc read_all(int fd, const char *path, size_t max, char **out, size_t *len,
                           struct kl_err *err)
{
    size_t capacity = max < 65536 ? max + 1 : 65536, used = 0;
    char *buf = malloc(capacity + 1), *bigger;
    enum kl_rc rc = KL_OK;
    ssize_t n;

    if (!buf) {
        return kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);
    }
    /* One byte beyond max is asked for, so that a file that is too long shows. */
    while ((n = read(fd, buf + used, capacity - used)) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = kl_err_errno(err, "read", "%s", path);
            goto out;
        }
        used += (size_t)n;
        if (used > max) {
            rc = kl_err_set(err, KL_ERR_INPUT, "%s: larger than %zu bytes", path, max);
            goto out;
        }
        if (used == capacity) {
            capacity = capacity > max / 2 ? max + 1 : capacity * 2;
            if (!(bigger = realloc(buf, capacity + 1))) {
                rc = kl_err_set(err, KL_ERR_MEMORY, "%s: out of memory", path);
                goto out;
            }
            buf = bigger;
        }
    }
    buf[used] = '\0';
    *out = buf;
    *len = used;
    buf = NULL;
out:
    free(buf);
    return rc;
}

enum kl_rc kl_file_read(const char *path, size_t max, char **out, size_t *len, struct kl_err *err)
{
    enum kl_rc rc;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        return kl_err_errno(err, "open", "%s", path);
    }
    if (fstat(fd, &st) != 0) {
        rc = kl_err_errno(err, "fstat", "%s", path);
    } else if (S_ISDIR(st.st_mode)) {
        rc = kl_err_set(err, KL_ERR_NO_FILE, "%s: is a directory", path);
    } else {
        rc = read_all(fd, path, max, out, len, err);
    }
    close(fd);
    return rc;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

const char *kl_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

enum kl_rc kl_file_sync_dir(const char *path, struct kl_err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    enum kl_rc rc = KL_OK;
    int fd;

    if (!slash) {
        snprintf(dir, sizeof(dir), ".");
    } else {
        snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return kl_err_errno(err, "open", "%s", dir);
    }
    if (fsync(fd) != 0) {
        rc = kl_err_errno(err, "fsync", "%s", dir);
    }
    close(fd);
    return rc;
}

#define UNFINISHED ".new-"
#define RANDOM_LEN 6 /* of mkostemp */

int kl_file_unfinished(const char *rest)
{
    static const char random[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t len = sizeof(UNFINISHED) - 1;

    return strncmp(rest, UNFINISHED, len) == 0 && strlen(rest) == len + RANDOM_LEN &&
           strspn(rest + len, random) == RANDOM_LEN;
}

enum kl_rc kl_file_write(const char *path, const void *data, size_t len, unsigned mode,
                         int overwrite, struct kl_err *err)
{
    char tmp[PATH_MAX];
    enum kl_rc rc = KL_OK;
    int fd;

    if ((size_t)snprintf(tmp, sizeof(tmp), "%s" UNFINISHED "XXXXXX", path) >= sizeof(tmp)) {
        return kl_err_set(err, KL_ERR_INPUT, "%.60s...: path is too long", path);
    }
    fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0) {
        return kl_err_errno(err, "mkostemp", "%s", path);
    }
    if (fchmod(fd, (mode_t)mode) != 0) {
        rc = kl_err_errno(err, "fchmod", "%s", tmp);
    } else if (write_all(fd, data, len) != 0) {
        rc = kl_err_errno(err, "write", "%s", tmp);
    } else if (fsync(fd) != 0) {
        rc = kl_err_errno(err, "fsync", "%s", tmp);
    }
    if (close(fd) != 0 && rc == KL_OK) {
        rc = kl_err_errno(err, "close", "%s", tmp);
    }
    if (rc != KL_OK) {
        goto out;
    }
    /* link refuses an existing name in one step; rename replaces it in one step. */
    if (overwrite ? rename(tmp, path) : link(tmp, path)) {
        rc = kl_err_errno(err, overwrite ? "rename" : "link", "%s", path);
        goto out;
    }
    rc = kl_file_sync_dir(path, err);
out:
    if (rc != KL_OK || !overwrite) {
        unlink(tmp);
    }
    return rc;
}

void kl_file_sweep(const char *path, int (*stale)(const char *rest))
{
    char folder[PATH_MAX], base[PATH_MAX], found[2 * PATH_MAX];
    const struct dirent *entry;
    const char *where, *what;
    size_t len;
    DIR *dir;

    snprintf(folder, sizeof(folder), "%s", path);
    snprintf(base, sizeof(base), "%s", path);
    where = dirname(folder);
    what = basename(base);
    len = strlen(what);
    if (!(dir = opendir(where))) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, what, len) == 0 && stale(entry->d_name + len)) {
            snprintf(found, sizeof(found), "%s/%s", where, entry->d_name);
            (void)unlink(found);
        }
    }
    closedir(dir);
}

enum kl_rc kl_file_remove(const char *path, struct kl_err *err)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return kl_err_errno(err, "unlink", "%s", path);
    }
    /* Also for one that is not there: a removal before this one may have failed to reach the disk.
     */
    return kl_file_sync_dir(path, err);
}

/* ---- Progress ---- */

void kl_progress(struct kl_progress *progress, const char *what, uint64_t done, uint64_t total)
{
    int64_t now;

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    now = kl_clock_ms();
    if (progress->started_ms == 0) {
        progress->started_ms = now;
    }
    if (now - progress->started_ms < PROGRESS_AFTER_MS && !progress->shown_ms) {
        return;
    }
    if (done != total && now - progress->shown_ms < PROGRESS_EVERY_MS) {
        return;
    }
    progress->shown_ms = now;
    fprintf(stderr, "\r%s %" PRIu64, what, done);
    if (total > 0) {
        fprintf(stderr, "/%" PRIu64, total);
    }
    fputs(done == total ? "\n" : "", stderr);
    fflush(stderr);
}
