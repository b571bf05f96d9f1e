/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a module may fail to enforce of our keys' attributes, although it does every operation: the
 * self-test finds these, and an operator may accept them by name ([hsm] accept). What no operator
 * may accept (a TMK whose value can be read, a storage key that encrypts) is not here: the
 * self-test ends with it.
 */
#ifndef KL_PKCS11_WEAKNESS_H
#define KL_PKCS11_WEAKNESS_H

#include "proto/err.h"

#define KL_WEAKNESSES(X) \
    X(EXTRACTABLE, "no-extractable") \
    X(UNWRAP_TEMPLATE, "no-unwrap-template") \
    X(ALLOWED_MECHANISMS, "no-allowed-mechanisms") \
    X(COPYABLE, "no-copyable") \
    X(MODIFIABLE, "no-modifiable") \
    X(USAGE, "no-usage") \
    X(SENSITIVE, "no-sensitive") \
    X(COPY_LIMITS, "no-copy-limits")

enum kl_weakness {
#define KL_WEAKNESS_ENUM(id, name) KL_WEAK_##id,
    KL_WEAKNESSES(KL_WEAKNESS_ENUM)
#undef KL_WEAKNESS_ENUM
        KL_WEAK_COUNT
};

#define KL_WEAK_BIT(weakness) (1u << (weakness))
#define KL_WEAK_ALL (KL_WEAK_BIT(KL_WEAK_COUNT) - 1)
#define KL_WEAK_WHERE_MAX 512 /* bytes, with NUL */
#define KL_WEAK_NAMES_MAX 160 /* bytes of all names, parted by ", ", with NUL */

/* Those that were found, and where: the key, and which attribute. */
struct kl_weaknesses {
    unsigned found; /* KL_WEAK_BITs */
    char where[KL_WEAK_COUNT][KL_WEAK_WHERE_MAX];
};

/* "no-unwrap-template", ...: static. */
const char *kl_weakness_name(enum kl_weakness weakness);
/* The names of those bits, parted by ", "; "none" without any. */
void kl_weakness_names(unsigned bits, char out[KL_WEAK_NAMES_MAX]);

/* Notes one; what does not fit of a text is cut off. */
void kl_weakness_add(struct kl_weaknesses *weak, enum kl_weakness weakness, const char *where);

/* KL_ERR_KEY names those that were found and are not among accept, and where each was found. */
enum kl_rc kl_weakness_judge(const struct kl_weaknesses *weak, unsigned accept,
                             struct kl_err *err) KL_MUST_CHECK;

#endif
