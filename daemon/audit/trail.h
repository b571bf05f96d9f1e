/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the daemon does for its audit trail: has an HSM worker sign checkpoints ([audit]
 * checkpoint-every, checkpoint-interval, and at the end), and sends records on to syslog, by
 * whomever they were written, after their commit, in order and at least once. It waits for nobody:
 * where the HSM or syslog cannot, loads go on, and it tries again. Loop thread only.
 */
#ifndef KL_DAEMON_AUDIT_TRAIL_H
#define KL_DAEMON_AUDIT_TRAIL_H

#include "daemon/service.h"
#include "proto/err.h"

struct kl_trail;

/* Begins with the loop; it does nothing while service has no committer, and signs nothing while it
 * has no pool. */
enum kl_rc kl_trail_new(struct kl_service *service, struct kl_trail **out,
                        struct kl_err *err) KL_MUST_CHECK;
/* Nothing new begins: before pool and committer are freed. Takes NULL. */
void kl_trail_stop(struct kl_trail *trail);
/* After pool and committer, before the event base; takes NULL. */
void kl_trail_free(struct kl_trail *trail);

/* A last checkpoint over all there is, then done, from the loop: within KL_TRAIL_FINISH_S, signed
 * or not. Again only after done. */
#define KL_TRAIL_FINISH_S 5
void kl_trail_finish(struct kl_trail *trail, void (*done)(void *arg), void *arg);

/* For status and metrics: as of the last look, a second ago at most. */
struct kl_trail_report {
    uint64_t last;         /* record */
    uint64_t checkpoint;   /* the last record that is covered; 0 = none */
    int64_t checkpoint_at; /* when; 0 = never */
    int is_signed;         /* 0: the last try to sign failed, and why says so */
    char why[320];
    int syslog;         /* 1: records go to syslog */
    uint64_t forwarded; /* up to which */
    int syslog_reached; /* 0: the last try failed */
};
void kl_trail_report(const struct kl_trail *trail, struct kl_trail_report *out);

#endif
