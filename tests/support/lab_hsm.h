/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The modules that a lab's loader, CAs and PIN pads can have their keys in: SoftHSM, or with
 * KL_TEST_MODULE=nss NSS softokn. Failures are the test's own.
 */
#ifndef KL_TESTS_SUPPORT_LAB_HSM_H
#define KL_TESTS_SUPPORT_LAB_HSM_H

#include "tests/support/lab.h"

/* What [hsm] accept must say for NSS softokn. */
#define LAB_NSS_ACCEPT \
    "no-extractable, no-unwrap-template, no-allowed-mechanisms, no-copyable, no-copy-limits"

/* 1 if NSS softokn and certutil are installed. */
int lab_nss_installed(void);

/* Fills module and nss. */
void lab_find_modules(struct lab *lab);

/* What the loader or a CA in `role` (a directory, which is made) keeps its keys in: a SoftHSM,
 * whose token is still to be made; or an NSS database, made whole with the PIN in file `pin`. */
void lab_make_hsm(const struct lab *lab, const char *role, const char *pin);

/* init-reserved of the token of that label there; "" for SoftHSM. Returns out. */
char *lab_init_reserved(const struct lab *lab, const char *role, const char *label,
                        char out[PATH_MAX]);

#endif
