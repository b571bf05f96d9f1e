/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RFC 7512 URIs. p11-kit decodes and matches them; here is what it lets pass and we do not: an
 * attribute that we would silently ignore, one given twice, and a PIN in the URI itself.
 */
#include "pkcs11/uri.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
#include <stdlib.h>
#include <string.h>

struct kl_uri {
    P11KitUri *parsed;
    char token[KL_TOKEN_LABEL_MAX + 1]; /* "" if not given */
};

#define URI_SCHEME "pkcs11:"
#define URI_MAX 1024

static const char *const path_attributes[] = {
    "token", "serial", "manufacturer", "model", "slot-id", "object", "id", "type", NULL,
};
static const char *const query_attributes[] = {"module-path", "pin-source", NULL};

static int index_of(const char *const *names, const char *name, size_t len)
{
    for (int i = 0; names[i]; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            return i;
        }
    }
    return -1;
}

/* Checks the attribute names of one part (up to `end`), which `separator` divides. */
static enum kl_rc check_names(const char *part, const char *end, char separator,
                              const char *const *names, struct kl_err *err)
{
    unsigned seen = 0;

    while (part < end) {
        const char *stop = memchr(part, separator, (size_t)(end - part));
        if (!stop) {
            stop = end;
        }
        const char *equals = memchr(part, '=', (size_t)(stop - part));
        if (!equals) {
            return kl_err_set(err, KL_ERR_CONFIG, "token URI: \"%.*s\" is not name=value",
                              (int)(stop - part), part);
        }
        int len = (int)(equals - part);
        int index = index_of(names, part, (size_t)len);
        if (len == 9 && memcmp(part, "pin-value", 9) == 0) {
            return kl_err_set(err, KL_ERR_CONFIG,
                              "token URI: pin-value is refused, a PIN must not stand in a URI; "
                              "use pin-source=file:/PATH");
        }
        if (index < 0) {
            return kl_err_set(err, KL_ERR_CONFIG, "token URI: unknown attribute \"%.*s\"", len,
                              part);
        }
        if (seen & (1u << index)) {
            return kl_err_set(err, KL_ERR_CONFIG, "token URI: \"%s\" is given twice", names[index]);
        }
        seen |= 1u << index;
        part = stop < end ? stop + 1 : end;
    }
    return KL_OK;
}

/* CK_TOKEN_INFO pads with blanks and ends with no NUL. */
static void copy_label(char out[KL_TOKEN_LABEL_MAX + 1], const CK_TOKEN_INFO *info)
{
    size_t len = p11_kit_space_strlen(info->label, KL_TOKEN_LABEL_MAX);

    /* An attribute that the URI does not have is all zeros. */
    len = info->label[0] == '\0' ? 0 : len;
    memcpy(out, info->label, len);
    out[len] = '\0';
}

enum kl_rc kl_uri_parse(const char *text, struct kl_uri **out, struct kl_err *err)
{
    enum kl_rc rc;
    int code;

    if (strncmp(text, URI_SCHEME, strlen(URI_SCHEME)) != 0) {
        return kl_err_set(err, KL_ERR_CONFIG, "token URI: must begin with \"" URI_SCHEME "\"");
    }
    if (strlen(text) > URI_MAX) {
        return kl_err_set(err, KL_ERR_CONFIG, "token URI: longer than %d bytes", URI_MAX);
    }

    const char *path = text + strlen(URI_SCHEME);
    const char *end = text + strlen(text);
    const char *query = strchr(path, '?');
    if ((rc = check_names(path, query ? query : end, ';', path_attributes, err)) != KL_OK) {
        return rc;
    }
    if (query && (rc = check_names(query + 1, end, '&', query_attributes, err)) != KL_OK) {
        return rc;
    }

    struct kl_uri *uri = calloc(1, sizeof(*uri));
    if (!uri || !(uri->parsed = p11_kit_uri_new())) {
        free(uri);
        return kl_err_set(err, KL_ERR_MEMORY, "token URI: out of memory");
    }
    code = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri->parsed);
    if (code != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(uri->parsed)) {
        rc = kl_err_set(err, KL_ERR_CONFIG, "token URI: %s",
                        code != P11_KIT_URI_OK ? p11_kit_uri_message(code)
                                               : "a value is not one that RFC 7512 knows");
        kl_uri_free(uri);
        return rc;
    }
    copy_label(uri->token, p11_kit_uri_get_token_info(uri->parsed));
    *out = uri;
    return KL_OK;
}

void kl_uri_free(struct kl_uri *uri)
{
    if (!uri) {
        return;
    }
    p11_kit_uri_free(uri->parsed);
    free(uri);
}

const char *kl_uri_module_path(const struct kl_uri *uri)
{
    return p11_kit_uri_get_module_path(uri->parsed);
}

const char *kl_uri_pin_source(const struct kl_uri *uri)
{
    return p11_kit_uri_get_pin_source(uri->parsed);
}

const char *kl_uri_token(const struct kl_uri *uri)
{
    return uri->token[0] ? uri->token : NULL;
}

int kl_uri_names(const struct kl_uri *uri, CK_SLOT_ID slot, const CK_TOKEN_INFO *info)
{
    CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri->parsed);

    if (wanted != (CK_SLOT_ID)-1 && wanted != slot) {
        return 0;
    }
    return p11_kit_uri_match_token_info(uri->parsed, (CK_TOKEN_INFO *)info) == 1;
}
