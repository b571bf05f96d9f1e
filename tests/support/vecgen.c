/* SPDX-License-Identifier: BSD-2-Clause */
/* Files, values and arithmetic for the vectors of docs/protocol.md: see vecgen.h. */
#include "tests/support/vecgen.h"

#include <err.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sysexits.h>

#define HEX_WIDTH 64 /* digits in a line */

void vg_need(int ok, const char *what)
{
    if (!ok) {
        errx(EX_SOFTWARE, "%s failed", what);
    }
}

void vg_need_rc(enum kl_rc rc, const struct kl_err *err)
{
    if (rc != KL_OK) {
        errx(EX_SOFTWARE, "%s", err->text);
    }
}

/* ---- Files ---- */

static FILE *open_data(const struct vg *vg, const char *name, const char *suffix)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/vector-%s%s.pem", vg->dir, name, suffix);
    file = fopen(path, "re");
    if (!file) {
        err(EX_NOINPUT, "%s", path);
    }
    return file;
}

struct kl_bytes vg_read_der(const struct vg *vg, const char *name)
{
    FILE *file = open_data(vg, name, "");
    char *type = NULL, *header = NULL;
    uint8_t *data = NULL;
    long len = 0;

    if (PEM_read(file, &type, &header, &data, &len) != 1) {
        errx(EX_DATAERR, "vector-%s.pem: not in PEM form", name);
    }
    OPENSSL_free(type);
    OPENSSL_free(header);
    fclose(file);
    return (struct kl_bytes){data, (size_t)len};
}

void vg_free_der(struct kl_bytes *der)
{
    OPENSSL_free((void *)der->data);
    *der = (struct kl_bytes){NULL, 0};
}

EVP_PKEY *vg_read_key(const struct vg *vg, const char *name)
{
    FILE *file = open_data(vg, name, "-key");
    EVP_PKEY *key = PEM_read_PrivateKey_ex(file, NULL, NULL, NULL, vg->fixed, NULL);

    if (!key) {
        errx(EX_DATAERR, "vector-%s-key.pem: no private key in PEM form", name);
    }
    fclose(file);
    return key;
}

/* ---- Values ---- */

void vg_choose(uint8_t first, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(first + i);
    }
}

void vg_choose_scalar(uint8_t first, const struct kl_curve *curve, uint8_t out[KL_EC_FIELD_MAX])
{
    vg_choose(first, out, curve->field_len);
    if (curve->bits % 8 != 0) {
        out[0] = 0;
    }
}

void vg_hex(const char *hex, uint8_t *out, size_t len)
{
    size_t got = 0;

    vg_need(OPENSSL_hexstr2buf_ex(out, len, &got, hex, '\0') == 1 && got == len, hex);
}

void vg_print(FILE *out, const char *name, const void *value, size_t len)
{
    const uint8_t *bytes = value;

    fprintf(out, "%s =%s", name, len * 2 > HEX_WIDTH ? "\n" : " ");
    for (size_t i = 0; i < len; i++) {
        if (len * 2 > HEX_WIDTH && i % (HEX_WIDTH / 2) == 0) {
            fputs(i ? "\n  " : "  ", out);
        }
        fprintf(out, "%02x", bytes[i]);
    }
    fputc('\n', out);
}

void vg_print_named(FILE *out, const char *prefix, const char *name, const void *value, size_t len)
{
    char full[32];

    snprintf(full, sizeof(full), "%s%s", prefix, name);
    vg_print(out, full, value, len);
}

void vg_print_heading(FILE *out, const char *name, const char *title, const char *serial,
                      const char *pinpad_serial)
{
    fprintf(out, "\n### %s\n\n%s; serial `%s`, PIN pad `%s`.\n\n```text\n", name, title, serial,
            pinpad_serial);
}

void vg_print_end(FILE *out)
{
    fputs("```\n", out);
}

size_t vg_print_message(FILE *out, const char *name, const struct kl_msg *msg, uint8_t *der)
{
    struct kl_err err = KL_ERR_INIT;
    size_t len;

    vg_need_rc(kl_msg_encode(msg, der, &len, &err), &err);
    vg_print(out, name, der, len);
    return len;
}

/* ---- Hashes, ciphers, MACs ---- */

