/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of another process, by /proc/PID/maps and /proc/PID/mem: see image.h. */
#include "tests/support/image.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/proc.h"

#define PAGE 4096
#define AREA_MAX ((size_t)256 << 20)

static int is_stopped(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *stat = file_read(path, NULL), *end = strrchr(stat, ')');
    int stopped = end != NULL && end[1] == ' ' && end[2] == 'T';
    free(stat);
    return stopped;
}

static int open_memory(pid_t pid, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    return open(path, flags | O_CLOEXEC);
}

static void copy_area(struct image *image, int fd, const char *line)
{
    unsigned long begin, end;
    char mode[8] = "";
    int at = 0;

    if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &begin, &end, mode, &at) < 3 || mode[0] != 'r') {
        return;
    }
    ck_assert_msg(end - begin <= AREA_MAX, "too large to be looked through: %s", line);
    ck_assert_uint_lt(image->count, IMAGE_AREAS);
    struct image_area *area = &image->areas[image->count++];
    const char *slash = strrchr(line + at, '/');
    const char *name = slash != NULL ? slash + 1 : line + at;
    snprintf(area->name, sizeof area->name, "%.*s", (int)strcspn(name, "\n"), name);
    area->begin = begin;
    area->len = end - begin;
    area->writable = mode[1] == 'w';
    area->data = calloc(1, area->len);
    ck_assert_ptr_nonnull(area->data);
    for (size_t done = 0; done < area->len; done += PAGE) { /* pages of zeros cost nothing here */
        static const uint8_t zeros[PAGE];
        uint8_t page[PAGE];
        if (pread(fd, page, PAGE, (off_t)(begin + done)) == PAGE &&
            memcmp(page, zeros, PAGE) != 0) {
            memcpy(area->data + done, page, PAGE);
        }
    }
    image->bytes += area->len;
}

int image_take(struct image *image, pid_t pid)
{
    char path[64];
    int fd = open_memory(pid, O_RDONLY);

    image->count = image->bytes = 0;
    if (fd < 0) {
        return 0;
    }
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    for (int ms = 0; !is_stopped(pid); ms++) {
        ck_assert_int_lt(ms, proc_seconds(20) * 1000);
        proc_sleep_ms(1);
    }
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    char *maps = file_read(path, NULL), *rest = maps;
    for (const char *line; (line = strsep(&rest, "\n")) != NULL;) {
        copy_area(image, fd, line);
    }
    free(maps);
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    close(fd);
    return 1;
}

void image_free(struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        free(image->areas[i].data);
    }
    image->count = 0;
}

int image_poke(pid_t pid, uint64_t address, const void *data, size_t len)
{
    int fd = open_memory(pid, O_RDWR);
    ssize_t n = fd >= 0 ? pwrite(fd, data, len, (off_t)address) : -1;

    if (fd >= 0) {
        close(fd);
    }
    return n == (ssize_t)len;
}
