/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From one daemon to the next without a refused connection: the new one, its workers ready, asks
 * the old one for its listening socket over a UNIX socket beside the store, and for the store.
 *
 *   new                                old
 *   TAKE ----------------------------> is it our user, or root? not draining?
 *   <--------------------- SOCKETS     with the descriptors; it still serves
 *   are they what the configuration says?
 *   COMMIT --------------------------> accepts no more; sessions under way go on to their end,
 *                                      new connections wait in the socket's backlog
 *   <-------------------- RELEASED     the store is closed and no longer claimed
 *   claims the store, accepts
 *   CLAIMED -------------------------> ends
 *
 * If the new one goes away before CLAIMED, the old one takes up the store again and serves on. If
 * the old one goes away, the new one goes on without it. One packet a message, each with a magic
 * and a version, so that two versions of keyloaderd may talk. Loop thread only.
 */
#ifndef KL_DAEMON_PROCESS_HANDOVER_H
#define KL_DAEMON_PROCESS_HANDOVER_H

#include <event2/event.h>
#include <sys/types.h>

#include "daemon/process/sockets.h"
#include "proto/err.h"

/* ---- The old one ---- */

struct kl_handover;

struct kl_handover_events {
    /* May the sockets be had just now? Not while draining or starting: KL_ERR_UNAVAILABLE. *out:
     * borrowed descriptors. */
    enum kl_rc (*lend)(struct kl_sockets *out, void *arg, struct kl_err *err);
    void (*drain)(void *arg);           /* ends with kl_handover_released */
    void (*resume)(void *arg);          /* the new one is gone; from whatever came after drain */
    void (*over)(pid_t pid, void *arg); /* it serves, as process pid: end */
    void *arg;
};

/* Listens for one that takes over, at STORE-handover (mode 0600). */
enum kl_rc kl_handover_new(struct event_base *base, const char *store, unsigned drain_seconds,
                           const struct kl_handover_events *events, struct kl_handover **out,
                           struct kl_err *err) KL_MUST_CHECK;
/* What drain has asked for is done, and the store closed. */
void kl_handover_released(struct kl_handover *handover);
/* Removes the socket, unless the next daemon's has taken its place; takes NULL. */
void kl_handover_free(struct kl_handover *handover);

/* ---- The new one ---- */

struct kl_takeover;

struct kl_takeover_events {
    /* Sockets are here (once; those of *sockets are now the caller's) and are as they must be:
     * go on? Anything but KL_OK ends it, and the old one serves on. */
    enum kl_rc (*sockets)(struct kl_sockets *sockets, void *arg, struct kl_err *err);
    /* The store is free: the caller claims it, and then calls kl_takeover_claimed. Also when the
     * old one is gone, whether or not there have been sockets. */
    void (*released)(void *arg);
    void (*failed)(const struct kl_err *err, void *arg); /* the old one refuses, or is too slow */
    void (*ended)(void *arg); /* the old one is gone, after kl_takeover_claimed */
    void *arg;
};

/* Finds the daemon that serves this store. KL_ERR_NOT_FOUND: there is none. KL_ERR_PERMISSION: who
 * listens there is of another user. */
enum kl_rc kl_takeover_new(struct event_base *base, const char *store,
                           const struct kl_takeover_events *events, struct kl_takeover **out,
                           struct kl_err *err) KL_MUST_CHECK;
void kl_takeover_ask(struct kl_takeover *takeover); /* our workers are ready */
void kl_takeover_claimed(struct kl_takeover *takeover);
void kl_takeover_free(struct kl_takeover *takeover); /* takes NULL */

#endif
