/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is too small for a target of its own; the first byte says which: token URIs, the monitor's
 * address and its clients' Host, networks that may connect, check values, labels, field 62, a
 * terminal's record and its recordings.
 */
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/loader/allow.h"
#include "daemon/loader/trust.h"
#include "daemon/monitor/monitor_http.h"
#include "daemon/monitor/monitor_where.h"
#include "pkcs11/component.h"
#include "pkcs11/uri.h"
#include "proto/field62.h"
#include "terminal-sim/candidate.h"
#include "terminal-sim/transceiver.h"
#include "tests/fuzz/input.h"

static void uri(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_uri *parsed = NULL;
    CK_TOKEN_INFO info;
    const char *query;

    if (kl_uri_parse(text, &parsed, &err) != KL_OK) {
        require(err.rc == KL_ERR_CONFIG);
        fuzz_failed_well(err.rc, &err);
        return;
    }
    if ((query = strchr(text, '?')) != NULL) { /* where a PIN could be: there is none */
        require(strncmp(query, "?pin-value=", 11) != 0 && !strstr(query, "&pin-value="));
    }
    require(!kl_uri_token(parsed) || strlen(kl_uri_token(parsed)) <= KL_TOKEN_LABEL_MAX);
    memset(&info, ' ', sizeof(info));
    (void)kl_uri_names(parsed, 1, &info);
    if (kl_uri_token(parsed) && kl_uri_token(parsed)[0] != '\0' &&
        strspn(kl_uri_token(parsed), " ") < strlen(kl_uri_token(parsed))) {
        require(!kl_uri_names(parsed, 1, &info)); /* that token has no label */
    }
    kl_uri_free(parsed);
}

static void host(const char *text)
{
    if (kl_monitor_host_ok(text)) {
        /* Numbers, or the one name. */
        require(strncasecmp(text, "localhost", 9) == 0 || strncmp(text, "127.", 4) == 0 ||
                strncmp(text, "[::1]", 5) == 0);
        for (const char *c = text; *c; c++) {
            require(isalnum((unsigned char)*c) || strchr(".:[]", *c));
        }
    }
}

static void where(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_monitor_where where;

    if (kl_monitor_parse(text, &where, &err) != KL_OK) {
        require(err.rc == KL_ERR_CONFIG);
        fuzz_failed_well(err.rc, &err);
    } else if (where.family == AF_INET) { /* reachable from this machine alone */
        const struct sockaddr_in *in = (const struct sockaddr_in *)&where.address.any;

        require(ntohl(in->sin_addr.s_addr) >> 24 == 127);
    } else if (where.family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&where.address.any;

        require(IN6_IS_ADDR_LOOPBACK(&in->sin6_addr));
    } else {
        require(where.family == 0 ? *text == '\0' : where.address.unix_socket.sun_path[0] == '/');
    }
}

/* Networks: each has no bits beyond its length, and has its own first address. */
static void allow(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_allow allow;

    if (kl_allow_parse(text, &allow, &err) != KL_OK) {
        require(err.rc == KL_ERR_CONFIG);
        fuzz_failed_well(err.rc, &err);
        return;
    }
    require(allow.count <= KL_ALLOW_MAX);
    for (size_t i = 0; i < allow.count; i++) {
        struct sockaddr_in6 peer = {.sin6_family = AF_INET6};

        require(allow.net[i].bits <= 128);
        for (unsigned bit = allow.net[i].bits; bit < 128; bit++) {
            require(!(allow.net[i].address[bit / 8] & 0x80 >> bit % 8));
        }
        memcpy(&peer.sin6_addr, allow.net[i].address, 16);
        require(kl_allow_has(&allow, (const struct sockaddr *)&peer));
    }
}

static void kcv(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t value[KL_KCV_LEN_MAX];
    size_t len;

    if (kl_kcv_parse(text, value, &len, &err) != KL_OK) {
        require(err.rc == KL_ERR_INPUT);
        fuzz_failed_well(err.rc, &err);
        return;
    }
    require((len == 3 || len == 4) && strlen(text) == 2 * len);
    require(strspn(text, "0123456789abcdefABCDEF") == 2 * len);
}

static void label(const char *text)
{
    if (kl_trust_label_ok(text)) { /* it names a file, in that folder */
        require(strchr(text, '/') == NULL && text[0] != '.' && text[0] != '\0');
        require(strlen(text) <= KL_KEY_LABEL_MAX);
    }
}

static void field62(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_field62 field;
    uint8_t in[KL_FIELD62_LEN] = {0}, again[KL_FIELD62_LEN];

    if (size > 0) {
        memcpy(in, data, size < sizeof(in) ? size : sizeof(in));
    }
    if (kl_field62_parse(in, &field, &err) != KL_OK) {
        require(err.rc == KL_ERR_PROTOCOL);
        fuzz_failed_well(err.rc, &err);
        return;
    }
    kl_field62_format(&field, again);
    require(memcmp(in, again, sizeof(in)) == 0);
}

/* What was read is written as something that reads as the same. */
static void record(const char *text)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_record first, second;
    char again[KL_RECORD_TEXT_MAX], third[KL_RECORD_TEXT_MAX];

    if (kl_record_parse(text, &first, &err) != KL_OK) {
        fuzz_failed_well(err.rc, &err);
        return;
    }
    require(first.count <= KL_CANDIDATES_MAX);
    for (size_t i = 0; i < first.count; i++) {
        uint32_t before = i > 0 ? first.candidates[i - 1].version : first.active.version;

        require(first.candidates[i].version > before);
    }
    if (kl_record_format(&first, again) == 0) {
        return; /* of nothing */
    }
    require(kl_record_parse(again, &second, &err) == KL_OK);
    require(kl_record_format(&second, third) > 0 && strcmp(again, third) == 0);
}

/* A recording of terminal-sim: its messages, until it ends or is none. */
static void recording(const uint8_t *data, size_t size)
{
    FILE *file = size > 0 ? fmemopen((void *)data, size, "r") : NULL;
    uint8_t der[KL_MSG_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t len = 0, all = 0;
    int direction = 1;
    enum kl_rc rc = KL_OK;

    while (file && rc == KL_OK && direction) {
        rc = kl_transceiver_read_record(file, &direction, der, &len, &err);
        if (rc != KL_OK) {
            require(rc == KL_ERR_INPUT || rc == KL_ERR_PROTOCOL);
            fuzz_failed_well(rc, &err);
        } else if (direction) {
            require((direction == '<' || direction == '>') && len > 0 && len <= sizeof(der));
            all += len + 1;
            require(all <= size);
        }
    }
    if (file) {
        fclose(file);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const texts[])(const char *) = {uri, host, where, allow, kcv, label, record};
    char *text;

    if (size == 0 || size > 4096) {
        return 0;
    }
    text = calloc(1, size);
    require(text != NULL);
    memcpy(text, data + 1, size - 1);
    switch (data[0]) {
    case '7':
        field62(data + 1, size - 1);
        break;
    case '8':
        recording(data + 1, size - 1);
        break;
    default:
        if (data[0] >= '0' && data[0] <= '6') {
            texts[data[0] - '0'](text);
        }
    }
    free(text);
    return 0;
}