void vg_sha256(const struct kl_bytes *parts, size_t count, uint8_t out[KL_HASH_LEN])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    vg_need(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL), "EVP_DigestInit_ex");
    for (size_t i = 0; i < count; i++) {
        vg_need(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len), "EVP_DigestUpdate");
    }
    vg_need(EVP_DigestFinal_ex(ctx, out, NULL), "EVP_DigestFinal_ex");
    EVP_MD_CTX_free(ctx);
}

static size_t pass(const EVP_CIPHER *type, int encrypt, const uint8_t *key, const uint8_t *in,
                   size_t in_len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;

    vg_need(ctx != NULL, "EVP_CIPHER_CTX_new");
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    vg_need(EVP_CipherInit_ex2(ctx, type, key, NULL, encrypt, NULL) &&
                EVP_CIPHER_CTX_set_padding(ctx, 0) &&
                EVP_CipherUpdate(ctx, out, &len, in, (int)in_len),
            "EVP_CipherUpdate");
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)len;
}

size_t vg_cipher(const EVP_CIPHER *type, const uint8_t *key, const uint8_t *in, size_t in_len,
                 uint8_t *out)
{
    return pass(type, 1, key, in, in_len, out);
}

void vg_decipher_tdes(const struct kl_alg_info *info, const uint8_t *key, const uint8_t *in,
                      size_t len, uint8_t *out)
{
    pass(info->alg == KL_ALG_TDES2 ? EVP_des_ede_ecb() : EVP_des_ede3_ecb(), 0, key, in, len, out);
}

size_t vg_under(const struct kl_alg_info *info, const uint8_t *key, const uint8_t *in,
                size_t in_len, uint8_t *out)
{
    const EVP_CIPHER *type = NULL;

    switch (info->alg) {
    case KL_ALG_TDES2:
        type = EVP_des_ede_ecb();
        break;
    case KL_ALG_TDES3:
        type = EVP_des_ede3_ecb();
        break;
    case KL_ALG_AES128:
        type = EVP_aes_128_wrap();
        break;
    case KL_ALG_AES192:
        type = EVP_aes_192_wrap();
        break;
    case KL_ALG_AES256:
        type = EVP_aes_256_wrap();
        break;
    }
    return vg_cipher(type, key, in, in_len, out);
}

void vg_gcm(const uint8_t *key, const uint8_t *iv, const uint8_t *aad, const uint8_t *in,
            uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;

    vg_need(ctx && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, iv, NULL) &&
                EVP_EncryptUpdate(ctx, NULL, &len, aad, KL_HASH_LEN) &&
                EVP_EncryptUpdate(ctx, out, &len, in, KL_RND2_LEN) &&
                EVP_EncryptFinal_ex(ctx, out + len, &len) &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KL_GCM_TAG_LEN, out + KL_RND2_LEN),
            "AES-256-GCM");
    EVP_CIPHER_CTX_free(ctx);
}

void vg_cmac(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len,
             uint8_t out[KL_MAC_LEN])
{
    char name[16];
    size_t mac_len = 0;

    snprintf(name, sizeof(name), "AES-%zu-CBC", key_len * 8);
    vg_need(EVP_Q_mac(NULL, "CMAC", NULL, name, NULL, key, key_len, in, len, out, KL_MAC_LEN,
                      &mac_len) != NULL &&
                mac_len == KL_MAC_LEN,
            "AES-CMAC");
}

void vg_kcv(const struct kl_alg_info *info, const uint8_t *key, uint8_t out[KL_MAC_LEN])
{
    static const uint8_t zeros[16];

    if (info->is_aes) {
        vg_cmac(key, info->key_len, zeros, sizeof(zeros), out);
    } else {
        vg_under(info, key, zeros, 8, out);
    }
}

void vg_derive(FILE *out, enum kl_purpose purpose, const uint8_t *base, size_t base_len,
               const uint8_t t0[KL_HASH_LEN], uint8_t key[KL_HASH_LEN])
{
    static const char *const names[] = {"wrap", "nonce", "ack", "done", "keys"};
    struct kl_err err = KL_ERR_INIT;
    uint8_t label[KL_HASH_LEN];

    vg_need_rc(kl_suite_label(purpose, t0, label, &err), &err);
    vg_cipher(base_len == 16   ? EVP_aes_128_ecb()
              : base_len == 24 ? EVP_aes_192_ecb()
                               : EVP_aes_256_ecb(),
              base, label, KL_HASH_LEN, key);
    vg_print_named(out, "label_", names[purpose], label, KL_HASH_LEN);
    vg_print_named(out, "k_", names[purpose], key, KL_HASH_LEN);
}

