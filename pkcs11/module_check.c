/* SPDX-License-Identifier: BSD-2-Clause */
/* A module, row by row: see module_check.h. */
#include "pkcs11/module_check.h"

#include <stdio.h>
#include <time.h>

#include "pkcs11/key_copy.h"
#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "pkcs11/suite.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ANSWER_MAX 640
#define ROUNDS 20 /* of an operation whose time is taken */

#define LABEL "keyloader-check" /* and what it is: so that whatever a crash leaves can be told */
#define STORAGE_LABEL LABEL "-storage"
#define BINDING_LABEL LABEL "-binding"
#define WORK_LABEL LABEL "-work"

struct check {
    struct kl_hsm *hsm;
    struct kl_session *session;
    kl_module_check_fn row;
    void *arg;
    unsigned *weak; /* KL_WEAK_BITs of all that was found */
};

static void tell(const struct check *check, const char *what, const char *answer)
{
    check->row(what, answer, check->arg);
}

static void tell_error(const struct check *check, const char *what, const struct kl_err *why)
{
    char answer[ANSWER_MAX];

    (void)snprintf(answer, sizeof(answer), "no: %s", why->text);
    tell(check, what, answer);
}

/* ---- Weaknesses ---- */

static void tell_weakness(const struct check *check, const char *what,
                          const struct kl_weaknesses *weak, enum kl_weakness which)
{
    char answer[ANSWER_MAX] = "yes";

    if (weak->found & KL_WEAK_BIT(which)) {
        (void)snprintf(answer, sizeof(answer), "no: %s", weak->where[which]);
    }
    tell(check, what, answer);
}

static void tell_policy(const struct check *check, const struct kl_loader *loader)
{
    const struct kl_weaknesses *weak = kl_loader_weaknesses(loader);

    tell(check, "CKA_SENSITIVE and usage flags bind", "yes"); /* or the loader had not opened */
    tell_weakness(check, "CKA_EXTRACTABLE binds", weak, KL_WEAK_EXTRACTABLE);
    tell_weakness(check, "CKA_UNWRAP_TEMPLATE binds", weak, KL_WEAK_UNWRAP_TEMPLATE);
    tell_weakness(check, "CKA_COPYABLE binds", weak, KL_WEAK_COPYABLE);
    tell_weakness(check, "CKA_MODIFIABLE binds", weak, KL_WEAK_MODIFIABLE);
    tell_weakness(check, "CKA_DECRYPT of RSA work and storage keys binds", weak, KL_WEAK_USAGE);
    tell_weakness(check, "CKA_SENSITIVE of token keys binds", weak, KL_WEAK_SENSITIVE);
    tell_weakness(check, "copies of token keys neither decrypt nor come out", weak,
                  KL_WEAK_COPY_LIMITS);
    tell(check, "wraps under a TDES TMK (no host-fallback for PIK and MAK)",
         loader->wraps_tdes ? "yes" : "no");
    tell(check, "RSA-OAEP hash",
         loader->work[0].oaep_hash == KL_OAEP_SHA256 ? "SHA-256" : "SHA-1 only");
}

/* ---- Single operations ---- */

static int has_check_value(const struct check *check, CK_OBJECT_HANDLE key)
{
    uint8_t value[KL_KCV_LEN_MAX];
    CK_ATTRIBUTE attr = {CKA_CHECK_VALUE, value, sizeof(value)};
    CK_RV rv = kl_session_functions(check->session)
                   ->C_GetAttributeValue(kl_session_handle(check->session), key, &attr, 1);

    return rv == CKR_OK && attr.ulValueLen == 3;
}

static int signs_by_des3_cmac(const struct check *check, CK_OBJECT_HANDLE key)
{
    CK_FUNCTION_LIST *f = kl_session_functions(check->session);
    CK_SESSION_HANDLE s = kl_session_handle(check->session);
    CK_MECHANISM mechanism = {CKM_DES3_CMAC, NULL, 0};
    uint8_t in[8] = {0}, mac[16];
    CK_ULONG len = sizeof(mac);

    return f->C_SignInit(s, &mechanism, key) == CKR_OK &&
           f->C_Sign(s, in, sizeof(in), mac, &len) == CKR_OK;
}

