/* SPDX-License-Identifier: BSD-2-Clause */
/* The vectors of docs/protocol.md: see vectors.h. */
#include "tests/support/vectors.h"

#include <check.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/proc.h"

#define BEGIN_MARK "<!-- vectors:begin -->\n"
#define END_MARK "<!-- vectors:end -->\n"

struct vec_set vec_sets[VEC_SETS];
EVP_PKEY *vec_keys[VEC_LOADS], *vec_device;
static const char *const root_names[VEC_ROOTS] = {"root", "root-ec"};
#define RSA KL_SUITE_HARDENED_RSA
#define EC KL_SUITE_HARDENED_EC
const struct vec_expected vec_expected[VEC_LOADS] = {
    {"tdes2", RSA, KL_ALG_TDES2, 1, KL_OAEP_SHA1, "work-2048", 0, 0, 0},
    {"aes128", RSA, KL_ALG_AES128, 2, KL_OAEP_SHA1, "work-3072", 0, 0, 0},
    {"tdes3", RSA, KL_ALG_TDES3, 300, KL_OAEP_SHA256, "work-2048", 0, 0, 0},
    {"classic", KL_SUITE_CLASSIC, KL_ALG_TDES2, 5, KL_OAEP_SHA1, "work-2048", 0, 0, 0},
    {"ec-p256", EC, KL_ALG_AES128, 7, KL_OAEP_SHA1, "work-p256", 1, 0, 0},
    {"ec-p521", EC, KL_ALG_AES256, 65536, KL_OAEP_SHA1, "work-p521", 1, 1, 1},
};
const struct vec_expected_sign_in vec_expected_sign_ins[VEC_SIGN_INS] = {
    {"sign-in-aes", 4, KL_FORMAT_KEYS},
    {"sign-in-tdes", 3, KL_FORMAT_KEYS},
    {"sign-in-field62", 0, KL_FORMAT_FIELD62},
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

    memset(vec_sets, 0, sizeof(vec_sets));
    ck_assert_msg(begin && end, "docs/protocol.md has no vectors");
    *end = '\0';
    for (char *line = strtok_r(begin, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "### ", 4) == 0) {
            ck_assert_uint_lt(count, VEC_SETS);
            set = &vec_sets[count++];
            snprintf(set->name, sizeof(set->name), "%s", line + 4);
        } else if (strncmp(line, "```", 3) == 0) {
            inside = !inside;
        } else if (inside) {
            ck_assert(set != NULL);
            read_line(set, line);
        }
    }
    ck_assert_uint_eq(count, VEC_SETS);
    free(text);
}

static EVP_PKEY *read_key(const char *name)
{
    char path[64];
    FILE *file;
    EVP_PKEY *key;

    snprintf(path, sizeof(path), "tests/data/vector-%s-key.pem", name);
    file = fopen(vec_in_tree(path), "re");
    ck_assert_msg(file != NULL, "%s", path);
    key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    ck_assert_msg(key != NULL, "%s", path);
    fclose(file);
    return key;
}

void vec_setup(void)
{
    read_document();
    for (int i = 0; i < VEC_ROOTS; i++) {
        ck_assert_str_eq(vec_roots[i].name, root_names[i]);
    }
    for (int i = 0; i < VEC_LOADS; i++) {
        ck_assert_str_eq(vec_loads[i].name, vec_expected[i].name);
        vec_keys[i] = read_key(vec_expected[i].key);
    }
    for (int i = 0; i < VEC_SIGN_INS; i++) {
        ck_assert_str_eq(vec_sign_ins[i].name, vec_expected_sign_ins[i].name);
    }
    vec_device = read_key("device-p256");
}

