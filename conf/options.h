/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same answers to a wrong command line from every command: around getopt_long, which is to
 * be called with a short option string that begins with ':' (":h", "+:c:h").
 */
#ifndef KL_CONF_OPTIONS_H
#define KL_CONF_OPTIONS_H

#include <stdint.h>

#include "proto/err.h"

/* Makes getopt_long start afresh (a command's own argv after the program's), without messages of
 * its own. */
void kl_options_begin(void);

/* What to return when getopt_long gave anything unknown to the caller: KL_ERR_USAGE, and which
 * option of argv it was. */
enum kl_rc kl_options_error(int got, char *const *argv, struct kl_err *err);

/* After the options: exactly `count` operands (what they are is for the message: "FILE"). */
enum kl_rc kl_options_operands(int argc, char *const *argv, int count, const char *what,
                               struct kl_err *err) KL_MUST_CHECK;

/* KL_ERR_USAGE if value is NULL: a required option was not given. Inline, so that compilers and
 * analyzers see that nobody goes on with NULL. */
static inline enum kl_rc kl_options_require(const char *name, const char *value, struct kl_err *err)
{
    if (value)
        return KL_OK;
    kl_err_set(err, KL_ERR_USAGE, "%s is missing", name);
    return KL_ERR_USAGE;
}

/* An option's decimal value within [min, max]; KL_ERR_USAGE names the option. */
enum kl_rc kl_options_number(const char *name, const char *text, unsigned min, unsigned max,
                             unsigned *out, struct kl_err *err) KL_MUST_CHECK;

/* --bits of an RSA key: 2048, 3072 or 4096. */
enum kl_rc kl_options_bits(const char *text, unsigned *out, struct kl_err *err) KL_MUST_CHECK;

#endif
