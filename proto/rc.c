/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Result codes: the tables behind KL_RC_LIST.
 */
#include "proto/rc.h"

#include <stddef.h>

struct rc_info {
    const char *name;
    const char *text;
    enum kl_wire wire;
    int status;
};

static const struct rc_info infos[] = {
#define RC_INFO(code, name, text, wire, status) [code] = {name, text, wire, status},
    KL_RC_LIST(RC_INFO)
#undef RC_INFO
};

static const struct rc_info *info_of(enum kl_rc rc)
{
    size_t i = (size_t)rc; /* a negative value becomes a huge one */

    return &infos[i < sizeof(infos) / sizeof(infos[0]) ? i : KL_ERR_INTERNAL];
}

const char *kl_rc_name(enum kl_rc rc)
{
    return info_of(rc)->name;
}

const char *kl_rc_text(enum kl_rc rc)
{
    return info_of(rc)->text;
}

enum kl_wire kl_rc_wire(enum kl_rc rc)
{
    return info_of(rc)->wire;
}

int kl_rc_exit_status(enum kl_rc rc)
{
    return info_of(rc)->status;
}

const char *kl_wire_name(unsigned wire)
{
    static const char *const names[] = {
        [KL_WIRE_INTERNAL] = "internal",
        [KL_WIRE_PROTOCOL] = "protocol",
        [KL_WIRE_UNSUPPORTED] = "unsupported",
        [KL_WIRE_REFUSED] = "refused",
        [KL_WIRE_BUSY] = "busy",
        [KL_WIRE_TIMEOUT] = "timeout",
    };

    return wire < sizeof(names) / sizeof(names[0]) && names[wire] ? names[wire] : "unknown";
}
