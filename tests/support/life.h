/* SPDX-License-Identifier: BSD-2-Clause */
/* A scratch store with a unit of work begun, and TMKs to live in it. */
#ifndef KL_TESTS_SUPPORT_LIFE_H
#define KL_TESTS_SUPPORT_LIFE_H

#include <check.h>

#include "daemon/life/life.h"

#define NOW 1700000000
#define LIFETIME 1000
#define T "T-1"
#define PAD "PAD-1"

struct life {
    char dir[64], path[80];
    struct kl_store *store;
    struct kl_err err; /* of the last call */
};
extern struct life life;
extern const struct kl_life_policy life_policy; /* of LIFETIME */

#define OK(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, life.err.text)
#define FAILS(call, want) \
    do { \
        enum kl_rc rc_ = (call); \
        ck_assert_msg(rc_ == (want), "%s: %s (%s)", #call, kl_rc_name(rc_), life.err.text); \
    } while (0)

/* A checked fixture. */
void life_setup(void);
void life_teardown(void);
void life_reopen(void); /* commits, and goes on as after a restart */

void life_register(const char *serial, const char *pad);
/* Who asks for a load, unauthenticated. */
struct kl_claim life_claim(const char *serial, const char *pad);
/* A candidate whose every secret follows from its serial and version, and the right Loaded for it
 * (which is the same for all serials). */
struct kl_tmk life_candidate(const char *serial, uint32_t version);
struct kl_loaded life_loaded(uint32_t version);
/* The imported TMK number n for a terminal, and a candidate made from it. */
struct kl_import life_import(const char *serial, uint32_t n);
struct kl_tmk life_imported(const char *serial, uint32_t version, uint32_t n);
struct kl_loaded life_loaded_of(const struct kl_tmk *tmk);

#endif
