/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A man in the middle on loopback, between a terminal and a loader. It understands frames and
 * nothing else. Messages of a connection are counted from 0 in the order in which they pass,
 * whoever sends them: Hello 0, Certificate 1, Randoms 2, MasterKey 3, Loaded 4, Done 5.
 */
#ifndef KL_TESTS_SUPPORT_RELAY_H
#define KL_TESTS_SUPPORT_RELAY_H

#include <stddef.h>
#include <stdint.h>

enum relay_act {
    RELAY_PASS,        /* everything as it is */
    RELAY_FLIP,        /* bit `bit` of byte `byte` (of the frame: 0 and 1 are its length) */
    RELAY_REPLACE,     /* sends `data` in the message's place, as it is, header included */
    RELAY_HOLD_BEFORE, /* stops before the message is passed on, until relay_release */
    RELAY_HOLD_AFTER,  /* stops once it has been */
    RELAY_DROP,        /* swallows it and all that follow, and leaves the connection open */
    RELAY_CUT,         /* closes both sides in its place */
    RELAY_DRIP,        /* passes it on at one byte a second */
    RELAY_EDIT,        /* gives every message to `edit`, whatever `message` says */
};
#define RELAY_FRAME_MAX (2 + 65535) /* bytes, header included */

struct relay_plan {
    enum relay_act act;
    unsigned message; /* which */
    size_t byte;
    unsigned bit;        /* 0 = least significant */
    const uint8_t *data; /* borrowed */
    size_t len;
    const char *record; /* file that gets every byte that came, in order, untouched; or NULL */
    /* RELAY_EDIT: changes a frame of len bytes in place, in RELAY_FRAME_MAX; returns its new
     * length. In the relay's thread, one at a time. */
    size_t (*edit)(void *arg, unsigned message, uint8_t *frame, size_t len);
    void *arg; /* borrowed */
};

struct relay;

/* Listens on 127.0.0.1, any port if port is 0; each connection is joined to 127.0.0.1:target, one
 * at a time. The plan is copied, and holds for every connection. NULL and errno on failure. */
struct relay *relay_start(uint16_t port, uint16_t target, const struct relay_plan *plan);
/* Closes everything and waits for the relay's thread; takes NULL. */
void relay_stop(struct relay *relay);

uint16_t relay_port(const struct relay *relay);
/* Waits until the planned hold is reached: 1, or 0 after timeout_ms. */
int relay_wait_hold(struct relay *relay, int timeout_ms);
/* Ends the hold; what is still to pass on meets whoever is left. */
void relay_release(struct relay *relay);

/* One frame of a recording: *at moves past it. 0 at the end or if the rest is no whole frame.
 * *der and *len are the message without its header, borrowed from data. */
int relay_next_frame(const uint8_t *data, size_t size, size_t *at, const uint8_t **der,
                     size_t *len);
/* Message `number` of the recording in a file, or the test fails; the caller frees *data, which
 * *der points into. */
void relay_frame_of(const char *record, unsigned number, uint8_t **data, const uint8_t **der,
                    size_t *len);

#endif
