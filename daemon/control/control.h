/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: one request line of JSON, {"do": NAME, "params": {...}}, and one response
 * line, {"ok": true, "result": ...} or {"ok": false, "rc": NAME, "text": ...}, as often as the peer
 * likes. What a peer may do follows from who it is (daemon/control/roles.h). However it behaves, it
 * costs a bounded amount of memory and nothing of the terminals' time: requests and results are
 * bounded, peers too, in all and for each user, and whatever a peer is slow at has a deadline. What
 * reads the store does so in a thread of its own. Loop thread only.
 */
#ifndef KL_DAEMON_CONTROL_CONTROL_H
#define KL_DAEMON_CONTROL_CONTROL_H

#include "daemon/reload.h"
#include "daemon/service.h"
#include "proto/err.h"

#define KL_CONTROL_LINE_MAX (64 * 1024)     /* bytes of a request */
#define KL_CONTROL_RESULT_MAX (1024 * 1024) /* bytes of a response */
#define KL_CONTROL_PEERS 32                 /* at once */
#define KL_CONTROL_PEERS_USER 8             /* of one user */

struct kl_control;

/* Listens at [control] socket; or at fd, a socket that was handed over (taken, also on failure;
 * -1 = none). Neither is there: *out = NULL. The store is open and claimed. */
enum kl_rc kl_control_new(struct kl_service *service, int fd, struct kl_control **out,
                          struct kl_err *err) KL_MUST_CHECK;
/* Before service->committer is freed; takes NULL. */
void kl_control_free(struct kl_control *control);

#endif
