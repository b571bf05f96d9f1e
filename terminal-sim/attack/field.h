/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fields of a message's DER by the names of docs/protocol.md, to be found, changed and broken
 * in ways that no encoder would: what an attacker does to bytes, whatever they come to mean.
 */
#ifndef KL_TERMINAL_SIM_ATTACK_FIELD_H
#define KL_TERMINAL_SIM_ATTACK_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/message.h"

struct kl_span {   /* of one TLV in a message; all in bytes */
    size_t at;     /* of its tag, from the message's first byte */
    size_t header; /* tag and length */
    size_t len;    /* value */
};

/* 1 if messages of that type can have a field of that name: "serial", "tbs.kcv". */
int kl_field_known(enum kl_msg_type type, const char *name);

/* KL_ERR_NOT_FOUND: this message has no such field, or is no DER of a message. */
enum kl_rc kl_field_find(const uint8_t *der, size_t len, const char *name, struct kl_span *out,
                         struct kl_err *err) KL_MUST_CHECK;

/* Gives a field that value, with every length around it as it should be. der holds KL_MSG_MAX
 * bytes: KL_ERR_INPUT if it would get longer. A field that is not there: KL_ERR_NOT_FOUND. */
enum kl_rc kl_field_set(uint8_t *der, size_t *len, const char *name, const uint8_t *value,
                        size_t value_len, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_field_remove(uint8_t *der, size_t *len, const char *name,
                           struct kl_err *err) KL_MUST_CHECK;

/* Every TLV of the message, itself first, three deep (so not what is inside a certificate): how
 * many, at most max. */
size_t kl_field_walk(const uint8_t *der, size_t len, struct kl_span *out, size_t max);

#endif
