/* SPDX-License-Identifier: BSD-2-Clause */
/* The vectors of docs/protocol.md: see vectors.h. */
#include "tests/support/vectors.h"

#include <check.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/proc.h"

#define BEGIN_MARK "<!-- vectors:begin -->\n"
#define END_MARK "<!-- vectors:end -->\n"

struct vec_set vec_root, vec_loads[VEC_LOADS];
EVP_PKEY *vec_keys[VEC_LOADS];
const struct vec_expected vec_expected[VEC_LOADS] = {
    {"tdes2", KL_ALG_TDES2, 1, KL_OAEP_SHA1, "vector-work-2048-key.pem"},
    {"aes128", KL_ALG_AES128, 2, KL_OAEP_SHA1, "vector-work-3072-key.pem"},
    {"tdes3", KL_ALG_TDES3, 300, KL_OAEP_SHA256, "vector-work-2048-key.pem"},
};

/* ---- Reading the document ---- */

const char *vec_in_tree(const char *path)
{
    static char out[PATH_MAX];
    const char *support = getenv("KL_SUPPORT"); /* TREE/tests/support, by tests/run.sh */

    snprintf(out, sizeof(out), "%s%s%s", support ? support : "", support ? "/../../" : "", path);
    return out;
}

static void add_hex(struct vec_value *value, const char *hex)
{
    size_t len = 0;

    hex += strspn(hex, " ");
    if (hex[0] == '\0') {
        return;
    }
    ck_assert_msg(OPENSSL_hexstr2buf_ex(value->data + value->len, VEC_VALUE_MAX - value->len, &len,
                                        hex, '\0') == 1,
                  "%s: %s", value->name, hex);
    value->len += len;
}

/* "name = hex", or "name =" and indented lines of hex. */
static void read_line(struct vec_set *set, const char *line)
{
    const char *equals = strstr(line, " =");
    struct vec_value *value;

    if (line[0] == ' ') {
        ck_assert_uint_gt(set->count, 0);
        add_hex(&set->values[set->count - 1], line);
        return;
    }
    ck_assert_msg(equals && equals - line < (ptrdiff_t)sizeof(value->name), "\"%s\"", line);
    ck_assert_uint_lt(set->count, VEC_SET_MAX);
    value = &set->values[set->count++];
    memcpy(value->name, line, (size_t)(equals - line));
    add_hex(value, equals + 2);
}

static void read_document(void)
{
    char *text = file_read(vec_in_tree("docs/protocol.md"), NULL), *save = NULL;
    char *begin = strstr(text, BEGIN_MARK), *end = strstr(text, END_MARK);
    struct vec_set *set = NULL;
    int inside = 0;
    size_t count = 0;

    memset(vec_loads, 0, sizeof(vec_loads));
    memset(&vec_root, 0, sizeof(vec_root));
    ck_assert_msg(begin && end, "docs/protocol.md has no vectors");
    *end = '\0';
    for (char *line = strtok_r(begin, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "### ", 4) == 0) {
            ck_assert_uint_le(count, VEC_LOADS);
            set = count++ == 0 ? &vec_root : &vec_loads[count - 2];
            snprintf(set->name, sizeof(set->name), "%s", line + 4);
        } else if (strncmp(line, "```", 3) == 0) {
            inside = !inside;
        } else if (inside) {
            ck_assert(set != NULL);
            read_line(set, line);
        }
    }
    ck_assert_uint_eq(count, VEC_LOADS + 1);
    free(text);
}

void vec_setup(void)
{
    char path[64];

    read_document();
    for (int i = 0; i < VEC_LOADS; i++) {
        ck_assert_str_eq(vec_loads[i].name, vec_expected[i].name);
        snprintf(path, sizeof(path), "tests/data/%s", vec_expected[i].key);
        FILE *file = fopen(vec_in_tree(path), "re");
        ck_assert_msg(file != NULL, "%s", path);
        vec_keys[i] = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        ck_assert(vec_keys[i] != NULL);
        fclose(file);
    }
}

void vec_teardown(void)
{
    for (int i = 0; i < VEC_LOADS; i++) {
        EVP_PKEY_free(vec_keys[i]);
    }
}

struct vec_value *vec_get(struct vec_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->values[i].name, name) == 0) {
            return &set->values[i];
        }
    }
    ck_abort_msg("%s: no value %s", set->name, name);
    return NULL;
}

struct kl_bytes vec_bytes(struct vec_set *set, const char *name)
{
    const struct vec_value *value = vec_get(set, name);

    return (struct kl_bytes){value->data, value->len};
}

int vec_is(struct vec_set *set, const char *name, const void *data, size_t len)
{
    const struct vec_value *value = vec_get(set, name);

    return value->len == len && memcmp(value->data, data, len) == 0;
}

/* ---- Cryptography, by the document ---- */

void vec_digest(const EVP_MD *md, const struct kl_bytes *parts, size_t count, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ck_assert(EVP_DigestInit_ex(ctx, md, NULL) == 1);
    for (size_t i = 0; i < count; i++) {
        ck_assert(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1);
    }
    ck_assert(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

void vec_cmac(struct kl_bytes key, struct kl_bytes in, uint8_t out[16])
{
    size_t len = 0;
    char name[16];
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, name, 0),
                           OSSL_PARAM_construct_end()};

    snprintf(name, sizeof(name), "AES-%zu-CBC", key.len * 8);
    ck_assert(EVP_Q_mac(NULL, "CMAC", NULL, NULL, params, key.data, key.len, in.data, in.len, out,
                        16, &len) != NULL);
    ck_assert_uint_eq(len, 16);
}

size_t vec_pass(const char *name, int encrypt, const uint8_t *key, struct kl_bytes in, uint8_t *out)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, ok;

    ck_assert_msg(cipher && ctx, "%s", name);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ck_assert(EVP_CipherInit_ex2(ctx, cipher, key, NULL, encrypt, NULL) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    ok = EVP_CipherUpdate(ctx, out, &len, in.data, (int)in.len);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok == 1 ? (size_t)len : 0;
}

void vec_kcv(enum kl_alg alg, const uint8_t *tmk, uint8_t out[16])
{
    static const uint8_t zeros[16];
    const struct kl_alg_info *info = kl_alg_info(alg);

    if (info->is_aes) {
        vec_cmac((struct kl_bytes){tmk, info->key_len}, (struct kl_bytes){zeros, 16}, out);
    } else {
        vec_pass(alg == KL_ALG_TDES2 ? "DES-EDE-ECB" : "DES-EDE3-ECB", 1, tmk,
                 (struct kl_bytes){zeros, 8}, out);
    }
}

int vec_decode(struct vec_set *set, const char *name, struct kl_msg *out)
{
    const struct vec_value *value = vec_get(set, name);
    struct kl_err err = KL_ERR_INIT;

    return kl_msg_decode(value->data, value->len, out, &err) == KL_OK;
}
