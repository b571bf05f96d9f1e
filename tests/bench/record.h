/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PKCS#11 calls of one load, written down and made again. A function list in front of a module
 * records each call with all that it was given, mechanisms and templates included; record_play()
 * then makes the same calls on the same session, with nothing of ours in between: no messages, no
 * checks, no allocation. That is the bare loop, and as it is made from what the loader itself asks
 * for, the two cannot drift apart. Keys that a call made are those of the call made again; token
 * keys are the same.
 *
 * One recording in a process. A call or a mechanism that is not known here ends the program: a bare
 * loop with something left out would flatter us.
 */
#ifndef KL_TESTS_BENCH_RECORD_H
#define KL_TESTS_BENCH_RECORD_H

#include <p11-kit/pkcs11.h>
#include <stdio.h>

/* The list in front of that one, which is borrowed. */
CK_FUNCTION_LIST *record_in_front_of(CK_FUNCTION_LIST *functions);

void record_begin(void); /* forgets what was recorded */
void record_end(void);

/* Makes the recorded calls on the functions in front of which it recorded. CKR_OK, or what a call
 * returned that returned something else when it was recorded; *which (may be NULL): its name. */
CK_RV record_play(const char **which);

/* From now on the recorded calls are made on a session of another module that has the same token:
 * its own keys, found by class and label, take the place of this one's. Makes them once, to see
 * which the other module does not carry (CKR_MECHANISM_INVALID): a key is generated in the place of
 * one that would be derived, and other calls are left out; never more calls than were recorded. How
 * many calls it did not carry. */
unsigned record_move(CK_FUNCTION_LIST *to, CK_SESSION_HANDLE there);

size_t record_count(void); /* how many calls one load makes */
/* A line for each: function, mechanism, how many attributes. */
void record_print(FILE *out);

#endif
