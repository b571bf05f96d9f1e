/* SPDX-License-Identifier: BSD-2-Clause */
/* A sign-in of the terminal in the stand with the fake loader, to any point of it. */
#ifndef KL_TESTS_SUPPORT_TALK_H
#define KL_TESTS_SUPPORT_TALK_H

#include "terminal-sim/signin.h"
#include "tests/support/stand.h"

struct talk {
    struct kl_signin *machine;
    enum kl_key_format format;
    uint8_t buf[KL_MSG_MAX]; /* what is due next */
    size_t len;
    int disk_full; /* the doubt cannot be put on record */
};

/* A stand with a TMK of that algorithm in use. */
void talk_load(struct stand *b, int kind, enum kl_alg alg);
/* Ends both. */
void talk_finish(struct stand *b, struct talk *talk);
/* Ends the machine, as when the process dies; the stand stays. */
void talk_drop(struct talk *talk);

void talk_begin(struct stand *b, struct talk *talk);      /* SignIn is due */
enum kl_rc talk_step(struct stand *b, struct talk *talk); /* takes what is in buf */
void talk_to_keys(struct stand *b, struct talk *talk);    /* WorkingKeys is due */
void talk_to_loaded(struct stand *b, struct talk *talk);  /* and was good; Loaded is due */
void talk_whole(struct stand *b, struct talk *talk);      /* the pair is in use */

/* The pair in use is the one that l drew last: its PIN block and MAC are recomputed. */
void talk_expect_works(struct stand *b, const struct kl_rogue *l);
/* Loaded went out and no Done came: no pair is given out. */
void talk_expect_doubt(struct stand *b);

#endif