void vec_teardown(void)
{
    for (int i = 0; i < VEC_LOADS; i++) {
        EVP_PKEY_free(vec_keys[i]);
    }
    EVP_PKEY_free(vec_device);
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

int vec_decode(struct vec_set *set, const char *name, struct kl_msg *out)
{
    const struct vec_value *value = vec_get(set, name);
    struct kl_err err = KL_ERR_INIT;

    return kl_msg_decode(value->data, value->len, out, &err) == KL_OK;
}

int vec_coding(struct vec_set *set, const char *name, enum kl_msg_type type)
{
    uint8_t again[KL_MSG_MAX];
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    size_t len;

    return vec_decode(set, name, &msg) && msg.type == type &&
           kl_msg_encode(&msg, again, &len, &err) == KL_OK && vec_is(set, name, again, len);
}

void vec_all_hold(struct vec_set *set, int i, const vec_check *checks)
{
    for (size_t n = 0; checks[n]; n++) {
        ck_assert_msg(checks[n](set, i), "%s: check %zu", set->name, n);
    }
}

static int all_hold(struct vec_set *set, int i, const vec_check *checks)
{
    while (*checks && (*checks)(set, i)) {
        checks++;
    }
    return *checks == NULL;
}

void vec_every_byte_counts(struct vec_set *set, int i, const vec_check *checks)
{
    for (size_t v = 0; v < set->count; v++) {
        struct vec_value *value = &set->values[v];

        for (size_t at = 0; at < value->len; at++) {
            value->data[at] ^= (uint8_t)(1 << at % 8);
            ck_assert_msg(!all_hold(set, i, checks), "%s: byte %zu of %s is checked by nothing",
                          set->name, at, value->name);
            value->data[at] ^= (uint8_t)(1 << at % 8);
        }
    }
    ck_assert(all_hold(set, i, checks));
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

    snprintf(name, sizeof(name), "AES-%zu-CBC", key.len * 8);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, name, 0),
                           OSSL_PARAM_construct_end()};
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

size_t vec_open(enum kl_alg alg, const uint8_t *key, struct kl_bytes in, uint8_t *out)
{
    const struct kl_alg_info *info = kl_alg_info(alg);
    char name[16];

    snprintf(name, sizeof(name), "AES%zu-WRAP", info->key_len * 8);
    return vec_pass(info->is_aes          ? name
                    : alg == KL_ALG_TDES2 ? "DES-EDE-ECB"
                                          : "DES-EDE3-ECB",
                    0, key, in, out);
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

void vec_derive(const char *purpose, struct kl_bytes base, struct kl_bytes t0, struct kl_bytes tail,
                uint8_t label[32], uint8_t key[32])
{
    const struct kl_bytes parts[] = {{(const uint8_t *)"keyloader/1 ", 12},
                                     {(const uint8_t *)purpose, strlen(purpose) + 1}, /* NUL too */
                                     t0,
                                     tail};
    char cipher[16];

    vec_digest(EVP_sha256(), parts, 4, label);
    snprintf(cipher, sizeof(cipher), "AES-%zu-ECB", base.len * 8);
    vec_pass(cipher, 1, base.data, (struct kl_bytes){label, 32}, key);
}

int vec_check_key(struct vec_set *set, const char *purpose, struct kl_bytes base,
                  struct kl_bytes t0, struct kl_bytes tail)
{
    uint8_t label[32], key[32];
    char label_name[24], key_name[24];

    vec_derive(purpose, base, t0, tail, label, key);
    snprintf(label_name, sizeof(label_name), "label_%s", purpose);
    snprintf(key_name, sizeof(key_name), "k_%s", purpose);
    return vec_is(set, label_name, label, 32) && vec_is(set, key_name, key, 32);
}

int vec_is_session_input(struct kl_bytes c_session, struct kl_bytes t0)
{
    static const char label[] = "keyloader/1 session"; /* and its NUL */
    const struct kl_bytes parts[] = {{(const uint8_t *)label, sizeof(label)}, t0};
    uint8_t hash[32];

    vec_digest(EVP_sha256(), parts, 2, hash);
    return c_session.len == 16 && memcmp(c_session.data, hash, 16) == 0;
}

/* 1 if NAME_input is T2 and tail, and NAME_mac its MAC under the key of that name. */
static int check_mac(struct vec_set *set, const char *name, const char *key, struct kl_bytes tail)
{
    char input_name[24], mac_name[24];
    uint8_t input[40], mac[16];

    memcpy(input, vec_get(set, "t2")->data, 32);
    memcpy(input + 32, tail.data, tail.len);
    vec_cmac(vec_bytes(set, key), (struct kl_bytes){input, 32 + tail.len}, mac);
    snprintf(input_name, sizeof(input_name), "%s_input", name);
    snprintf(mac_name, sizeof(mac_name), "%s_mac", name);
    return vec_is(set, input_name, input, 32 + tail.len) && vec_is(set, mac_name, mac, 16);
}

int vec_check_loaded_mac(struct vec_set *set, const char *kcv)
{
    struct kl_bytes value = vec_bytes(set, kcv);
    uint8_t tail[5] = {1};

    memcpy(tail + 1, value.data, value.len);
    return check_mac(set, "loaded", "k_ack", (struct kl_bytes){tail, 1 + value.len});
}

int vec_check_done_mac(struct vec_set *set, const char *name, enum kl_verdict verdict)
{
    const uint8_t tail[] = {(uint8_t)verdict};

    return check_mac(set, name, "k_done", (struct kl_bytes){tail, 1});
}

/* ---- RSA, by RFC 8017 ---- */

int vec_raw_rsa(EVP_PKEY *key, int private, struct kl_bytes in, uint8_t *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t len = KL_RSA_MAX;
    int ok;

    if (private) {
        ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
             EVP_PKEY_decrypt(ctx, out, &len, in.data, in.len) == 1;
    } else {
        ok = EVP_PKEY_encrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
             EVP_PKEY_encrypt(ctx, out, &len, in.data, in.len) == 1;
    }
    EVP_PKEY_CTX_free(ctx);
    return ok && len == in.len;
}

void vec_mgf1_xor(const EVP_MD *md, struct kl_bytes seed, uint8_t *data, size_t len)
{
    size_t hash_len = (size_t)EVP_MD_get_size(md);
    uint8_t mask[64];

    for (size_t i = 0; i < len; i++) {
        const uint8_t counter[4] = {0, 0, 0, (uint8_t)(i / hash_len)};
        const struct kl_bytes parts[] = {seed, {counter, sizeof(counter)}};

        if (i % hash_len == 0) {
            vec_digest(md, parts, 2, mask);
        }
        data[i] ^= mask[i % hash_len];
    }
}

/* ---- Elliptic curves, by SEC 1 and FIPS 186-5 ---- */

static void group_name(EVP_PKEY *key, char name[32])
{
    ck_assert(EVP_PKEY_get_group_name(key, name, 32, NULL) == 1);
}

size_t vec_multiply(EVP_PKEY *key, struct kl_bytes scalar, uint8_t out[KL_EC_POINT_MAX])
{
    char name[32];
    size_t len;

    group_name(key, name);
    EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_sn2nid(name));
    BIGNUM *number = BN_bin2bn(scalar.data, (int)scalar.len, NULL);
    EC_POINT *point = EC_POINT_new(group);

    ck_assert(EC_POINT_mul(group, point, number, NULL, NULL, NULL) == 1);
    len =
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, KL_EC_POINT_MAX, NULL);
    EC_POINT_free(point);
    BN_free(number);
    EC_GROUP_free(group);
    return len;
}