/* ---- Messages that end loads and sign-ins alike ---- */

void vg_print_loaded(FILE *out, const uint8_t k_ack[KL_HASH_LEN], const uint8_t t2[KL_HASH_LEN],
                     struct kl_loaded *loaded)
{
    struct kl_msg msg = {.type = KL_MSG_LOADED};
    uint8_t in[KL_ACK_INPUT_MAX], der[KL_MSG_MAX];
    size_t len = kl_suite_ack_input(t2, loaded->kcv, loaded->kcv_len, in);

    vg_cmac(k_ack, KL_HASH_LEN, in, len, loaded->mac);
    vg_print(out, "loaded_input", in, len);
    vg_print(out, "loaded_mac", loaded->mac, KL_MAC_LEN);
    msg.u.loaded = *loaded;
    vg_print_message(out, "loaded", &msg, der);
}

void vg_print_done(FILE *out, const char *name, const uint8_t k_done[KL_HASH_LEN],
                   const uint8_t t2[KL_HASH_LEN], enum kl_verdict verdict, uint32_t version)
{
    struct kl_msg msg = {.type = KL_MSG_DONE};
    uint8_t in[KL_DONE_INPUT_LEN], der[KL_MSG_MAX];

    kl_suite_done_input(t2, verdict, in);
    msg.u.done.verdict = (uint8_t)verdict;
    msg.u.done.tmk_version = version;
    vg_cmac(k_done, KL_HASH_LEN, in, sizeof(in), msg.u.done.mac);
    vg_print_named(out, name, "_input", in, sizeof(in));
    vg_print_named(out, name, "_mac", msg.u.done.mac, KL_MAC_LEN);
    vg_print_message(out, name, &msg, der);
}

/* ---- RSA with chosen randomness ---- */

static void feed(EVP_RAND_CTX *generator, uint8_t *bytes, size_t len)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_RAND_PARAM_TEST_ENTROPY, bytes,
                                                             len),
                           OSSL_PARAM_construct_end()};

    vg_need(generator && EVP_RAND_CTX_set_params(generator, params), "EVP_RAND_CTX_set_params");
}

/* The public generator gets exactly what the operation needs. */
static void feed_public(const struct vg *vg, const uint8_t *bytes, size_t len)
{
    uint8_t exact[KL_HASH_LEN];

    vg_need(len <= sizeof(exact), "seed or salt");
    memcpy(exact, bytes, len);
    feed(RAND_get0_public(vg->fixed), exact, len);
}

/* The private one gets enough for RSA blinding, which leaves no trace in any result. */
static void feed_private(const struct vg *vg)
{
    uint8_t blinding[8192];

    memset(blinding, 0x5a, sizeof(blinding));
    feed(RAND_get0_private(vg->fixed), blinding, sizeof(blinding));
}

size_t vg_oaep(const struct vg *vg, EVP_PKEY *key, enum kl_oaep_hash hash, const uint8_t *seed,
               size_t seed_len, const uint8_t *in, size_t in_len, uint8_t out[KL_RSA_MAX])
{
    const EVP_MD *md = hash == KL_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(vg->fixed, key, NULL);
    size_t len = KL_RSA_MAX;

    feed_public(vg, seed, seed_len);
    vg_need(ctx && EVP_PKEY_encrypt_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 &&
                EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
                EVP_PKEY_encrypt(ctx, out, &len, in, in_len) == 1,
            "RSA-OAEP");
    EVP_PKEY_CTX_free(ctx);
    return len;
}

size_t vg_pss(const struct vg *vg, EVP_PKEY *key, const uint8_t salt[KL_HASH_LEN],
              const uint8_t *in, size_t in_len, uint8_t out[KL_RSA_MAX])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL; /* md's */
    size_t len = KL_RSA_MAX;

    feed_public(vg, salt, KL_HASH_LEN);
    feed_private(vg);
    vg_need(md && EVP_DigestSignInit_ex(md, &ctx, "SHA256", vg->fixed, NULL, key, NULL) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
                EVP_DigestSign(md, out, &len, in, in_len) == 1,
            "RSASSA-PSS");
    EVP_MD_CTX_free(md);
    return len;
}

