/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tokens and sessions: finding the one token that a URI names, logging in once, and making new
 * tokens. Logging in happens exactly once for each kl_token_open, whatever comes back: a token
 * counts wrong PINs, and a service that retries locks its own key away.
 */
#include "pkcs11/token.h"

#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11/rv.h"

#define SLOTS_MAX 64

struct kl_token {
    CK_FUNCTION_LIST *functions; /* borrowed from the module */
    CK_SLOT_ID slot;
    CK_FLAGS session_flags;
    CK_SESSION_HANDLE login; /* idle, and open for life: the last session's end logs out */
    char label[KL_TOKEN_LABEL_MAX + 1];
};

struct kl_session {
    CK_FUNCTION_LIST *functions;
    CK_SESSION_HANDLE handle;
};

/* ---- Finding tokens ---- */

/* One slot with a token in it. */
struct slot {
    CK_SLOT_ID id;
    CK_TOKEN_INFO info;
    char label[KL_TOKEN_LABEL_MAX + 1];
};

/* Lists the tokens that are there; *out is malloc'ed, the caller frees it. */
static enum kl_rc list_tokens(CK_FUNCTION_LIST *f, struct slot **out, size_t *count,
                              struct kl_err *err)
{
    CK_SLOT_ID ids[SLOTS_MAX];
    CK_ULONG n = 0;
    CK_RV rv;
    size_t found = 0;

    /* Asking for the count first is also what makes a module look for new tokens. */
    rv = f->C_GetSlotList(CK_TRUE, NULL, &n);
    if (rv == CKR_OK && n <= SLOTS_MAX) {
        n = SLOTS_MAX;
        rv = f->C_GetSlotList(CK_TRUE, ids, &n);
    }
    if (rv == CKR_OK && n > SLOTS_MAX) {
        return kl_err_set(err, KL_ERR_TOKEN, "module has %lu slots; %d is the limit", n, SLOTS_MAX);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_GetSlotList", "tokens cannot be listed");
    }

    struct slot *slots = calloc(n + 1, sizeof(*slots));
    if (!slots) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for %lu slots", n);
    }
    for (CK_ULONG i = 0; i < n; i++) {
        struct slot *slot = &slots[found];
        rv = f->C_GetTokenInfo(ids[i], &slot->info);
        if (rv != CKR_OK) { /* taken out meanwhile, or not a token */
            continue;
        }
        slot->id = ids[i];
        size_t len = p11_kit_space_strlen(slot->info.label, KL_TOKEN_LABEL_MAX);
        memcpy(slot->label, slot->info.label, len);
        slot->label[len] = '\0';
        found++;
    }
    *out = slots;
    *count = found;
    return KL_OK;
}

/* "A", "B" of the tokens that are initialised: what to write in the URI instead. */
static void name_tokens(const struct slot *slots, size_t count, char *out, size_t capacity)
{
    size_t len = 0;

    (void)snprintf(out, capacity, "none");
    for (size_t i = 0; i < count; i++) {
        if (!(slots[i].info.flags & CKF_TOKEN_INITIALIZED)) {
            continue;
        }
        int n = snprintf(out + len, capacity - len, "%s\"%s\"", len ? ", " : "", slots[i].label);
        if (n < 0 || (size_t)n >= capacity - len) {
            return;
        }
        len += (size_t)n;
    }
}

static enum kl_rc find_token(CK_FUNCTION_LIST *f, const struct kl_uri *uri, struct slot *out,
                             struct kl_err *err)
{
    struct slot *slots = NULL;
    const struct slot *match = NULL;
    size_t count = 0, matches = 0;
    char names[160];
    enum kl_rc rc = list_tokens(f, &slots, &count, err);

