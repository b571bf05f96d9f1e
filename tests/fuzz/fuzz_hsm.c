/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an HSM worker does for a LOAD or a SIGN_IN (pkcs11/loader.c, loader_signin.c, suites), with
 * messages of a real terminal that were edited on their way, and a token that fails or lies at any
 * call. A load whose bytes were touched never ends well; no result is longer than its room; nothing
 * stays in the token.
 */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pkcs11/keys.h"
#include "terminal-sim/load.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/lying_p11.h"
#include "tests/support/fakeloader.h"
#include "tests/support/p11.h"

enum { WORKS = 3 };
static const struct {
    const char *label;
    enum kl_pair_role role;
    enum kl_key_type type;
    unsigned bits;
} works[WORKS] = {
    {"work", KL_PAIR_WORK, KL_KEY_RSA, 2048},
    {"classic", KL_PAIR_WORK_CLASSIC, KL_KEY_RSA, 2048},
    {"ec", KL_PAIR_WORK_EC, KL_KEY_EC, 256},
};

/* What a terminal and its loader said, with each work key. */
static struct said {
    uint8_t hello[KL_MSG_MAX], certificate[KL_MSG_MAX], randoms[KL_MSG_MAX];
    size_t hello_len, certificate_len, randoms_len;
} said[WORKS];

static struct kl_loader *loader;
static struct kl_stored_key import, tmk; /* of T-0001 */
static uint8_t sign_in[KL_MSG_MAX];
static size_t sign_in_len;

/* ---- Once ---- */

static void talk(size_t i, EVP_PKEY *key)
{
    struct kl_terminal_load_params params = {.serial = FAKE_SERIAL,
                                             .pinpad_serial = "P-0001",
                                             .suites = {KL_SUITE_HARDENED_RSA, KL_SUITE_CLASSIC,
                                                        KL_SUITE_HARDENED_EC},
                                             .suite_count = 3,
                                             .algs = {KL_ALG_TDES2, KL_ALG_TDES3},
                                             .alg_count = 2,
                                             .now = time(NULL)};
    struct kl_terminal_load *load = NULL;
    struct kl_rogue shown;
    struct kl_err err = KL_ERR_INIT;

    params.roots = sk_X509_new_null();
    require(sk_X509_push(params.roots, root) > 0);
    require(kl_pinpad_memory_new(&params.pad, &err) == KL_OK);
    fake_loader_init(&shown);
    shown.suite = i == 0 ? KL_SUITE_HARDENED_RSA : i == 1 ? KL_SUITE_CLASSIC : KL_SUITE_HARDENED_EC;
    shown.work = fake_new_cert("Loader", key, root, fake_root_key, NULL);
    require(kl_terminal_load_new(&params, &load, &err) == KL_OK);
    require(kl_terminal_load_hello(load, said[i].hello, &said[i].hello_len, &err) == KL_OK);
    fake_say_certificate(&shown, said[i].hello, said[i].hello_len, said[i].certificate,
                         &said[i].certificate_len);
    require(kl_terminal_load_step(load, said[i].certificate, said[i].certificate_len,
                                  said[i].randoms, &said[i].randoms_len, &err) == KL_OK);
    kl_terminal_load_free(load);
    kl_pinpad_free(params.pad);
    X509_free(shown.work);
    sk_X509_free(params.roots);
}

static void close_token(void)
{
    kl_loader_free(loader);
    test_token_close(&hsm);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kl_loader_config config = p11_config;
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_SIGN_IN};

    (void)argc;
    (void)argv;
    fuzz_secrets();
    fake_make_keys();
    test_token_open(&hsm, lying_p11());
    p11_make_store_keys();
    config.work_key_count = WORKS;
    config.host_fallback = 1;
    for (size_t i = 0; i < WORKS; i++) {
        EVP_PKEY *key = NULL;

        require(kl_pair_generate(hsm.session, works[i].role, works[i].label, works[i].type,
                                 works[i].bits, &key, &err) == KL_OK);
        talk(i, key);
        EVP_PKEY_free(key);
        config.work_keys[i].label = works[i].label;
    }
    require(kl_loader_open(hsm.token, &config, &loader, &err) == KL_OK);
    require(atexit(close_token) == 0);
    import = p11_stored_key(KL_ALG_TDES2, NULL, KL_BINDING_IMPORT, FAKE_SERIAL, 0);
    tmk = p11_stored_key(KL_ALG_TDES2, NULL, KL_BINDING_TMK, FAKE_SERIAL, 7);
    msg.u.sign_in.version = KL_PROTOCOL_VERSION;
    strcpy(msg.u.sign_in.serial, FAKE_SERIAL);
    strcpy(msg.u.sign_in.pinpad_serial, "P-0001");
    msg.u.sign_in.tmk_version = 7;
    msg.u.sign_in.format = KL_FORMAT_KEYS;
    require(kl_msg_encode(&msg, sign_in, &sign_in_len, &err) == KL_OK);
    return 0;
}

/* ---- Each input ---- */

/* A copy of a message that the script has had; *touched: it is another. */
static struct kl_bytes edited(struct script *script, uint8_t buffer[KL_MSG_MAX], const uint8_t *der,
                              size_t len, int *touched)
{
    size_t new_len;

    memcpy(buffer, der, len);
    new_len = script_edit(script, buffer, len, KL_MSG_MAX);
    *touched |= new_len != len || memcmp(buffer, der, len) != 0;
    return (struct kl_bytes){buffer, new_len};
}

