/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection's inside, shared by conn.c (deadlines, end), conn_io.c (socket, framing),
 * handshake.c (what each message of a load does) and signin.c (the same of a sign-in). Nobody else
 * in daemon/ includes this.
 *
 *   FIRST --Hello--> ADMITTING --Certificate--> RANDOMS --Randoms--> HSM --> PENDING
 *     |                                                    MasterKey --> LOADED --Loaded--+
 *     +--Confirm----------------------------------------------------------> CONFIRMING <--+
 *     |                                                             Done --> CLOSING
 *     +--SignIn--> KEYS_ADMITTING --> KEYS_HSM --WorkingKeys--> KEYS_SENT --Loaded--> KEYS_TAKING
 *                                                                             Done --> CLOSING
 *
 * FIRST, RANDOMS, LOADED and KEYS_SENT wait for the peer; the others but CLOSING wait for the store
 * thread or an HSM worker, and a peer that speaks meanwhile breaks the protocol. Any refusal sends
 * Error and goes to CLOSING. Nothing is freed inside the handling of a message: only the callbacks
 * of socket and timer free a connection.
 */
#ifndef KL_DAEMON_LOADER_CONN_IMPL_H
#define KL_DAEMON_LOADER_CONN_IMPL_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon/life/step.h"
#include "daemon/loader/conn.h"

#define KL_CONN_ADDRESS_MAX 64

enum kl_conn_state {
    KL_CONN_FIRST,
    KL_CONN_ADMITTING,
    KL_CONN_RANDOMS,
    KL_CONN_HSM,
    KL_CONN_PENDING,
    KL_CONN_LOADED,
    KL_CONN_CONFIRMING,
    KL_CONN_KEYS_ADMITTING,
    KL_CONN_KEYS_HSM,
    KL_CONN_KEYS_SENT,
    KL_CONN_KEYS_TAKING,
    KL_CONN_CLOSING,
};
_Static_assert(KL_CONN_CLOSING < KL_METRICS_STATES, "more states than are counted");

/* What a load in progress needs; there is none before Hello, so that idle peers are cheap. */
struct kl_exchange {
    struct kl_hello hello; /* its chain borrows from hello_der */
    struct kl_admission admission;
    struct kl_trust *trust;             /* a reference: what was in force at Hello */
    const struct kl_trust_entry *chain; /* in it: what Certificate showed */
    EVP_PKEY *device_key; /* of the terminal's verified certificate; NULL: it needs none */
    uint8_t device_key_hash[KL_HASH_LEN];
    size_t hello_len, certificate_len, master_key_len;
    uint8_t *hello_der, *certificate_der, *master_key_der;
};

struct kl_conn_signin; /* what a sign-in in progress needs: signin.c */

struct kl_conn {
    TAILQ_ENTRY(kl_conn) link;
    struct kl_service *service;
    const struct kl_config *config; /* a reference: what was in force at accept */
    evutil_socket_t fd;
    struct event io, timer;
    uint8_t *in, *out; /* of a message that is not whole yet; NULL: nothing */
    size_t in_len, out_len;
    enum kl_conn_state state;
    int64_t started_ms;
    int64_t heard_ms; /* when the present wait for the peer began */
    int64_t deadline_ms;
    int64_t armed_ms; /* when the timer comes, if that is earlier; 0: it is not set */
    int64_t since_us; /* kl_clock_us() at which the present state began */
    kl_conn_closed_fn closed;
    void *arg;
    struct kl_exchange *exchange;   /* of a load */
    struct kl_conn_signin *signing; /* of a sign-in */
    struct kl_step *step;           /* under way in the store thread */
    struct kl_ticket *ticket;       /* under way in an HSM worker */
    int timed_out;
    int holds_serial;               /* is in service->loading or ->signing_in */
    char serial[KL_SERIAL_MAX + 1]; /* fixed once it is there (kl_conn_name) */
    LIST_ENTRY(kl_conn) same_bucket;
    char address[KL_CONN_ADDRESS_MAX];
};

