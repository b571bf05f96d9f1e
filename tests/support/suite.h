/* SPDX-License-Identifier: BSD-2-Clause */
/* What main() of every test program ends with. */
#ifndef KL_TESTS_SUPPORT_SUITE_H
#define KL_TESTS_SUPPORT_SUITE_H

#include <check.h>

/* Runs the suite (taken), prints check's totals. What main() returns: 0 if all passed, else 1. */
int test_run(Suite *suite);

#endif
