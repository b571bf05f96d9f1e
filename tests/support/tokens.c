/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies of SoftHSM's token files: see tokens.h. */
#include "tests/support/tokens.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void keep_one(const char *path, void *arg)
{
    struct tokens *tokens = arg;
    const char *slash = strrchr(path, '/');

    if (slash == NULL || strcmp(slash, "/token.object") != 0) {
        return;
    }
    ck_assert_uint_lt(tokens->count, TOKENS_MAX);
    struct token_file *file = &tokens->files[tokens->count++];
    snprintf(file->path, sizeof file->path, "%s", path);
    file->data = file_read(path, &file->len);
}

void tokens_keep(struct tokens *tokens, const struct lab *lab)
{
    tokens->count = 0;
    file_walk(lab->dir, keep_one, tokens);
    ck_assert(lab->nss || tokens->count > 0);
}

void tokens_mend(struct tokens *tokens, const char *folder)
{
    char part[PATH_MAX];

    snprintf(part, sizeof part, "/%s/tokens/", folder);
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token_file *file = &tokens->files[i];
        size_t len;
        if (strstr(file->path, part) == NULL) {
            continue;
        }
        free(file_read(file->path, &len));
        if (len != file->len) {
            file_write(file->path, file->data, file->len, 0600);
            tokens->mended++;
        }
    }
}

void tokens_forget(struct tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        free(tokens->files[i].data);
    }
    tokens->count = 0;
}