/* ---- conn.c ---- */

int kl_conn_waits_for_peer(enum kl_conn_state state);
/* Goes to the next state and sets its deadline. */
void kl_conn_enter(struct kl_conn *conn, enum kl_conn_state state);
/* Milliseconds since the connection was accepted. */
int64_t kl_conn_age_ms(const struct kl_conn *conn);
/* The peer has said whose this connection is; once. */
void kl_conn_name(struct kl_conn *conn, const char *serial);
/* The other connection of the same serial that comes after that one, NULL: the first; or NULL. */
struct kl_conn *kl_conn_other(const struct kl_conn *conn, const struct kl_conn *after);
/* Makes this the one connection for which the HSM works on conn->serial, until it is released or
 * over. 0 if another is. Nobody can hold a serial's load without its costing an attempt, and
 * sign-ins, which cost none, are apart from it. */
int kl_conn_claim_serial(struct kl_conn *conn);
void kl_conn_release_serial(struct kl_conn *conn);
/* The HSM has worked for a load of conn->serial, which costs an attempt: others of that serial that
 * were admitted before are refused (busy), so that what is admitted from now on knows of it. Else
 * as many could have the HSM decrypt for one attempt as there are connections. */
void kl_conn_end_admitted(const struct kl_conn *conn);
/* Hands a step to the store thread, which takes it, and waits for it in that state. */
enum kl_rc kl_conn_submit(struct kl_conn *conn, struct kl_step *step, enum kl_conn_state state,
                          struct kl_err *err) KL_MUST_CHECK;
/* The step that conn waited for is back: 1, and the peer has its answer, if it was refused. */
int kl_conn_step_refused(struct kl_conn *conn, const struct kl_step *step);
enum kl_rc kl_conn_send(struct kl_conn *conn, const struct kl_msg *msg,
                        struct kl_err *err) KL_MUST_CHECK;
/* Our last message is queued (or none): sends it, then waits briefly for the peer to close. */
void kl_conn_finish(struct kl_conn *conn);
/* What it was there for is over, and how: for the metrics, once before kl_conn_finish. */
void kl_conn_over(struct kl_conn *conn, enum kl_outcome outcome);
/* The one place where a load that went wrong is logged and answered with Error. */
void kl_conn_refuse(struct kl_conn *conn, const struct kl_err *err);
/* The peer is gone: frees conn. */
void kl_conn_lost(struct kl_conn *conn, const char *why);

/* ---- conn_io.c ---- */

void kl_conn_open_io(struct kl_conn *conn); /* begins to listen to conn->fd */
void kl_conn_close_io(struct kl_conn *conn);
/* Sends a message by one write; what the socket does not take is kept until it does. A connection
 * that has failed takes everything: reading tells. */
enum kl_rc kl_conn_send_der(struct kl_conn *conn, const uint8_t *der, size_t len,
                            struct kl_err *err) KL_MUST_CHECK;
/* Says that nothing more comes, once all has been sent. */
void kl_conn_half_close(struct kl_conn *conn);

/* ---- handshake.c ---- */

/* Handles one message; anything but KL_OK is for kl_conn_refuse. der is borrowed for the call. */
enum kl_rc kl_handshake_message(struct kl_conn *conn, const uint8_t *der, size_t len,
                                struct kl_err *err) KL_MUST_CHECK;
void kl_exchange_free(struct kl_exchange *exchange); /* takes NULL */

/* ---- signin.c ---- */

/* SignIn, and the Loaded that follows WorkingKeys; returns as kl_handshake_message. */
enum kl_rc kl_conn_signin_begin(struct kl_conn *conn, const struct kl_sign_in *msg,
                                const uint8_t *der, size_t len, struct kl_err *err) KL_MUST_CHECK;
enum kl_rc kl_conn_signin_loaded(struct kl_conn *conn, const struct kl_loaded *loaded,
                                 struct kl_err *err) KL_MUST_CHECK;
void kl_conn_signin_free(struct kl_conn_signin *signing); /* wipes; takes NULL */

#endif