static struct kl_stored_key edited_key(struct script *script, const struct kl_stored_key *key,
                                       int *touched)
{
    struct kl_stored_key copy = *key;

    (void)script_edit(script, copy.cryptogram, copy.cryptogram_len, copy.cryptogram_len);
    (void)script_edit(script, copy.binding, sizeof(copy.binding), sizeof(copy.binding));
    (void)script_edit(script, copy.kcv, copy.kcv_len, copy.kcv_len);
    *touched |= memcmp(copy.cryptogram, key->cryptogram, copy.cryptogram_len) != 0 ||
                memcmp(copy.binding, key->binding, sizeof(copy.binding)) != 0 ||
                memcmp(copy.kcv, key->kcv, copy.kcv_len) != 0;
    return copy;
}

static int all_is(const void *data, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++) {
        if (((const uint8_t *)data)[i] != value) {
            return 0;
        }
    }
    return 1;
}

static void check_key(const struct kl_stored_key *key, size_t kcv_len)
{
    require(key->cryptogram_len <= sizeof(key->cryptogram) && key->kcv_len == kcv_len);
}

static void run_load(struct script *script)
{
    static uint8_t hello[KL_MSG_MAX], certificate[KL_MSG_MAX], randoms[KL_MSG_MAX];
    static struct kl_load_out out;
    struct kl_err err = KL_ERR_INIT;
    struct kl_stored_key key;
    struct kl_msg msg;
    size_t i = script_below(script, WORKS), shown = script_below(script, 8) == 7 ? 0 : i;
    int touched = shown != i, bound = 0, imported = script_below(script, 4) == 3;
    struct kl_load_in in = {.work_key = works[i].label,
                            .alg = script_below(script, 2) ? KL_ALG_TDES3 : KL_ALG_TDES2,
                            .tmk_version = 1 + script_below(script, 3),
                            .kcv_len = 3 + script_below(script, 2)};
    const struct said *s = &said[shown];
    enum kl_rc rc;

    in.hello = edited(script, hello, s->hello, s->hello_len, &bound);
    in.certificate = edited(script, certificate, s->certificate, s->certificate_len, &bound);
    /* Nothing in C_rnd1_rnd2 of classic is bound to what was said before: there it is the terminal
     * that finds out, by T1. */
    touched |= bound && works[i].role != KL_PAIR_WORK_CLASSIC;
    in.randoms = edited(script, randoms, s->randoms, s->randoms_len, &touched);
    if (imported) {
        key = edited_key(script, &import, &touched);
        touched |= in.alg != key.alg;
        in.tmk = &key;
    }
    memset(&out, 0xa5, sizeof(out));
    lying_p11_begin(script);
    rc = kl_loader_run(loader, &in, &out, &err);
    if (rc != KL_OK) {
        fuzz_failed_well(rc, &err);
        require(all_is(&out, sizeof(out), 0xa5));
        require(touched || bound || lying_p11_did());
        return;
    }
    require(!touched);
    require(out.master_key_len <= sizeof(out.master_key) && out.kcv_len == in.kcv_len);
    require(out.cryptogram_len == kl_alg_info(in.alg)->key_len + 8);
    require(kl_msg_decode(out.master_key, out.master_key_len, &msg, &err) == KL_OK);
    require(msg.type == KL_MSG_MASTER_KEY && msg.u.master_key.tbs.version == in.tmk_version);
    require(msg.u.master_key.tbs.alg == in.alg);
    require(bound || strcmp(msg.u.master_key.tbs.serial, FAKE_SERIAL) == 0);
}

static void run_sign_in(struct script *script)
{
    static uint8_t buffer[KL_MSG_MAX];
    static struct kl_sign_in_out out;
    struct kl_err err = KL_ERR_INIT;
    struct kl_sign_in_in in = {.tmk_version = 7, .kcv_len = 3 + script_below(script, 2)};
    struct kl_stored_key key;
    struct kl_msg msg;
    int touched = 0, nonce = 0;
    enum kl_rc rc;

    key = edited_key(script, &tmk, &touched);
    in.tmk = &key;
    in.sign_in = edited(script, buffer, sign_in, sign_in_len, &nonce);
    memset(&out, 0xa5, sizeof(out));
    lying_p11_begin(script);
    rc = kl_loader_sign_in(loader, &in, &out, &err);
    if (rc != KL_OK) {
        fuzz_failed_well(rc, &err);
        require(all_is(&out, sizeof(out), 0xa5));
        require(touched || nonce || lying_p11_did());
        return;
    }
    require(!touched); /* another SignIn of the same terminal may be a good one: nobody signs it */
    require(out.message_len <= sizeof(out.message));
    require(kl_msg_decode(out.message, out.message_len, &msg, &err) == KL_OK);
    require(msg.type == KL_MSG_WORKING_KEYS && msg.u.working_keys.tmk_version == 7);
    check_key(&out.pik, in.kcv_len);
    check_key(&out.mak, in.kcv_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct kl_err err = KL_ERR_INIT;
    int lied;

    if (script_below(&script, 4) == 3) {
        run_sign_in(&script);
    } else {
        run_load(&script);
    }
    lied = lying_p11_did();
    lying_p11_begin(NULL);
    if (lied) {
        lying_p11_settle();
    } else {
        require(test_session_objects(hsm.session) == 0);
        require(kl_loader_alive(loader, &err) == KL_OK);
    }
    return 0;
}
