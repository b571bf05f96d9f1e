/* SPDX-License-Identifier: BSD-2-Clause */
/* The files in which SoftHSM keeps a token's objects, for tests that damage them. */
#ifndef KL_TESTS_SUPPORT_OBJECTS_H
#define KL_TESTS_SUPPORT_OBJECTS_H

#include <limits.h>
#include <stddef.h>

/* The object file anywhere below dir that was written last; its size in bytes. No such file fails
 * the test. */
size_t objects_newest(const char *dir, char file[PATH_MAX]);

#endif
