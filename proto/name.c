/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Distinguished names from text. OpenSSL's own parser for this lives in its command line program,
 * not in the library.
 */
#include "proto/name.h"

#include <ctype.h>
#include <openssl/objects.h>
#include <string.h>

#include "proto/cert.h"

/* One attribute, unquoted. */
struct rdn {
    char type[KL_NAME_MAX];
    unsigned char value[KL_NAME_MAX];
    size_t value_len;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads what a backslash at *pos quotes; leaves *pos behind it. */
static enum kl_rc read_quoted(const char **pos, unsigned char *byte, struct kl_err *err)
{
    const char *p = *pos + 1;

    if (*p == '\0') {
        return kl_err_set(err, KL_ERR_INPUT, "subject ends in a backslash");
    }
    int high = hex_digit(p[0]);
    int low = high < 0 ? -1 : hex_digit(p[1]);
    if (low >= 0) {
        *byte = (unsigned char)(high << 4 | low);
        *pos = p + 2;
    } else if (strchr(",+\"\\<>;=/# ", *p)) {
        *byte = (unsigned char)*p;
        *pos = p + 1;
    } else {
        return kl_err_set(err, KL_ERR_INPUT, "subject: backslash before '%c' quotes nothing", *p);
    }
    return KL_OK;
}

/* Reads "type=value" up to the separator or the end; leaves *pos on either. Bounds hold because
 * the whole text is shorter than KL_NAME_MAX. */
static enum kl_rc read_rdn(const char **pos, char separator, struct rdn *rdn, struct kl_err *err)
{
    const char *p = *pos;
    size_t type_len = 0, kept = 0;

    while (*p == ' ') {
        p++;
    }
    while (isalnum((unsigned char)*p) || *p == '.') {
        rdn->type[type_len++] = *p++;
    }
    rdn->type[type_len] = '\0';
    if (*p != '=' || type_len == 0) {
        return kl_err_set(err, KL_ERR_INPUT, "subject: expected TYPE=VALUE at \"%s\"", *pos);
    }
    p++;
    rdn->value_len = 0;
    while (*p != '\0' && *p != separator) {
        unsigned char byte = (unsigned char)*p;
        int quoted = *p == '\\';
        if (quoted) {
            enum kl_rc rc = read_quoted(&p, &byte, err);
            if (rc != KL_OK) {
                return rc;
            }
        } else if (*p == '+' && separator == ',') {
            return kl_err_set(err, KL_ERR_INPUT,
                              "subject: '+' joins attributes, which is not supported; write \\+");
        } else {
            p++;
        }
        if (byte < 0x20 || byte == 0x7f) {
            return kl_err_set(err, KL_ERR_INPUT, "subject: control character in %s", rdn->type);
        }
        rdn->value[rdn->value_len++] = byte;
        if (quoted || byte != ' ') { /* unquoted spaces at the end do not count */
            kept = rdn->value_len;
        }
    }
    rdn->value_len = kept;
    if (rdn->value_len == 0) {
        return kl_err_set(err, KL_ERR_INPUT, "subject: %s is empty", rdn->type);
    }
    *pos = p;
    return KL_OK;
}

/* X.520 has serialNumber as a PrintableString, which lacks the '_' that a terminal's serial may
 * hold: such a one goes in as a UTF8String. */
static int string_type(const struct rdn *rdn)
{
    char serial[KL_SERIAL_MAX + 1] = "";

    if (OBJ_txt2nid(rdn->type) != NID_serialNumber || rdn->value_len > KL_SERIAL_MAX) {
        return MBSTRING_UTF8;
    }
    memcpy(serial, rdn->value, rdn->value_len);
    return kl_serial_ok(serial) && strchr(serial, '_') ? V_ASN1_UTF8STRING : MBSTRING_UTF8;
}

static enum kl_rc add_rdn(X509_NAME *name, const struct rdn *rdn, int place, struct kl_err *err)
{
    if (OBJ_txt2nid(rdn->type) == NID_undef) {
        return kl_err_set(err, KL_ERR_INPUT, "subject: unknown attribute type \"%s\"", rdn->type);
    }
    kl_err_openssl_clear();
    if (X509_NAME_add_entry_by_txt(name, rdn->type, string_type(rdn), rdn->value,
                                   (int)rdn->value_len, place, 0) != 1) {
        return kl_err_openssl(err, KL_ERR_INPUT, "X509_NAME_add_entry_by_txt",
                              "subject: value of %s is not acceptable (length or characters)",
                              rdn->type);
    }
    return KL_OK;
}

enum kl_rc kl_name_parse(const char *text, X509_NAME **out, struct kl_err *err)
{
    size_t len = strlen(text);
    char separator = *text == '/' ? '/' : ',';
    int place = separator == '/' ? -1 : 0; /* at the end, or each before those it follows */
    struct rdn rdn = {0};
    enum kl_rc rc = KL_OK;

    if (len == 0 || len >= KL_NAME_MAX) {
        return kl_err_set(err, KL_ERR_INPUT, "subject: 1 to %d bytes, this has %zu",
                          KL_NAME_MAX - 1, len);
    }
    kl_err_openssl_clear();
    X509_NAME *name = X509_NAME_new();
    if (!name) {
        return kl_err_openssl(err, KL_ERR_MEMORY, "X509_NAME_new", "subject");
    }

    const char *pos = separator == '/' ? text + 1 : text;
    for (;;) {
        rc = read_rdn(&pos, separator, &rdn, err);
        if (rc == KL_OK) {
            rc = add_rdn(name, &rdn, place, err);
        }
        if (rc != KL_OK || *pos == '\0') {
            break;
        }
        pos++;
    }
    if (rc == KL_OK && X509_NAME_get_index_by_NID(name, NID_commonName, -1) < 0) {
        rc = kl_err_set(err, KL_ERR_INPUT, "subject \"%s\" has no common name (CN=)", text);
    }
    if (rc == KL_OK) {
        *out = name;
        name = NULL;
    }
    X509_NAME_free(name);
    return rc;
}
