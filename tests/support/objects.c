/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking for SoftHSM's object files. */
#include "tests/support/objects.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct {
    char *file;
    struct timespec written;
    size_t size;
} newest;

static int is_object(const char *path, int base)
{
    size_t len = strlen(path);

    /* token.object is the token itself, rewritten at every login. */
    return len > 7 && strcmp(path + len - 7, ".object") == 0 &&
           strcmp(path + base, "token.object") != 0;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type != FTW_F || !is_object(path, ftw->base)) {
        return 0;
    }
    if (st->st_mtim.tv_sec > newest.written.tv_sec ||
        (st->st_mtim.tv_sec == newest.written.tv_sec &&
         st->st_mtim.tv_nsec > newest.written.tv_nsec)) {
        snprintf(newest.file, PATH_MAX, "%s", path);
        newest.written = st->st_mtim;
        newest.size = (size_t)st->st_size;
    }
    return 0;
}

size_t objects_newest(const char *dir, char file[PATH_MAX])
{
    memset(&newest, 0, sizeof(newest));
    newest.file = file;
    ck_assert_int_eq(nftw(dir, visit, 8, FTW_PHYS), 0);
    ck_assert_int_gt(newest.written.tv_sec, 0);
    return newest.size;
}