static enum kl_rc check_singles(const struct check *check, struct kl_err *err)
{
    CK_OBJECT_HANDLE aes = CK_INVALID_HANDLE, tdes = CK_INVALID_HANDLE;
    static const uint8_t value[KL_TMK_LEN_MAX] = "a known key: for a test";
    enum kl_rc rc = kl_op_generate_tmk(check->session, KL_ALG_AES128, &aes, err);

    if (rc == KL_OK) {
        tell(check, "CKA_CHECK_VALUE of AES keys (not needed: KCVs are computed)",
             has_check_value(check, aes) ? "yes" : "no");
        rc = kl_op_import_value(check->session, KL_ALG_TDES3, value, KL_USE_MAC, &tdes, err);
    }
    if (rc == KL_OK) {
        tell(check, "CKM_DES3_CMAC (not needed: MACs are by ISO 9797-1 algorithm 3)",
             signs_by_des3_cmac(check, tdes) ? "yes" : "no");
    }
    kl_op_destroy(check->session, &tdes);
    kl_op_destroy(check->session, &aes);
    return rc;
}

/* ---- Speed ---- */

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ms of the quickest of some signatures, since others may be at work here; -1: it does not sign. */
static double time_sign(const struct check *check, const struct kl_work *work, CK_OBJECT_HANDLE key)
{
    static const uint8_t in[KL_HASH_LEN];
    struct kl_err ignored = KL_ERR_INIT;
    int64_t best = INT64_MAX;
    uint8_t sig[KL_SIG_MAX];
    size_t len;

    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = now_us();
        enum kl_rc rc = work->type == KL_KEY_EC
                            ? kl_op_sign_ecdsa(check->session, key, kl_curve_by_bits(work->bits),
                                               in, sizeof(in), sig, sizeof(sig), &len, &ignored)
                            : kl_op_sign_pss(check->session, key, in, sizeof(in), sig, sizeof(sig),
                                             &len, &ignored);
        if (rc != KL_OK) {
            return -1;
        }
        start = now_us() - start;
        best = start < best ? start : best;
    }
    return (double)best / 1000;
}

static void tell_speed(const struct check *check, const struct kl_work *work, const char *key_name)
{
    struct kl_err why = KL_ERR_INIT;
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    char what[96], answer[32];

    (void)snprintf(what, sizeof(what), "ms for a signature, token key %s", key_name);
    (void)snprintf(answer, sizeof(answer), "%.2f", time_sign(check, work, work->handle));
    tell(check, what, answer);
    (void)snprintf(what, sizeof(what), "session copies of token keys, %s", key_name);
    if (kl_key_copy(check->session, work->handle, "the key", &copy, &why) != KL_OK) {
        tell_error(check, what, &why);
        return;
    }
    tell(check, what, "yes");
    (void)snprintf(what, sizeof(what), "ms for a signature, session copy of %s", key_name);
    (void)snprintf(answer, sizeof(answer), "%.2f", time_sign(check, work, copy));
    tell(check, what, answer);
    kl_op_destroy(check->session, &copy);
}

/* ---- Suites ---- */

static const struct run {
    enum kl_suite suite;
    unsigned bits;
    const char *what, *key;
    int policy; /* tells of key policy as well */
    int speed;
} runs[] = {
    {KL_SUITE_HARDENED_RSA, 2048, "loads by hardened-rsa, RSA-2048", "RSA-2048", 1, 1},
    {KL_SUITE_HARDENED_RSA, 3072, "loads by hardened-rsa, RSA-3072", "RSA-3072", 0, 0},
    {KL_SUITE_HARDENED_EC, 256, "loads by hardened-ec, P-256", "P-256", 0, 1},
    {KL_SUITE_HARDENED_EC, 384, "loads by hardened-ec, P-384", "P-384", 0, 0},
    {KL_SUITE_HARDENED_EC, 521, "loads by hardened-ec, P-521", "P-521", 0, 0},
    {KL_SUITE_CLASSIC, 2048, "loads by classic, RSA-2048", "RSA-2048", 0, 0},
};

