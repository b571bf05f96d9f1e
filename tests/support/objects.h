/* SPDX-License-Identifier: BSD-2-Clause */
/* The files in which SoftHSM keeps a token's objects, for tests that damage them. */
#ifndef KL_TESTS_SUPPORT_OBJECTS_H
#define KL_TESTS_SUPPORT_OBJECTS_H

#include <limits.h>
#include <stddef.h>

/* The object file anywhere below dir that was written last; its size in bytes. No such file fails
 * the test. */
size_t objects_newest(const char *dir, char file[PATH_MAX]);

/* SoftHSM rewrites the token's own file, token.object, in C_Login: a process killed in the middle
 * of that leaves it cut short, with every key of the token lost. Who means to kill one, and not to
 * lose the token, keeps a copy first (of the one token under dir) and puts it back after. */
struct objects_token {
    char file[PATH_MAX], *bytes;
    size_t len;
};
void objects_keep_token(const char *dir, struct objects_token *out);
/* Frees the copy. 1: the file had been cut short. */
int objects_mend_token(struct objects_token *kept);

#endif
