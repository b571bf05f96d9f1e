/* SPDX-License-Identifier: BSD-2-Clause */
/* --out of the commands that sign: what is signed goes to a file, or to standard output alone. */
#ifndef KL_CA_OUTPUT_H
#define KL_CA_OUTPUT_H

#include "proto/err.h"

struct kl_ca_output {
    const char *path; /* "-" is standard output */
    int force, json;
};

/* Before anything is signed: --out must be able to take it. */
enum kl_rc kl_ca_output_check(const struct kl_ca_output *output, struct kl_err *err) KL_MUST_CHECK;

/* 1 if standard output is taken by what is signed, so that no report goes there. */
int kl_ca_output_is_stdout(const struct kl_ca_output *output);

#endif
