/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands do alike: see cmd.h. */
#include "conf/options.h"
#include "terminal-sim/cmd.h"

#define VALUES_MAX 12
#define FIRST 1 /* of the numbers that stand for an option */

enum kl_rc kl_cmd_parse(int argc, char **argv, const struct kl_cmd_value *values, int count,
                        const char *what, struct kl_err *err)
{
    struct option options[VALUES_MAX + 1] = {{0}};
    size_t n = 0;
    enum kl_rc rc;
    int c;

    for (; values[n].name && n < VALUES_MAX; n++) {
        options[n] =
            (struct option){values[n].name + 2, values[n].text ? required_argument : no_argument,
                            NULL, FIRST + (int)n};
    }
    kl_options_begin();
    while ((c = kl_options_next(argc, argv, options)) != -1) {
        if (c < FIRST || c >= FIRST + (int)n) {
            return kl_options_error(c, argv, err);
        }
        if (values[c - FIRST].text) {
            *values[c - FIRST].text = optarg;
        } else {
            *values[c - FIRST].flag = 1;
        }
    }
    rc = kl_options_operands(argc, argv, count, what, err);
    for (size_t i = 0; !rc && i < n; i++) {
        if (values[i].required) {
            rc = kl_options_require(values[i].name, *values[i].text, err);
        }
    }
    return rc;
}

enum kl_rc kl_cmd_open(const char *dir, int exclusive, struct kl_terminal_home **terminal,
                       struct kl_pinpad **pad, struct kl_err *err)
{
    struct kl_terminal_home *opened = NULL;
    enum kl_rc rc = kl_terminal_open(dir, exclusive, &opened, err);

    if (!rc) {
        rc = kl_terminal_open_pinpad(opened, pad, err);
    }
    if (rc) {
        kl_terminal_free(opened);
    } else {
        *terminal = opened;
    }
    return rc;
}
