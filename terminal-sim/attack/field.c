/* SPDX-License-Identifier: BSD-2-Clause */
/* See field.h. A message is a TLV whose value is TLVs; names are matched to tags in order. */
#include "terminal-sim/attack/field.h"

#include <string.h>

enum { INTEGER = 0x02, OCTETS = 0x04, UTF8 = 0x0c, IA5 = 0x16, SEQUENCE = 0x30 };

struct field {
    const char *name; /* NULL ends a list */
    uint8_t tag;
    const struct field *inner; /* NULL = nothing that has a name */
};

static const struct field tbs[] = {{"t1", OCTETS, NULL},       {"rnd2", 0x80, NULL},
                                   {"ctmk", 0x81, NULL},       {"serial", IA5, NULL},
                                   {"usage", INTEGER, NULL},   {"algorithm", INTEGER, NULL},
                                   {"version", INTEGER, NULL}, {"kcvMethod", INTEGER, NULL},
                                   {"kcv", OCTETS, NULL},      {NULL, 0, NULL}};
static const struct field loaded[] = {{"kcv", OCTETS, NULL}, {"mac", OCTETS, NULL}, {0}};
static const struct field wrapped[] = {{"data", OCTETS, NULL}, {"kcv", OCTETS, NULL}, {0}};
static const struct field body[] = {{"tmkVersion", INTEGER, NULL},
                                    {"algorithm", INTEGER, NULL},
                                    {"cSession", OCTETS, NULL},
                                    {"pik", 0xa0, wrapped},
                                    {"mak", 0xa1, wrapped},
                                    {"field62", 0x82, NULL},
                                    {NULL, 0, NULL}};
static const struct field hello[] = {{"version", INTEGER, NULL},     {"suites", SEQUENCE, NULL},
                                     {"algorithms", SEQUENCE, NULL}, {"serial", IA5, NULL},
                                     {"pinpadSerial", IA5, NULL},    {"anchors", 0xa0, NULL},
                                     {"chain", 0xa1, NULL},          {NULL, 0, NULL}};
static const struct field certificate[] = {{"suite", INTEGER, NULL}, {"oaepHash", INTEGER, NULL},
                                           {"nonce", OCTETS, NULL},  {"chain", SEQUENCE, NULL},
                                           {"crl", 0xa0, NULL},      {NULL, 0, NULL}};
static const struct field randoms[] = {{"cRnd1", OCTETS, NULL},   {"point", 0x80, NULL},
                                       {"iv", 0x81, NULL},        {"cRnd2", 0x82, NULL},
                                       {"signature", 0x83, NULL}, {NULL, 0, NULL}};
static const struct field master_key[] = {{"tbs", SEQUENCE, tbs},
                                          {"signature", OCTETS, NULL},
                                          {"mac", 0x80, NULL},
                                          {NULL, 0, NULL}};
static const struct field failed[] = {{"reason", INTEGER, NULL}, {NULL, 0, NULL}};
static const struct field done[] = {{"verdict", INTEGER, NULL},
                                    {"tmkVersion", INTEGER, NULL},
                                    {"mac", OCTETS, NULL},
                                    {0}};
static const struct field confirm[] = {{"version", INTEGER, NULL},   {"serial", IA5, NULL},
                                       {"pinpadSerial", IA5, NULL},  {"tmkVersion", INTEGER, NULL},
                                       {"loaded", SEQUENCE, loaded}, {NULL, 0, NULL}};
static const struct field error[] = {{"code", INTEGER, NULL},
                                     {"retryAfter", INTEGER, NULL},
                                     {"text", UTF8, NULL},
                                     {0}};
static const struct field sign_in[] = {{"version", INTEGER, NULL},
                                       {"serial", IA5, NULL},
                                       {"pinpadSerial", IA5, NULL},
                                       {"tmkVersion", INTEGER, NULL},
                                       {"format", INTEGER, NULL},
                                       {"nonce", OCTETS, NULL},
                                       {NULL, 0, NULL}};
