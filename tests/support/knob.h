/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test is told by its environment: how long, how much, from which seed. */
#ifndef KL_TESTS_SUPPORT_KNOB_H
#define KL_TESTS_SUPPORT_KNOB_H

/* The number in that variable; if it is not set, or empty, `otherwise`. What is no number fails the
 * test. */
unsigned long knob(const char *name, unsigned long otherwise);
/* The same of a seed; if there is none, one that is drawn. */
unsigned knob_seed(const char *name);

#endif
