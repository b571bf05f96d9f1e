/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what the store holds, now and then, into service->metrics. It is a unit of work like any
 * other, so that it takes the store thread's time: with a large store it waits for so long after a
 * count that this stays below a hundredth. Loop thread only.
 */
#ifndef KL_DAEMON_MONITOR_CENSUS_H
#define KL_DAEMON_MONITOR_CENSUS_H

#include "daemon/service.h"
#include "proto/err.h"

#define KL_CENSUS_PERIOD_S 10 /* at least, between two counts */
#define KL_CENSUS_SHARE 100   /* and so many times what the last one took */

struct kl_census_taker;

/* Begins with the loop. service->committer is there. */
enum kl_rc kl_census_new(struct kl_service *service, struct kl_census_taker **out,
                         struct kl_err *err) KL_MUST_CHECK;
/* After the committer is freed, before the event base; takes NULL. */
void kl_census_free(struct kl_census_taker *taker);

#endif
