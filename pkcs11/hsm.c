/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a configured token: URI, module, PIN, login, session, in that order and back.
 */
#include "pkcs11/hsm.h"

#include <stdio.h>
#include <stdlib.h>

#include "pkcs11/module.h"
#include "pkcs11/pin.h"
#include "proto/secret.h"

struct kl_hsm {
    struct kl_module *module;
    struct kl_token *token;
    struct kl_session *session; /* NULL: none was asked for */
};

/* ---- What where says ---- */

/* NULL for a member that says nothing. */
static const char *given(const char *member)
{
    return member && *member ? member : NULL;
}

enum kl_rc kl_hsm_module_path(const struct kl_hsm_where *where, const struct kl_uri *uri,
                              const char **out, struct kl_err *err)
{
    const char *path = given(where->module);

    if (!path) {
        path = kl_uri_module_path(uri);
    }
    if (!path) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "the PKCS#11 module must be set, or the token URI have a module-path");
    }
    *out = path;
    return KL_OK;
}

const char *kl_hsm_pin_source(const struct kl_hsm_where *where, const struct kl_uri *uri)
{
    const char *source = given(where->pin_source);

    return source ? source : kl_uri_pin_source(uri);
}

enum kl_rc kl_hsm_check(const struct kl_hsm_where *where, struct kl_err *err)
{
    struct kl_uri *uri = NULL;
    const char *path;
    enum kl_rc rc = kl_uri_parse(where->token, &uri, err);

    if (rc == KL_OK) {
        rc = kl_hsm_module_path(where, uri, &path, err);
    }
    kl_uri_free(uri);
    return rc;
}

int kl_hsm_prompts(const struct kl_hsm_where *where)
{
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_uri *uri = NULL;
    int prompts = 0; /* with a URI that is wrong it does not come to that */

    if (kl_uri_parse(where->token, &uri, &ignored) == KL_OK) {
        prompts = kl_pin_is_prompt(kl_hsm_pin_source(where, uri));
    }
    kl_uri_free(uri);
    return prompts;
}

/* ---- Opening ---- */

static enum kl_rc read_pin(const struct kl_hsm_where *where, const struct kl_uri *uri,
                           struct kl_secret **out, struct kl_err *err)
{
    const char *label = kl_uri_token(uri), *prompt = given(where->prompt);
    char text[sizeof "PIN of token " + KL_TOKEN_LABEL_MAX];

    if (!prompt) {
        snprintf(text, sizeof text, "PIN of token %s", label ? label : "");
        prompt = text;
    }
    return kl_pin_read(kl_hsm_pin_source(where, uri), prompt, out, err);
}

enum kl_rc kl_hsm_open_token(const struct kl_hsm_where *where, int read_write, struct kl_hsm **out,
                             struct kl_err *err)
{
    struct kl_hsm *hsm = calloc(1, sizeof *hsm);
    struct kl_uri *uri = NULL;
    struct kl_secret *pin = NULL;
    const char *path = NULL;
    enum kl_rc rc;

    if (!hsm) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for an HSM");
    }
    if ((rc = kl_uri_parse(where->token, &uri, err)) != KL_OK ||
        (rc = kl_hsm_module_path(where, uri, &path, err)) != KL_OK ||
        (rc = read_pin(where, uri, &pin, err)) != KL_OK ||
        (rc = kl_module_load(path, where->init_reserved, &hsm->module, err)) != KL_OK) {
        goto out;
    }
    rc = kl_token_open(hsm->module, uri, pin, read_write, &hsm->token, err);
    if (rc == KL_ERR_TOKEN) {
        kl_err_context(err, "%.120s", where->token); /* a URI with a PIN in it does not parse */
    }
    if (rc == KL_OK) {
        *out = hsm;
        hsm = NULL;
    }
out:
    kl_secret_free(pin);
    kl_uri_free(uri);
    kl_hsm_free(hsm);
    return rc;
}

enum kl_rc kl_hsm_open(const struct kl_hsm_where *where, int read_write, struct kl_hsm **out,
                       struct kl_err *err)
{
    struct kl_hsm *hsm = NULL;
    enum kl_rc rc = kl_hsm_open_token(where, read_write, &hsm, err);

    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_session_open(hsm->token, &hsm->session, err);
    if (rc != KL_OK) {
        kl_hsm_free(hsm);
        return rc;
    }
    *out = hsm;
    return KL_OK;
}

void kl_hsm_free(struct kl_hsm *hsm)
{
    if (!hsm) {
        return;
    }
    kl_session_free(hsm->session);
    kl_token_free(hsm->token);
    kl_module_free(hsm->module);
    free(hsm);
}

struct kl_token *kl_hsm_token(const struct kl_hsm *hsm)
{
    return hsm->token;
}

struct kl_session *kl_hsm_session(const struct kl_hsm *hsm)
{
    return hsm->session;
}
