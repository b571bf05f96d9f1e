/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Module 102, transceiver: messages over one TCP connection, with a deadline that covers it from
 * the look-up of the name to the last byte. Blocking; one thread.
 */
#ifndef KL_TERMINAL_SIM_TRANSCEIVER_H
#define KL_TERMINAL_SIM_TRANSCEIVER_H

#include <netdb.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/err.h"
#include "proto/message.h"

struct kl_transceiver;

/* The addresses of "HOST:PORT" or "[IPV6]:PORT"; the caller frees with freeaddrinfo. KL_ERR_INPUT
 * (no such form), KL_ERR_UNAVAILABLE (no such host). */
enum kl_rc kl_transceiver_resolve(const char *address, struct addrinfo **out,
                                  struct kl_err *err) KL_MUST_CHECK;

/* How long a connection may take unless --timeout says otherwise, and that option's value for a
 * table of struct kl_option: 1 to KL_TRANSCEIVER_SECONDS_MAX; seconds is a uint64_t. */
#define KL_TRANSCEIVER_SECONDS 15
#define KL_TRANSCEIVER_SECONDS_MAX 3600
enum kl_rc kl_transceiver_take_timeout(const char *value, void *seconds, struct kl_err *err);

/* Connects to "HOST:PORT" or "[IPV6]:PORT", trying every address of it. Everything after, too, must
 * be over within `seconds`. record: where each message sent and received is written, as '>' or '<',
 * its 2-byte length and its DER; borrowed; NULL = nowhere. KL_ERR_INPUT (address), KL_ERR_TIMEOUT,
 * KL_ERR_UNAVAILABLE (nobody listens). */
enum kl_rc kl_transceiver_open(const char *address, uint64_t seconds, FILE *record,
                               struct kl_transceiver **out, struct kl_err *err) KL_MUST_CHECK;
/* The same over a connection that is there already, which it takes (also on failure): a terminal's,
 * to one who plays the loader. */
enum kl_rc kl_transceiver_adopt(int fd, uint64_t seconds, struct kl_transceiver **out,
                                struct kl_err *err) KL_MUST_CHECK;
void kl_transceiver_free(struct kl_transceiver *transceiver); /* closes; takes NULL */

/* 1 if the peer has closed, or has said something. */
int kl_transceiver_has_ended(const struct kl_transceiver *transceiver);

enum kl_rc kl_transceiver_send(struct kl_transceiver *transceiver, const uint8_t *der, size_t len,
                               struct kl_err *err) KL_MUST_CHECK;

/* Sends bytes that need not be a frame. drip_ms > 0: one at a time, that long after each other, and
 * no more once the peer says something. */
enum kl_rc kl_transceiver_send_bytes(struct kl_transceiver *transceiver, const uint8_t *bytes,
                                     size_t len, unsigned drip_ms,
                                     struct kl_err *err) KL_MUST_CHECK;

/* The next message's DER, not yet decoded. KL_ERR_CLOSED if the peer closed first, within a message
 * or before it; KL_ERR_PROTOCOL if the frame is empty or too long. */
enum kl_rc kl_transceiver_receive(struct kl_transceiver *transceiver, uint8_t der[KL_MSG_MAX],
                                  size_t *len, struct kl_err *err) KL_MUST_CHECK;

/* Reads one record of such a file: *direction is '>' or '<', 0 at the end of the file. KL_ERR_INPUT
 * if it is not one. */
enum kl_rc kl_transceiver_read_record(FILE *record, int *direction, uint8_t der[KL_MSG_MAX],
                                      size_t *len, struct kl_err *err) KL_MUST_CHECK;

#endif
