/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists that keyloaderctl prints row by row, however long they are: each row is one flat JSON
 * object, printed as JSON (the list is one array) or as columns under a header of its keys.
 */
#ifndef KL_DAEMON_CTL_CTL_LIST_H
#define KL_DAEMON_CTL_CTL_LIST_H

#include <jansson.h>
#include <stdint.h>

#include "proto/err.h"

struct kl_ctl_list {
    int json;
    const int *widths; /* of the columns, for text */
    uint64_t count;    /* rows so far; starts at 0 */
};

/* Prints row and frees it. NULL (a failed json_pack) is KL_ERR_MEMORY. */
enum kl_rc kl_ctl_list_row(struct kl_ctl_list *list, json_t *row, struct kl_err *err) KL_MUST_CHECK;
/* After the last row; also when there was none. */
enum kl_rc kl_ctl_list_end(struct kl_ctl_list *list, struct kl_err *err) KL_MUST_CHECK;

#endif