    if (rc != KL_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        if ((slots[i].info.flags & CKF_TOKEN_INITIALIZED) &&
            kl_uri_names(uri, slots[i].id, &slots[i].info)) {
            match = &slots[i];
            matches++;
        }
    }
    name_tokens(slots, count, names, sizeof(names));
    if (matches == 0) {
        rc = kl_err_set(err, KL_ERR_TOKEN, "no token matches the URI; the module has: %s", names);
    } else if (matches > 1) {
        rc = kl_err_set(err, KL_ERR_TOKEN,
                        "%zu tokens match the URI; add serial= or slot-id= (the module has: %s)",
                        matches, names);
    } else {
        *out = *match;
    }
    free(slots);
    return rc;
}

/* ---- Login ---- */

static enum kl_rc login(struct kl_token *token, const CK_TOKEN_INFO *info, struct kl_secret *pin,
                        struct kl_err *err)
{
    CK_RV rv;

    if (info->flags & CKF_USER_PIN_LOCKED) {
        return kl_err_set(err, KL_ERR_PIN,
                          "token \"%s\": the user PIN is locked; the security officer must set a "
                          "new one",
                          token->label);
    }
    /* Nobody is here to say whether our PIN is right, and a wrong one would lock the keys away. */
    if (info->flags & CKF_USER_PIN_FINAL_TRY) {
        return kl_err_set(err, KL_ERR_PIN,
                          "token \"%s\": only one try of the user PIN is left, so it is not tried; "
                          "log in by hand with the right PIN first (e.g. pkcs11-tool --login), "
                          "which resets the counter",
                          token->label);
    }
    rv = token->functions->C_Login(token->login, CKU_USER, kl_secret_data(pin), kl_secret_len(pin));
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, "C_Login", "token \"%s\": login failed, not tried again",
                         token->label);
    }
    return KL_OK;
}

enum kl_rc kl_token_open(struct kl_module *module, const struct kl_uri *uri, struct kl_secret *pin,
                         int read_write, struct kl_token **out, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_module_functions(module);
    struct slot slot;
    enum kl_rc rc = find_token(f, uri, &slot, err);

    if (rc != KL_OK) {
        return rc;
    }
    struct kl_token *token = calloc(1, sizeof(*token));
    if (!token) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for token \"%s\"", slot.label);
    }
    token->functions = f;
    token->slot = slot.id;
    token->session_flags = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0);
    memcpy(token->label, slot.label, sizeof(token->label));

    CK_RV rv = f->C_OpenSession(slot.id, token->session_flags, NULL, NULL, &token->login);
    if (rv != CKR_OK) {
        free(token);
        return kl_rv_err(err, rv, "C_OpenSession", "token \"%s\"", slot.label);
    }
    if (pin && (rc = login(token, &slot.info, pin, err)) != KL_OK) {
        kl_token_free(token);
        return rc;
    }
    *out = token;
    return KL_OK;
}

void kl_token_free(struct kl_token *token)
{
    if (!token) {
        return;
    }
    (void)token->functions->C_CloseAllSessions(token->slot);
    free(token);
}

const char *kl_token_label(const struct kl_token *token)
{
    return token->label;
}

/* ---- New tokens ---- */

/* A slot whose token is labelled `label` (initialised != 0) or the first blank one. */
static const struct slot *pick(const struct slot *slots, size_t count, const char *label)
{
    for (size_t i = 0; i < count; i++) {
        int initialised = (slots[i].info.flags & CKF_TOKEN_INITIALIZED) != 0;
        if (label ? initialised && strcmp(slots[i].label, label) == 0 : !initialised) {
            return &slots[i];
        }
    }
    return NULL;
}

static enum kl_rc set_user_pin(CK_FUNCTION_LIST *f, CK_SLOT_ID slot, struct kl_secret *so_pin,
                               struct kl_secret *user_pin, struct kl_err *err)
{
    CK_SESSION_HANDLE handle;
    const char *op = "C_OpenSession";
    CK_RV rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &handle);

    if (rv == CKR_OK) {
        op = "C_Login";
        rv = f->C_Login(handle, CKU_SO, kl_secret_data(so_pin), kl_secret_len(so_pin));
        if (rv == CKR_OK) {
            op = "C_InitPIN";
            rv = f->C_InitPIN(handle, kl_secret_data(user_pin), kl_secret_len(user_pin));
            (void)f->C_Logout(handle);
        }
        (void)f->C_CloseSession(handle);
    }
    if (rv != CKR_OK) {
        return kl_rv_err(err, rv, op, "the token is initialised but its user PIN is not set");
    }
    return KL_OK;
}

