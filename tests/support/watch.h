/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks at every secret key that comes into being on the test's token (p11.h): its template must
 * name every usage flag, it must be a sealed, sensitive session key, and be able to do one thing.
 * Else the test fails.
 */
#ifndef KL_TESTS_SUPPORT_WATCH_H
#define KL_TESTS_SUPPORT_WATCH_H

void watch_keys(void); /* from now on */
extern unsigned watch_seen;

#endif
