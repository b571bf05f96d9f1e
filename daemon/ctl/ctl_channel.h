/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How keyloaderctl's commands have operations run: by the daemon, over its control socket, or,
 * where none is configured or no daemon serves the store, by this program on the store itself.
 */
#ifndef KL_DAEMON_CTL_CTL_CHANNEL_H
#define KL_DAEMON_CTL_CTL_CHANNEL_H

#include <jansson.h>

#include "daemon/ctl/ctl.h"
#include "proto/err.h"

/* Runs an operation (daemon/control/admin.h) by name. Takes params (NULL, a failed json_pack, is
 * KL_ERR_MEMORY). *out is the caller's to json_decref. Whatever the operation fails with comes back
 * as if it had been run here. */
enum kl_rc kl_ctl_call(struct kl_ctl *ctl, const char *op, json_t *params, json_t **out,
                       struct kl_err *err) KL_MUST_CHECK;
/* The same of what only a daemon can do. */
enum kl_rc kl_ctl_call_daemon(struct kl_ctl *ctl, const char *op, json_t *params, json_t **out,
                              struct kl_err *err) KL_MUST_CHECK;
/* 1 if a daemon answers: what is done in many calls is not done in one transaction then. */
enum kl_rc kl_ctl_has_daemon(struct kl_ctl *ctl, int *out, struct kl_err *err) KL_MUST_CHECK;
/* Without a daemon: all calls until kl_ctl_end make one transaction, which that ends as its rc
 * says. With a daemon these do nothing. */
enum kl_rc kl_ctl_begin(struct kl_ctl *ctl, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_ctl_end(struct kl_ctl *ctl, enum kl_rc rc, struct kl_err *err) KL_MUST_CHECK;

/* Calls an operation that pages its list (member `rows` of its result) until there is no more;
 * `next` moves params on, past the last row. Each row is given to fn, which takes it. */
typedef void (*kl_ctl_next_fn)(json_t *params, const json_t *last);
typedef enum kl_rc (*kl_ctl_row_fn)(json_t *row, void *arg, struct kl_err *err);
enum kl_rc kl_ctl_each(struct kl_ctl *ctl, const char *op, json_t *params, const char *rows,
                       kl_ctl_next_fn next, kl_ctl_row_fn fn, void *arg,
                       struct kl_err *err) KL_MUST_CHECK;
/* The same, printed as a list of columns. */
enum kl_rc kl_ctl_print_each(struct kl_ctl *ctl, const char *op, json_t *params, const char *rows,
                             kl_ctl_next_fn next, const int *widths,
                             struct kl_err *err) KL_MUST_CHECK;
/* For lists by serial: params.after = the last row's serial. */
void kl_ctl_next_serial(json_t *params, const json_t *last);
/* By id. */
void kl_ctl_next_id(json_t *params, const json_t *last);

/* Prints a result, which it takes. One that is a request for a second operator is KL_ERR_BUSY and
 * says what to do: nothing has been done yet. */
enum kl_rc kl_ctl_print_result(struct kl_ctl *ctl, json_t *result, struct kl_err *err);

void kl_ctl_close(struct kl_ctl *ctl); /* what calls have opened */

#endif