/* With the work key that is there now. */
static void check_loader(const struct check *check, const struct run *run)
{
    static const struct kl_loader_config config = {
        .work_keys = {{WORK_LABEL, 0}},
        .work_key_count = 1,
        .storage_key = STORAGE_LABEL,
        .binding_key = BINDING_LABEL,
        .strength_enforce = 1,
        .accept = KL_WEAK_ALL,
    };
    struct kl_err why = KL_ERR_INIT;
    struct kl_loader *loader = NULL;
    char what[96];

    if (kl_loader_open(kl_hsm_token(check->hsm), &config, &loader, &why) != KL_OK) {
        tell_error(check, run->what, &why);
        return;
    }
    *check->weak |= kl_loader_weaknesses(loader)->found;
    tell(check, run->what, "yes");
    (void)snprintf(what, sizeof(what), "CKA_ALLOWED_MECHANISMS binds, %s",
                   kl_suite_name(run->suite));
    if (run->policy) {
        tell_policy(check, loader);
    }
    if (run->policy || run->speed || run->suite == KL_SUITE_CLASSIC) {
        tell_weakness(check, what, kl_loader_weaknesses(loader), KL_WEAK_ALLOWED_MECHANISMS);
    }
    if (run->speed) {
        tell_speed(check, &loader->work[0], run->key);
    }
    kl_loader_free(loader);
}

static enum kl_rc check_run(const struct check *check, const struct run *run, struct kl_err *err)
{
    struct kl_err why = KL_ERR_INIT;
    EVP_PKEY *key = NULL;

    if (kl_pair_generate(check->session, kl_pair_role_of(run->suite), WORK_LABEL,
                         kl_suite_key_type(run->suite), run->bits, &key, &why) != KL_OK) {
        if (why.rc == KL_ERR_EXISTS) {
            *err = why;
            return why.rc;
        }
        tell_error(check, run->what, &why);
        return KL_OK;
    }
    EVP_PKEY_free(key);
    check_loader(check, run);
    return kl_pair_destroy(check->session, WORK_LABEL, err);
}

static void destroy(const struct check *check,
                    enum kl_rc (*find)(struct kl_session *, const char *, CK_OBJECT_HANDLE *,
                                       struct kl_err *),
                    const char *label)
{
    struct kl_err ignored = KL_ERR_INIT;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

    if (find(check->session, label, &handle, &ignored) == KL_OK) {
        kl_op_destroy(check->session, &handle);
    }
}

enum kl_rc kl_module_check(struct kl_hsm *hsm, kl_module_check_fn row, void *arg,
                           struct kl_err *err)
{
    unsigned weak = 0;
    const struct check check = {hsm, kl_hsm_session(hsm), row, arg, &weak};
    char names[KL_WEAK_NAMES_MAX];
    struct kl_err ignored = KL_ERR_INIT;
    enum kl_rc rc;

    /* What a check that was cut off has left: these labels are ours. */
    (void)!kl_pair_destroy(check.session, WORK_LABEL, &ignored);
    destroy(&check, kl_binding_key_find, BINDING_LABEL);
    destroy(&check, kl_storage_key_find, STORAGE_LABEL);
    rc = kl_storage_key_generate(check.session, STORAGE_LABEL, err);
    if (rc != KL_OK) {
        return rc;
    }
    rc = kl_binding_key_generate(check.session, BINDING_LABEL, err);
    for (size_t i = 0; rc == KL_OK && i < COUNT(runs); i++) {
        rc = check_run(&check, &runs[i], err);
    }
    if (rc == KL_OK) {
        rc = check_singles(&check, err);
    }
    if (rc == KL_OK) {
        kl_weakness_names(weak, names);
        tell(&check, "what [hsm] accept must name", names);
    }
    destroy(&check, kl_binding_key_find, BINDING_LABEL);
    destroy(&check, kl_storage_key_find, STORAGE_LABEL);
    return rc;
}
