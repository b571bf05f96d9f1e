/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzz targets share. An input of a state machine is a script: its bytes are taken one
 * after another as choices, so that it gets past the first check and still may do anything. Where
 * it ends, every further choice is 0, which is the honest one.
 */
#ifndef KL_TESTS_FUZZ_INPUT_H
#define KL_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant: ends the program, with its place on stderr, unless it holds. */
#define require(holds) ((holds) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #holds))
_Noreturn void fuzz_broken(const char *file, int line, const char *what);

/* The call has failed as a call may: with a text, and the same code in err as it returned. */
void fuzz_failed_well(enum kl_rc rc, const struct kl_err *err);

struct script {
    const uint8_t *at;
    size_t left;
};
uint8_t script_byte(struct script *script);
unsigned script_below(struct script *script, unsigned n);             /* 0 to n - 1 */
size_t script_bytes(struct script *script, uint8_t *out, size_t max); /* one byte says how many */

/* Does what the script says to a message of len bytes in a buffer of max; its new length. The
 * choice 0 leaves it alone. */
size_t script_edit(struct script *script, uint8_t *message, size_t len, size_t max);

/* kl_secret_setup, with OpenSSL's random generators made before: they would be in the secure heap,
 * in which LeakSanitizer does not look for what they refer to. */
void fuzz_secrets(void);

/* The input as a file: its path (static storage), until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* A folder of this process, gone at its end; its path (static storage). */
const char *fuzz_folder(void);

#endif