static const struct field working_keys[] = {{"body", SEQUENCE, body},
                                            {"mac", OCTETS, NULL},
                                            {NULL, 0, NULL}};

static const struct field *const messages[KL_MSG_TYPE_COUNT] = {
    [KL_MSG_HELLO] = hello,
    [KL_MSG_CERTIFICATE] = certificate,
    [KL_MSG_RANDOMS] = randoms,
    [KL_MSG_MASTER_KEY] = master_key,
    [KL_MSG_LOADED] = loaded,
    [KL_MSG_FAILED] = failed,
    [KL_MSG_DONE] = done,
    [KL_MSG_CONFIRM] = confirm,
    [KL_MSG_ERROR] = error,
    [KL_MSG_SIGN_IN] = sign_in,
    [KL_MSG_WORKING_KEYS] = working_keys,
};

/* The field whose name is the first part of *name, which goes on behind the dot after it. */
static const struct field *step(const struct field *list, const char **name)
{
    size_t len = strcspn(*name, ".");

    for (; list && list->name; list++) {
        if (strlen(list->name) == len && strncmp(list->name, *name, len) == 0) {
            *name += len + ((*name)[len] == '.');
            return list;
        }
    }
    return NULL;
}

int kl_field_known(enum kl_msg_type type, const char *name)
{
    const struct field *list = messages[type], *field;

    do {
        field = step(list, &name);
        list = field ? field->inner : NULL;
    } while (field && *name);
    return field != NULL;
}

/* The TLV at `at`, within end. */
static int read_tlv(const uint8_t *der, size_t at, size_t end, struct kl_span *out)
{
    size_t len, bytes;

    if (end - at < 2 || (der[at] & 0x1f) == 0x1f) {
        return 0;
    }
    len = der[at + 1];
    out->at = at;
    out->header = 2;
    if (len >= 0x80) {
        bytes = len & 0x7f;
        if (bytes == 0 || bytes > 2 || end - at < 2 + bytes) {
            return 0;
        }
        len = bytes == 1 ? der[at + 2] : (size_t)(der[at + 2] << 8 | der[at + 3]);
        out->header += bytes;
    }
    out->len = len;
    return end - at - out->header >= len;
}

static size_t end_of(const struct kl_span *span)
{
    return span->at + span->header + span->len;
}

#define DEPTH_MAX 4 /* the message, and what a name can lead to in it */

/* The spans from the message to the field of that name: how many, 0 = there is none. */
static size_t find(const uint8_t *der, size_t len, const char *name, struct kl_span path[DEPTH_MAX])
{
    const struct field *list, *field;
    size_t depth = 1;

    if (len == 0 || !read_tlv(der, 0, len, &path[0])) {
        return 0;
    }
    if (der[0] == SEQUENCE) {
        list = tbs; /* the signed part alone */
        name += strncmp(name, "tbs.", 4) == 0 ? 4 : 0;
    } else {
        list = der[0] >= 0xa0 && der[0] < 0xa0 + KL_MSG_TYPE_COUNT ? messages[der[0] - 0xa0] : NULL;
    }
    while (*name) {
        const struct kl_span *outer = &path[depth - 1]; /* DEPTH_MAX is what names lead to */
        size_t at = outer->at + outer->header, end = end_of(outer);
        const struct field *due = list;

        field = step(list, &name);
        for (; field && at < end && read_tlv(der, at, end, &path[depth]);
             at = end_of(&path[depth])) {
            while (due->name && due->tag != der[at]) {
                due++;
            }
            if (due == field || !due->name) {
                break;
            }
            due++;
        }
        if (!field || due != field || at >= end) {
            return 0;
        }
        depth++;
        list = field->inner;
    }
    return depth;
}

static enum kl_rc missing(const char *name, struct kl_err *err)
{
    return kl_err_set(err, KL_ERR_NOT_FOUND, "the message has no field %.60s", name);
}