/* Not every module makes tokens: NSS softokn's C_InitToken empties the database, and its user PIN
 * is set by a login as security officer without PIN. */
#define OWN_TOOL \
    "make it with the module's own tool (NSS softokn: certutil -N -d sql:DIR), then go on with " \
    "the " \
    "next step"

enum kl_rc kl_token_init(struct kl_module *module, const char *label, struct kl_secret *so_pin,
                         struct kl_secret *user_pin, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = kl_module_functions(module);
    CK_UTF8CHAR padded[KL_TOKEN_LABEL_MAX];
    struct slot *slots = NULL;
    const struct slot *slot;
    size_t count = 0, len = strlen(label);
    enum kl_rc rc;
    CK_RV rv;

    if (len == 0 || len > KL_TOKEN_LABEL_MAX || label[len - 1] == ' ') {
        return kl_err_set(err, KL_ERR_INPUT,
                          "token label must have 1 to %d bytes and not end in a blank",
                          KL_TOKEN_LABEL_MAX);
    }
    memset(padded, ' ', sizeof(padded));
    memcpy(padded, label, len);

    if ((rc = list_tokens(f, &slots, &count, err)) != KL_OK) {
        return rc;
    }
    if (pick(slots, count, label)) {
        rc = kl_err_set(err, KL_ERR_EXISTS, "there is a token \"%s\" already", label);
        goto out;
    }
    if (!(slot = pick(slots, count, NULL))) {
        rc =
            kl_err_set(err, KL_ERR_TOKEN, "the module has no blank token to initialise: " OWN_TOOL);
        goto out;
    }
    rv = f->C_InitToken(slot->id, kl_secret_data(so_pin), kl_secret_len(so_pin), padded);
    if (rv != CKR_OK) {
        rc = kl_rv_err(err, rv, "C_InitToken", "token \"%s\" cannot be initialised", label);
        goto out;
    }
    /* The new token may have moved to another slot: look for it by its label. */
    free(slots);
    slots = NULL;
    if ((rc = list_tokens(f, &slots, &count, err)) != KL_OK) {
        goto out;
    }
    if (!(slot = pick(slots, count, label))) {
        rc = kl_err_set(err, KL_ERR_TOKEN, "token \"%s\" is gone after C_InitToken: " OWN_TOOL,
                        label);
    } else {
        rc = set_user_pin(f, slot->id, so_pin, user_pin, err);
    }
out:
    free(slots);
    return rc;
}

/* ---- Sessions ---- */

enum kl_rc kl_session_open(struct kl_token *token, struct kl_session **out, struct kl_err *err)
{
    struct kl_session *session = calloc(1, sizeof(*session));
    CK_RV rv;

    if (!session) {
        return kl_err_set(err, KL_ERR_MEMORY, "out of memory for a session");
    }
    session->functions = token->functions;
    rv = token->functions->C_OpenSession(token->slot, token->session_flags, NULL, NULL,
                                         &session->handle);
    if (rv != CKR_OK) {
        free(session);
        return kl_rv_err(err, rv, "C_OpenSession", "token \"%s\"", token->label);
    }
    *out = session;
    return KL_OK;
}

void kl_session_free(struct kl_session *session)
{
    if (!session) {
        return;
    }
    (void)session->functions->C_CloseSession(session->handle);
    free(session);
}

CK_FUNCTION_LIST *kl_session_functions(const struct kl_session *session)
{
    return session->functions;
}

CK_SESSION_HANDLE kl_session_handle(const struct kl_session *session)
{
    return session->handle;
}
