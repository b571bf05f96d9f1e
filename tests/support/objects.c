/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking for SoftHSM's object files. */
#include "tests/support/objects.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/proc.h"

static struct {
    char *file;
    struct timespec written;
    size_t size;
} newest;

#define TOKEN "token.object" /* the token itself */

static int is_object(const char *path, int base)
{
    size_t len = strlen(path);

    return len > 7 && strcmp(path + len - 7, ".object") == 0 && strcmp(path + base, TOKEN) != 0;
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

static char *token_file; /* PATH_MAX */

static int visit_token(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    if (type == FTW_F && strcmp(path + ftw->base, TOKEN) == 0) {
        ck_assert_msg(token_file[0] == '\0', "there are two tokens: %s and %s", token_file, path);
        snprintf(token_file, PATH_MAX, "%s", path);
    }
    return 0;
}

void objects_keep_token(const char *dir, struct objects_token *out)
{
    token_file = out->file;
    token_file[0] = '\0';
    ck_assert_int_eq(nftw(dir, visit_token, 8, FTW_PHYS), 0);
    ck_assert_msg(token_file[0] != '\0', "no token under %s", dir);
    out->bytes = file_read(out->file, &out->len);
}

int objects_mend_token(struct objects_token *kept)
{
    size_t len;
    char *now = file_read(kept->file, &len);
    int cut = len < kept->len;

    if (cut) {
        file_write(kept->file, kept->bytes, kept->len, 0600);
    }
    free(now);
    free(kept->bytes);
    kept->bytes = NULL;
    return cut;
}
