/* SPDX-License-Identifier: BSD-2-Clause */
/* What a terminal may offer in Hello, as command lines name it. */
#ifndef KL_TERMINAL_SIM_OFFER_H
#define KL_TERMINAL_SIM_OFFER_H

/* All there are, for people. */
#define KL_OFFER_ALGS "tdes2, tdes3, aes128, aes192, aes256"
#define KL_OFFER_SUITES "hardened-ec, hardened-rsa, classic"

/* enum kl_alg; 0: there is none of that name. Of suites: kl_suite_by_name. */
unsigned kl_offer_alg(const char *name);

#endif
