/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on the store for people: each is a function of its JSON parameters, who asks and the
 * time, and gives a JSON result. keyloaderd runs them for peers of its control socket: what reads
 * in a thread that only reads, what changes in the store thread; keyloaderctl runs the same itself
 * where no daemon does. None builds more than a page of a long list, or works on more than a page
 * of terminals: who wants more asks again from where it ended.
 */
#ifndef KL_DAEMON_CONTROL_ADMIN_H
#define KL_DAEMON_CONTROL_ADMIN_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/control/roles.h"
#include "daemon/store/store.h"
#include "proto/err.h"

#define KL_ADMIN_PAGE 200     /* rows of a list in one result */
#define KL_ADMIN_SERIALS 1000 /* terminals that one operation names */
#define KL_ADMIN_STEP 256     /* terminals that one step of an operation on all looks at */

struct kl_admin_ask {
    const json_t *params; /* borrowed */
    int64_t now;
    uid_t uid; /* who asks, as the kernel says */
    enum kl_role role;
    int by_socket;           /* 0: keyloaderctl itself, on a store without daemon or socket */
    const char *actor;       /* as audit records name it; borrowed */
    int dual[KL_DUAL_COUNT]; /* 1: takes two operators */
    uint64_t request_lifetime;
};
/* Fills dual and request_lifetime from the configuration. */
void kl_admin_policy(const struct kl_config *config, struct kl_admin_ask *ask);

typedef enum kl_rc (*kl_admin_fn)(struct kl_store *store, const struct kl_admin_ask *ask,
                                  json_t **out, struct kl_err *err);

enum kl_admin_kind {
    KL_ADMIN_READ,     /* auditors may */
    KL_ADMIN_WRITE,    /* operators */
    KL_ADMIN_REGISTER, /* the same, and makes a store where there is none yet */
    KL_ADMIN_DECIDE,   /* the same as WRITE, and over the socket only */
};

struct kl_admin_op {
    const char *name; /* "terminal-arm" */
    enum kl_admin_kind kind;
    kl_admin_fn run;
    /* Of those that may take two operators: which word of dual-control, and what gives the params
     * that a request keeps: checked, complete, and the same for the same wish. Else NULL. */
    enum kl_dual dual;
    enum kl_rc (*canon)(const json_t *params, json_t **out, struct kl_err *err);
};
/* Tables, each ended by a NULL name. */
extern const struct kl_admin_op kl_admin_terminal_ops[]; /* admin_terminal.c */
extern const struct kl_admin_op kl_admin_tmk_ops[];      /* admin_tmk.c */
extern const struct kl_admin_op kl_admin_report_ops[];   /* admin_report.c */
extern const struct kl_admin_op kl_admin_request_ops[];  /* admin_request.c */

const struct kl_admin_op *kl_admin_find(const char *name); /* NULL if there is none */

/* KL_ERR_PERMISSION: not for that role. */
enum kl_rc kl_admin_may(const struct kl_admin_op *op, enum kl_role role,
                        struct kl_err *err) KL_MUST_CHECK;

/* Checks the role, and runs it as ask->actor; where two operators are needed, makes a request
 * instead and gives {"request": ...}. Needs a transaction around it: what reads sees one moment.
 * The caller frees *out with json_decref. */
enum kl_rc kl_admin_run(const struct kl_admin_op *op, struct kl_store *store,
                        const struct kl_admin_ask *ask, json_t **out,
                        struct kl_err *err) KL_MUST_CHECK;

/* For result members: an array that takes rows up to KL_ADMIN_PAGE, and says whether there are
 * more. */
struct kl_admin_page {
    json_t *rows;
    int more;
    size_t limit;
};
/* KL_OK: go on. KL_ERR_BUSY: the page is full (not an error for who asked; row is freed). */
enum kl_rc kl_admin_page_add(struct kl_admin_page *page, json_t *row,
                             struct kl_err *err) KL_MUST_CHECK;
/* {NAME: [rows], "more": BOOL}; rc is what the iteration returned. Takes page->rows. */
enum kl_rc kl_admin_page_end(struct kl_admin_page *page, const char *name, enum kl_rc rc,
                             json_t **out, struct kl_err *err) KL_MUST_CHECK;
/* *out = a value that json_pack has made; NULL is KL_ERR_MEMORY. */
enum kl_rc kl_admin_give(json_t *made, json_t **out, struct kl_err *err) KL_MUST_CHECK;

#endif
