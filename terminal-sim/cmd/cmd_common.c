/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands do alike: see cmd.h. */
#include "terminal-sim/cmd/cmd.h"

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
