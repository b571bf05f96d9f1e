/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 module that passes every call on to another one, and looks through the memory of its
 * process at the entry and exit of each: which of some values stands there, and whether the memory
 * is the module's or ours. It must be preloaded as well (LD_PRELOAD), as it serves malloc.
 *
 * Whose it is: every call into the module is made by one thread of its own, so that whatever the
 * module leaves on a stack is on that one; and what that thread allocates comes from an arena of
 * its own and never leaves it. These two are the module's; everything else counts as ours, also
 * what the module would map by itself, or put into memory that we allocated.
 *
 *   KL_SCAN_MODULE=PATH   the real module
 *   KL_SCAN_VALUES=PATH   struct scan_values: each byte XORed with SCAN_MASK, so that they are not
 *                         found where we keep them
 *   KL_SCAN_LOG=PATH      gets a line for each look: "C_Sign exit ours=- module=tmk", names joined
 *                         by commas; after ours, where the last one is
 *   KL_SCAN_ON=PATH       looks only while that file is there; at C_Login always
 */
#ifndef KL_TESTS_TOOLS_SCAN_P11_H
#define KL_TESTS_TOOLS_SCAN_P11_H

#include <stdint.h>

#define SCAN_MASK 0xa5
#define SCAN_VALUES 8
#define SCAN_LEN 64

struct scan_values {
    uint32_t count;
    struct scan_value {
        char name[16];
        uint32_t len; /* 8 to 64 */
        uint8_t masked[SCAN_LEN];
    } all[SCAN_VALUES];
};

#endif
