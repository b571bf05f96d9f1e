/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an operation is told, as JSON from whoever asks: read by a table, strictly. A member that is
 * unknown, missing, of another type or out of bounds is KL_ERR_INPUT that names it.
 */
#ifndef KL_DAEMON_CONTROL_PARAMS_H
#define KL_DAEMON_CONTROL_PARAMS_H

#include <jansson.h>
#include <stdint.h>

#include "proto/err.h"

enum kl_param_type {
    KL_PARAM_TEXT,    /* const char **: max bytes at most, valid UTF-8 without NUL */
    KL_PARAM_SERIAL,  /* const char **: a terminal's or PIN pad's serial number */
    KL_PARAM_NUMBER,  /* int64_t *: within [min, max] */
    KL_PARAM_BOOL,    /* int * */
    KL_PARAM_SERIALS, /* json_t **: an array of 1 to max serial numbers */
    KL_PARAM_ARRAY,   /* json_t **: an array of 1 to max values, each for the caller to check */
    KL_PARAM_OBJECT,  /* json_t **: an object, for the caller to check */
};

/* One member; tables end with {0}. What is not there leaves out as it is. Values are borrowed. */
struct kl_param {
    const char *name;
    enum kl_param_type type;
    int required;
    void *out;
    int64_t min, max;
};

enum kl_rc kl_params_read(const json_t *params, const struct kl_param *table,
                          struct kl_err *err) KL_MUST_CHECK;

/* One line of JSON, from a peer: at most `max` bytes and KL_PARAMS_DEPTH levels deep, no member
 * twice. KL_ERR_INPUT. The caller frees with json_decref. */
#define KL_PARAMS_DEPTH 8
enum kl_rc kl_params_parse(const char *text, size_t len, json_t **out,
                           struct kl_err *err) KL_MUST_CHECK;

/* The one text that equal params have: members sorted, no spaces. malloc'ed; NULL if memory is
 * short. */
char *kl_params_text(const json_t *params);

#endif
