/* SPDX-License-Identifier: BSD-2-Clause */
/* Weaknesses by name: see weakness.h. */
#include "pkcs11/weakness.h"

#include <stdio.h>
#include <string.h>

const char *kl_weakness_name(enum kl_weakness weakness)
{
    static const char *const names[] = {
#define NAME(id, name) [KL_WEAK_##id] = (name),
        KL_WEAKNESSES(NAME)
#undef NAME
    };

    return names[weakness];
}

/* Appends, parted from what is there; cut off where it does not fit. */
static void append(char *out, size_t capacity, const char *separator, const char *text)
{
    size_t len = strlen(out);

    (void)snprintf(out + len, capacity - len, "%s%s", len > 0 ? separator : "", text);
}

void kl_weakness_names(unsigned bits, char out[KL_WEAK_NAMES_MAX])
{
    out[0] = '\0';
    for (enum kl_weakness i = 0; i < KL_WEAK_COUNT; i++) {
        if (bits & KL_WEAK_BIT(i)) {
            append(out, KL_WEAK_NAMES_MAX, ", ", kl_weakness_name(i));
        }
    }
    if (out[0] == '\0') {
        append(out, KL_WEAK_NAMES_MAX, "", "none");
    }
}

void kl_weakness_add(struct kl_weaknesses *weak, enum kl_weakness weakness, const char *where)
{
    weak->found |= KL_WEAK_BIT(weakness);
    if (strstr(weak->where[weakness], where) != NULL) {
        return; /* said already: of another key of the same role, most likely */
    }
    append(weak->where[weakness], KL_WEAK_WHERE_MAX, "; ", where);
}

enum kl_rc kl_weakness_judge(const struct kl_weaknesses *weak, unsigned accept, struct kl_err *err)
{
    unsigned refused = weak->found & ~accept;
    char names[KL_WEAK_NAMES_MAX];

    if (refused == 0) {
        return KL_OK;
    }
    kl_weakness_names(refused, names);
    (void)kl_err_set(err, KL_ERR_KEY, "not in [hsm] accept: %s", names);
    for (enum kl_weakness i = 0; i < KL_WEAK_COUNT; i++) {
        if (refused & KL_WEAK_BIT(i)) {
            append(err->text, sizeof(err->text), "; ", weak->where[i]);
        }
    }
    return err->rc;
}
