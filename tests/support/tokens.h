/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SoftHSM rewrites the token's own file, token.object, in place at each login, and a kill in the
 * middle of that leaves it cut off (docs/security.md). What kills programs at random keeps a copy
 * of those files and puts back what was damaged: keys are other files, and never touched here.
 */
#ifndef KL_TESTS_SUPPORT_TOKENS_H
#define KL_TESTS_SUPPORT_TOKENS_H

#include "tests/support/lab.h"

#define TOKENS_MAX 64

struct tokens {
    size_t count;
    struct token_file {
        char path[PATH_MAX];
        void *data; /* malloc'ed */
        size_t len;
    } files[TOKENS_MAX];
    unsigned mended;
};

/* Copies every token.object of the lab, while none is in use. NSS's databases have none. */
void tokens_keep(struct tokens *tokens, const struct lab *lab);
/* Puts those back that are under a folder of that name (hsm, term-SERIAL) and have lost bytes; no
 * process uses them now. */
void tokens_mend(struct tokens *tokens, const char *folder);
void tokens_forget(struct tokens *tokens); /* but for `mended` */

#endif
