/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on the store: which there are, and who may have them run. */
#include "daemon/control/admin.h"

#include <string.h>

#include "daemon/control/admin_request.h"

static const struct kl_admin_op *const tables[] = {
    kl_admin_terminal_ops,
    kl_admin_tmk_ops,
    kl_admin_report_ops,
    kl_admin_request_ops,
};

const struct kl_admin_op *kl_admin_find(const char *name)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct kl_admin_op *op = tables[i]; op->name; op++) {
            if (strcmp(op->name, name) == 0) {
                return op;
            }
        }
    }
    return NULL;
}

void kl_admin_policy(const struct kl_config *config, struct kl_admin_ask *ask)
{
    for (int i = 0; i < KL_DUAL_COUNT; i++) {
        ask->dual[i] = kl_config_dual(config, (enum kl_dual)i);
    }
    ask->request_lifetime = config->request_lifetime;
}

enum kl_rc kl_admin_may(const struct kl_admin_op *op, enum kl_role role, struct kl_err *err)
{
    enum kl_role needed = op->kind == KL_ADMIN_READ ? KL_ROLE_AUDITOR : KL_ROLE_OPERATOR;

    if (role < needed) {
        return kl_err_set(err, KL_ERR_PERMISSION, "%s is for an %s, not for an %s", op->name,
                          kl_role_name(needed), kl_role_name(role));
    }
    return KL_OK;
}

static enum kl_rc run(const struct kl_admin_op *op, struct kl_store *store,
                      const struct kl_admin_ask *ask, json_t **out, struct kl_err *err)
{
    if (op->kind == KL_ADMIN_DECIDE && !ask->by_socket) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "%s needs the daemon, which knows who asks: [control] socket, and "
                          "keyloaderd running",
                          op->name);
    }
    if (!op->canon || !ask->dual[op->dual]) {
        return op->run(store, ask, out, err);
    }
    if (!ask->by_socket) {
        return kl_err_set(err, KL_ERR_REFUSED,
                          "takes two operators ([control] dual-control names %s): one requests it "
                          "over the daemon's control socket, another approves it with keyloaderctl "
                          "request approve",
                          kl_dual_name(op->dual));
    }
    return kl_admin_request_make(op, store, ask, out, err);
}

enum kl_rc kl_admin_run(const struct kl_admin_op *op, struct kl_store *store,
                        const struct kl_admin_ask *ask, json_t **out, struct kl_err *err)
{
    enum kl_rc rc = kl_admin_may(op, ask->role, err);

    if (rc == KL_OK) {
        kl_store_set_actor(store, ask->actor);
        rc = run(op, store, ask, out, err);
        kl_store_set_actor(store, "");
    }
    return rc;
}

/* ---- Results ---- */

enum kl_rc kl_admin_page_add(struct kl_admin_page *page, json_t *row, struct kl_err *err)
{
    if (page->limit == 0) {
        page->limit = KL_ADMIN_PAGE;
    }
    if (json_array_size(page->rows) == page->limit) {
        page->more = 1;
        json_decref(row);
        return kl_err_set(err, KL_ERR_BUSY, "the page is full");
    }
    if (json_array_append_new(page->rows, row) != 0) {
        return kl_err_set(err, KL_ERR_MEMORY, "building a list");
    }
    return KL_OK;
}

enum kl_rc kl_admin_page_end(struct kl_admin_page *page, const char *name, enum kl_rc rc,
                             json_t **out, struct kl_err *err)
{
    json_t *rows = page->rows;

    page->rows = NULL;
    if (rc != KL_OK && !page->more) {
        json_decref(rows);
        return rc;
    }
    return kl_admin_give(json_pack("{s:o, s:b}", name, rows, "more", page->more), out, err);
}

enum kl_rc kl_admin_give(json_t *made, json_t **out, struct kl_err *err)
{
    if (!made) {
        return kl_err_set(err, KL_ERR_MEMORY, "building a result");
    }
    *out = made;
    return KL_OK;
}
