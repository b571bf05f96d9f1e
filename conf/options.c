/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command lines: what is wrong with one.
 */
#include "conf/options.h"

#include <getopt.h>

#include "conf/cli.h"

void kl_options_begin(void)
{
    optind = 0; /* glibc: initialise everything again */
    opterr = 0;
}

enum kl_rc kl_options_error(int got, char *const *argv, struct kl_err *err)
{
    const char *option = argv[optind - 1];

    if (got == ':')
        return kl_err_set(err, KL_ERR_USAGE, "option %s needs a value", option);
    if (optopt > ' ' && optopt < 0x7f) /* a letter, perhaps one of several */
        return kl_err_set(err, KL_ERR_USAGE, "unknown option -%c", optopt);
    return kl_err_set(err, KL_ERR_USAGE, "option %s is unknown, ambiguous or takes no value",
                      option);
}

enum kl_rc kl_options_operands(int argc, char *const *argv, int count, const char *what,
                               struct kl_err *err)
{
    if (argc - optind < count)
        return kl_err_set(err, KL_ERR_USAGE, "%s is missing", what);
    if (argc - optind > count)
        return kl_err_set(err, KL_ERR_USAGE, "\"%s\" is one operand too many",
                          argv[optind + count]);
    return KL_OK;
}

enum kl_rc kl_options_number(const char *name, const char *text, unsigned min, unsigned max,
                             unsigned *out, struct kl_err *err)
{
    uint64_t number;

    if (kl_parse_number(text, min, max, &number, err) != KL_OK) {
        err->rc = KL_ERR_USAGE; /* a file with such a value would be bad input; this is not */
        return kl_err_context(err, "%s", name);
    }
    *out = (unsigned)number;
    return KL_OK;
}

enum kl_rc kl_options_bits(const char *text, unsigned *out, struct kl_err *err)
{
    unsigned bits = 0;
    enum kl_rc rc = kl_options_number("--bits", text, 0, 65536, &bits, err);

    if (rc != KL_OK)
        return rc;
    if (bits != 2048 && bits != 3072 && bits != 4096)
        return kl_err_set(err, KL_ERR_USAGE, "--bits: 2048, 3072 or 4096, not %u", bits);
    *out = bits;
    return KL_OK;
}