size_t vec_ecdh(EVP_PKEY *key, struct kl_bytes point, uint8_t out[KL_EC_FIELD_MAX])
{
    char name[32];
    EVP_PKEY *peer = NULL;
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    size_t len = KL_EC_FIELD_MAX;
    int ok;

    group_name(key, name);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                             (void *)point.data, point.len),
                           OSSL_PARAM_construct_end()};
    ok = EVP_PKEY_fromdata_init(maker) == 1 &&
         EVP_PKEY_fromdata(maker, &peer, EVP_PKEY_PUBLIC_KEY, params) == 1 &&
         EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
         EVP_PKEY_derive(ctx, out, &len) == 1;
    EVP_PKEY_free(peer);
    EVP_PKEY_CTX_free(maker);
    EVP_PKEY_CTX_free(ctx);
    return ok ? len : 0;
}

int vec_check_ecdsa(EVP_PKEY *key, const EVP_MD *md, struct kl_bytes sig, struct kl_bytes k,
                    struct kl_bytes in)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t half = sig.len / 2;
    uint8_t point[KL_EC_POINT_MAX], *der = NULL;
    int der_len, ok;

    ECDSA_SIG_set0(pair, BN_bin2bn(sig.data, (int)half, NULL),
                   BN_bin2bn(sig.data + half, (int)half, NULL));
    der_len = i2d_ECDSA_SIG(pair, &der);
    /* r is the X coordinate of k * generator; which is below the order here, as mostly. */
    ok = der_len > 0 && vec_multiply(key, k, point) == 1 + sig.len &&
         memcmp(point + 1, sig.data, half) == 0 &&
         EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) == 1 &&
         EVP_DigestVerify(ctx, der, (size_t)der_len, in.data, in.len) == 1;
    OPENSSL_free(der);
    EVP_MD_CTX_free(ctx);
    ECDSA_SIG_free(pair);
    return ok;
}