size_t vg_rsa_pkcs1(const struct vg *vg, EVP_PKEY *key, const uint8_t *in, size_t in_len,
                    uint8_t out[KL_RSA_MAX])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(vg->fixed, key, NULL);
    size_t len = KL_RSA_MAX;

    feed_private(vg);
    vg_need(ctx && EVP_PKEY_sign_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
                EVP_PKEY_sign(ctx, out, &len, in, in_len) == 1,
            "RSASSA-PKCS1-v1_5");
    EVP_PKEY_CTX_free(ctx);
    return len;
}

/* ---- Elliptic curves ---- */

const struct kl_curve *vg_curve(const EVP_PKEY *key)
{
    const struct kl_curve *curve = kl_curve_by_bits((unsigned)EVP_PKEY_get_bits(key));

    vg_need(curve != NULL, "kl_curve_by_bits");
    return curve;
}

size_t vg_point(const struct kl_curve *curve, const uint8_t *scalar, const EVP_PKEY *base,
                uint8_t out[KL_EC_POINT_MAX])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(curve->nid);
    BIGNUM *number = BN_bin2bn(scalar, (int)curve->field_len, NULL);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    uint8_t encoded[KL_EC_POINT_MAX];
    size_t len = 0;

    vg_need(group && number && point, "EC_POINT_new");
    if (base) {
        vg_need(EVP_PKEY_get_octet_string_param(base, OSSL_PKEY_PARAM_PUB_KEY, encoded,
                                                sizeof(encoded), &len) &&
                    EC_POINT_oct2point(group, point, encoded, len, NULL) &&
                    EC_POINT_mul(group, point, NULL, point, number, NULL),
                "EC_POINT_mul");
    } else {
        vg_need(EC_POINT_mul(group, point, number, NULL, NULL, NULL), "EC_POINT_mul");
    }
    len =
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, KL_EC_POINT_MAX, NULL);
    vg_need(len == curve->point_len, "EC_POINT_point2oct");
    EC_POINT_free(point);
    BN_clear_free(number);
    EC_GROUP_free(group);
    return len;
}

size_t vg_ecdsa(const EVP_PKEY *key, const uint8_t *k, const uint8_t *in, size_t in_len,
                uint8_t out[KL_SIG_MAX])
{
    const struct kl_curve *curve = vg_curve(key);
    EC_GROUP *group = EC_GROUP_new_by_curve_name(curve->nid);
    const BIGNUM *order = group ? EC_GROUP_get0_order(group) : NULL;
    BIGNUM *nonce = BN_bin2bn(k, (int)curve->field_len, NULL), *d = NULL;
    BIGNUM *r, *s = BN_new(), *z;
    BN_CTX *ctx = BN_CTX_new();
    uint8_t point[KL_EC_POINT_MAX], hash[EVP_MAX_MD_SIZE];
    size_t hash_len = 0;

    vg_point(curve, k, NULL, point);
    vg_need(EVP_Q_digest(NULL, curve->hash, NULL, in, in_len, hash, &hash_len), curve->hash);
    r = BN_bin2bn(point + 1, (int)curve->field_len, NULL);
    z = BN_bin2bn(hash, (int)hash_len, NULL); /* no hash is longer than its curve's order */
    vg_need(order && nonce && r && s && z && ctx &&
                EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &d) &&
                BN_nnmod(r, r, order, ctx) && BN_mod_mul(s, r, d, order, ctx) &&
                BN_mod_add(s, s, z, order, ctx) && BN_mod_inverse(nonce, nonce, order, ctx) &&
                BN_mod_mul(s, s, nonce, order, ctx) && !BN_is_zero(r) && !BN_is_zero(s) &&
                BN_bn2binpad(r, out, (int)curve->field_len) > 0 &&
                BN_bn2binpad(s, out + curve->field_len, (int)curve->field_len) > 0,
            "ECDSA");
    BN_CTX_free(ctx);
    BN_free(z);
    BN_free(s);
    BN_free(r);
    BN_clear_free(d);
    BN_clear_free(nonce);
    EC_GROUP_free(group);
    return 2 * curve->field_len;
}