enum kl_rc kl_field_find(const uint8_t *der, size_t len, const char *name, struct kl_span *out,
                         struct kl_err *err)
{
    struct kl_span path[DEPTH_MAX];
    size_t depth = find(der, len, name, path);

    if (!depth) {
        return missing(name, err);
    }
    *out = path[depth - 1];
    return KL_OK;
}

static size_t put_header(uint8_t tag, size_t len, uint8_t out[4])
{
    size_t n = 0;

    out[n++] = tag;
    if (len >= 0x100) {
        out[n++] = 0x82;
        out[n++] = (uint8_t)(len >> 8);
    } else if (len >= 0x80) {
        out[n++] = 0x81;
    }
    out[n++] = (uint8_t)len;
    return n;
}

/* Puts bytes in the place of the last span of the path, and makes the lengths around it anew, from
 * the inside out. */
static enum kl_rc splice(uint8_t *der, size_t *len, const struct kl_span *path, size_t depth,
                         const uint8_t *in, size_t in_len, struct kl_err *err)
{
    uint8_t now[KL_MSG_MAX], next[KL_MSG_MAX], header[4];
    size_t n = in_len;

    if (in_len > sizeof(now)) {
        return kl_err_set(err, KL_ERR_INPUT, "the message would get too long");
    }
    memcpy(now, in, in_len);
    for (size_t i = depth - 1; i > 0; i--) {
        const struct kl_span *outer = &path[i - 1], *inner = &path[i];
        size_t begin = outer->at + outer->header, before = inner->at - begin,
               after = end_of(outer) - end_of(inner), header_len;

        header_len = put_header(der[outer->at], before + n + after, header);
        if (header_len + before + n + after > sizeof(next)) {
            return kl_err_set(err, KL_ERR_INPUT, "the message would get too long");
        }
        memcpy(next, header, header_len);
        memcpy(next + header_len, der + begin, before);
        memcpy(next + header_len + before, now, n);
        memcpy(next + header_len + before + n, der + end_of(inner), after);
        n += header_len + before + after;
        memcpy(now, next, n);
    }
    memcpy(der, now, n);
    *len = n;
    return KL_OK;
}

enum kl_rc kl_field_set(uint8_t *der, size_t *len, const char *name, const uint8_t *value,
                        size_t value_len, struct kl_err *err)
{
    struct kl_span path[DEPTH_MAX];
    uint8_t tlv[KL_MSG_MAX];
    size_t header, depth = find(der, *len, name, path);

    if (!depth) {
        return missing(name, err);
    }
    if (value_len > sizeof(tlv) - 4) {
        return kl_err_set(err, KL_ERR_INPUT, "the value is too long");
    }
    header = put_header(der[path[depth - 1].at], value_len, tlv);
    memcpy(tlv + header, value, value_len);
    return splice(der, len, path, depth, tlv, header + value_len, err);
}

enum kl_rc kl_field_remove(uint8_t *der, size_t *len, const char *name, struct kl_err *err)
{
    struct kl_span path[DEPTH_MAX];
    size_t depth = find(der, *len, name, path);

    return depth > 1 ? splice(der, len, path, depth, (const uint8_t *)"", 0, err)
                     : missing(name, err);
}

size_t kl_field_walk(const uint8_t *der, size_t len, struct kl_span *out, size_t max)
{
    size_t count = 0, level_begin = 0, level_end;

    if (max == 0 || !read_tlv(der, 0, len, &out[0])) {
        return 0;
    }
    count = 1;
    for (int level = 0; level < 2; level++) {
        level_end = count;
        for (size_t i = level_begin; i < level_end; i++) {
            size_t at = out[i].at + out[i].header, end = end_of(&out[i]);

            if (!(der[out[i].at] & 0x20)) {
                continue; /* primitive */
            }
            while (at < end && count < max && read_tlv(der, at, end, &out[count])) {
                at = end_of(&out[count++]);
            }
        }
        level_begin = level_end;
    }
    return count;
}
