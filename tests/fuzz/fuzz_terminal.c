/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal's side, load and sign-in, in front of a loader that signs what a script tells it to
 * and a network that does to its messages what the script says. Whatever comes: nothing but
 * untouched messages ends a load or a sign-in well, and a refused load leaves no TMK.
 */
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "terminal-sim/load.h"
#include "terminal-sim/signin.h"
#include "tests/fuzz/input.h"
#include "tests/support/fakeloader.h"
#include "tests/support/messages.h"

static STACK_OF(X509) * roots;
static X509_CRL *crl;
static X509 *crl_work; /* an AcquireWCRT that names its CRL */

/* What the script of this input says; and what its callbacks need of it. */
static struct script script;
static struct kl_rogue loader;
static int spoilt; /* the loader signed something that no loader of this load would */
static int recorded;

struct machine {
    struct kl_pinpad *pad;
    struct kl_terminal_load_params params;
    uint8_t out[KL_MSG_MAX]; /* what the terminal said last */
    size_t out_len;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct kl_rogue_profile names_crl = {.crl_scope = KL_CRL_SCOPE_LOADER};
    static const struct kl_rogue_crl_profile good_crl = {0};

    (void)argc;
    (void)argv;
    fuzz_secrets();
    fake_make_keys();
    roots = sk_X509_new_null();
    require(roots != NULL && sk_X509_push(roots, root) > 0);
    crl_work = fake_new_cert("Loader CRL", fake_work_key, root, fake_root_key, &names_crl);
    crl = fake_new_crl(root, fake_root_key, &good_crl);
    return 0;
}

/* ---- What the loader is made to say ---- */

static void spoil_tbs(struct kl_rogue *from, struct kl_tbs *tbs)
{
    struct kl_tbs good = *tbs;
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_TBS_MAX], good_der[KL_TBS_MAX];
    size_t len, good_len;

    require(kl_tbs_encode(tbs, good_der, &good_len, &err) == KL_OK);
    switch (script_below(&script, 12)) {
    case 1:
        script_bytes(&script, tbs->t1, sizeof(tbs->t1));
        break;
    case 2:
        script_bytes(&script, tbs->rnd2, sizeof(tbs->rnd2));
        break;
    case 3:
        tbs->ctmk[script_below(&script, (unsigned)tbs->ctmk_len)] ^= script_byte(&script);
        break;
    case 4:
        strcpy(tbs->serial, "T-0002");
        break;
    case 5:
        tbs->alg = (uint8_t)(1 + script_below(&script, KL_ALG_AES256));
        break;
    case 6:
        tbs->kcv_method = (uint8_t)(1 + script_below(&script, 2));
        break;
    case 7:
        script_bytes(&script, tbs->kcv, tbs->kcv_len);
        break;
    case 8:
        if (tbs->kcv_len == 3) { /* a shorter one would be right as well */
            tbs->kcv_len = 4;
            tbs->kcv[3] = from->kcv[3] ^ 1;
        }
        break;
    case 9: /* a zero Rnd2, as of who has not read it */
        memset(tbs->rnd2, 0, sizeof(tbs->rnd2));
        break;
    default:
        break;
    }
    if (kl_tbs_encode(tbs, der, &len, &err) != KL_OK) { /* nobody can say that */
        *tbs = good;
        return;
    }
    spoilt = len != good_len || memcmp(der, good_der, len) != 0;
}

static void spoil_keys(struct kl_rogue *from, struct kl_working_keys *keys)
{
    struct kl_working_keys good = *keys;
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_KEYS_BODY_MAX], good_der[KL_KEYS_BODY_MAX];
    size_t len, good_len;

    (void)from;
    require(kl_keys_body_encode(keys, good_der, &good_len, &err) == KL_OK);
    switch (script_below(&script, 8)) {
    case 1:
        if (keys->pik.len > 0) {
            keys->pik.data[script_below(&script, (unsigned)keys->pik.len)] ^= script_byte(&script);
        }
        break;
    case 2:
        keys->mak = keys->pik;
        break;
    case 3:
        script_bytes(&script, keys->mak.kcv, keys->mak.kcv_len);
        break;
    case 4:
        keys->c_session[script_below(&script, (unsigned)keys->c_session_len)] ^=
            script_byte(&script);
        break;
    case 5:
        keys->field62[script_below(&script, KL_FIELD62_LEN)] ^= script_byte(&script);
        break;
    case 6:
        keys->tmk_version += script_byte(&script);
        break;
    default:
        break;
    }
    if (kl_keys_body_encode(keys, der, &len, &err) != KL_OK) {
        *keys = good;
        return;
    }
    spoilt = len != good_len || memcmp(der, good_der, len) != 0;
}

/* ---- The terminal ---- */

static enum kl_rc on_record(void *arg, const struct kl_candidate *candidate, struct kl_err *err)
{
    struct machine *m = arg;
    struct kl_pinpad_tmk tmks[KL_PINPAD_TMK_MAX];
    size_t count = 0;

    /* The record is there before the key is, and says "whole" only once it is. */
    require(candidate->version > 0);
    require(kl_pinpad_list(m->pad, tmks, &count, err) == KL_OK);
    require(count == (candidate->whole ? 1 : 0));
    recorded = 1;
    return script_below(&script, 8) == 7 ? kl_err_set(err, KL_ERR_IO, "disk full") : KL_OK;
}

static enum kl_rc on_forget(void *arg, uint32_t version, struct kl_err *err)
{
    struct machine *m = arg;

    recorded = 0;
    return kl_pinpad_destroy(m->pad, version, err);
}

static size_t tmks(struct machine *m)
{
    struct kl_pinpad_tmk list[KL_PINPAD_TMK_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t count = 0;

    require(kl_pinpad_list(m->pad, list, &count, &err) == KL_OK);
    return count;
}

static void set_up(struct machine *m)
{
    static const uint8_t suites[] = {KL_SUITE_HARDENED_RSA, KL_SUITE_CLASSIC, KL_SUITE_HARDENED_EC};
    struct kl_err err = KL_ERR_INIT;
    unsigned kind = script_below(&script, 3);

    require(kl_pinpad_memory_new(&m->pad, &err) == KL_OK);
    m->params = (struct kl_terminal_load_params){.serial = FAKE_SERIAL,
                                                 .pinpad_serial = "P-0001",
                                                 .roots = roots,
                                                 .pad = m->pad,
                                                 .now = time(NULL),
                                                 .record = on_record,
                                                 .forget = on_forget,
                                                 .arg = m};
    memcpy(m->params.suites, suites, sizeof(suites));
    m->params.suite_count = sizeof(suites);
    for (int alg = KL_ALG_TDES2; alg <= KL_ALG_AES256; alg++) {
        m->params.algs[m->params.alg_count++] = (enum kl_alg)alg;
    }
    fake_loader_init(&loader);
    if (kind == 1) {
        loader.suite = KL_SUITE_CLASSIC;
    } else if (kind == 2) {
        fake_loader_ec(&loader, fake_ec_key, fake_ec_work);
    }
    /* No stronger than the work key. */
    loader.alg = (enum kl_alg)(KL_ALG_TDES2 + script_below(&script, kind == 2 ? 3 : 2));
    loader.kcv_len = 3 + script_below(&script, 2);
    loader.spoil_tbs = spoil_tbs;
    loader.spoil_keys = spoil_keys;
    if (kind < 2 && script_below(&script, 2) == 1) {
        loader.work = crl_work;
        loader.crl = script_below(&script, 2) == 0 ? crl : NULL; /* else it lacks its CRL */
    }
}

/* Gives the terminal a message of the loader after the network has had it. *touched: it is not what
 * the loader said. */
static enum kl_rc give(struct machine *m, struct kl_terminal_load *load, struct kl_signin *sign_in,
                       const uint8_t *der, size_t len, int *touched)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t message[KL_MSG_MAX];
    size_t out_len = 0, new_len;
    enum kl_rc rc;

    memcpy(message, der, len);
    new_len = script_edit(&script, message, len, sizeof(message));
    *touched = new_len != len || memcmp(message, der, len) != 0;
    rc = load ? kl_terminal_load_step(load, message, new_len, m->out, &out_len, &err)
              : kl_signin_step(sign_in, message, new_len, m->out, &out_len, &err);
    m->out_len = out_len;
    require(out_len <= KL_MSG_MAX);
    if (rc != KL_OK) {
        struct kl_msg said;

        fuzz_failed_well(rc, &err);
        require(out_len == 0 || (kl_msg_decode(m->out, out_len, &said, &err) == KL_OK &&
                                 said.type == KL_MSG_FAILED));
    }
    return rc;
}

/* A message that is not the one that is due, of any kind, before it: ends the exchange. */
static int interrupt(struct machine *m, struct kl_terminal_load *load, struct kl_signin *sign_in,
                     enum kl_msg_type due)
{
    unsigned sample = script_below(&script, TEST_SAMPLE_COUNT + 1);
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    uint8_t der[KL_MSG_MAX];
    size_t len;
    int touched;

    if (sample == 0) {
        return 0; /* Hello, of which there is no end elsewhere */
    }
    test_sample(sample - 1, &msg);
    if (kl_msg_encode(&msg, der, &len, &err) != KL_OK || msg.type == due) {
        return 0;
    }
    require(give(m, load, sign_in, der, len, &touched) != KL_OK || touched);
    return 1;
}

/* ---- A load ---- */

/* S3 to S5; 1 if Randoms is out and the loader can open it. */
static int to_randoms(struct machine *m, struct kl_terminal_load *load)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t der[KL_MSG_MAX];
    size_t len;
    int touched, good = loader.work != crl_work || loader.crl != NULL;
    enum kl_rc rc;

    require(kl_terminal_load_hello(load, m->out, &m->out_len, &err) == KL_OK);
    fake_say_certificate(&loader, m->out, m->out_len, der, &len);
    if (interrupt(m, load, NULL, KL_MSG_CERTIFICATE)) {
        return 0;
    }
    rc = give(m, load, NULL, der, len, &touched);
    require(touched || (rc == KL_OK) == good);
    if (rc == KL_OK && touched) {
        /* Its nonce or its OAEP hash is another. Nothing that answers can be good, for no loader
         * has this T0; and a MasterKey of anything else is not. */
        struct kl_msg msg;

        test_sample(KL_MSG_MASTER_KEY, &msg);
        require(kl_msg_encode(&msg, der, &len, &err) == KL_OK);
        require(give(m, load, NULL, der, len, &touched) != KL_OK && tmks(m) == 0);
        return 0;
    }
    return rc == KL_OK;
}

/* S7 to S9; 1 if Loaded is out. */
static int to_loaded(struct machine *m, struct kl_terminal_load *load)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;
    int touched;
    enum kl_rc rc;

    spoilt = recorded = 0;
    fake_say_master_key(&loader, m->out, m->out_len, der, &len);
    if (interrupt(m, load, NULL, KL_MSG_MASTER_KEY)) {
        require(tmks(m) == 0 && !kl_terminal_load_has_candidate(load));
        return 0;
    }
    rc = give(m, load, NULL, der, len, &touched);
    if (rc == KL_OK) {
        require(!touched && !spoilt && m->out_len > 0 && recorded);
        require(tmks(m) == 1 && kl_terminal_load_has_candidate(load));
        return 1;
    }
    require(touched || spoilt || rc == KL_ERR_IO);
    require(tmks(m) == 0 && !kl_terminal_load_has_candidate(load));
    return 0;
}

/* Done; 1 if it is active. */
static int to_done(struct machine *m, struct kl_terminal_load *load)
{
    enum kl_verdict verdict = script_below(&script, 4) == 3 ? KL_VERDICT_DROP : KL_VERDICT_ACTIVE;
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg done;
    uint8_t der[KL_MSG_MAX];
    size_t len;
    int touched;
    enum kl_rc rc;

    fake_say_done(&loader, verdict, &done);
    require(kl_msg_encode(&done, der, &len, &err) == KL_OK);
    if (interrupt(m, load, NULL, KL_MSG_DONE)) {
        require(tmks(m) == 1); /* whoever sits on the wire cannot make it drop one */
        return 0;
    }
    rc = give(m, load, NULL, der, len, &touched);
    require((rc == KL_OK) == !touched && tmks(m) == 1 && m->out_len == 0);
    require(rc != KL_OK || kl_terminal_load_verdict(load) == verdict);
    /* A machine that is over stays so. */
    require(kl_terminal_load_step(load, der, len, m->out, &len, &err) != KL_OK && len == 0);
    return rc == KL_OK && verdict == KL_VERDICT_ACTIVE;
}

static int run_load(struct machine *m)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_terminal_load *load = NULL;
    int active;

    require(kl_terminal_load_new(&m->params, &load, &err) == KL_OK);
    active = to_randoms(m, load) && to_loaded(m, load) && to_done(m, load);
    kl_terminal_load_free(load);
    return active;
}

/* ---- A sign-in under the TMK ---- */

static int to_keys(struct machine *m, struct kl_signin *sign_in)
{
    uint8_t der[KL_MSG_MAX];
    size_t len;
    int touched;
    enum kl_rc rc;

    spoilt = 0;
    fake_say_keys(&loader, m->out, m->out_len, der, &len);
    if (interrupt(m, NULL, sign_in, KL_MSG_WORKING_KEYS)) {
        return 0;
    }
    rc = give(m, NULL, sign_in, der, len, &touched);
    require((rc == KL_OK) == (!touched && !spoilt));
    return rc == KL_OK;
}

static void run_sign_in(struct machine *m)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_signin_params params = {.serial = FAKE_SERIAL,
                                      .pinpad_serial = "P-0001",
                                      .pad = m->pad};
    struct kl_signin *sign_in = NULL;
    struct kl_pinpad_tmk list[KL_PINPAD_TMK_MAX];
    struct kl_msg done;
    uint8_t der[KL_MSG_MAX];
    size_t count = 0, len;
    int touched;

    require(kl_pinpad_list(m->pad, list, &count, &err) == KL_OK && count == 1);
    params.tmk = list[0];
    params.format = !kl_alg_info(loader.alg)->is_aes && script_below(&script, 2) == 1
                        ? KL_FORMAT_FIELD62
                        : KL_FORMAT_KEYS;
    require(kl_signin_new(&params, &sign_in, &err) == KL_OK);
    require(kl_signin_begin(sign_in, m->out, &m->out_len, &err) == KL_OK);
    if (to_keys(m, sign_in) && !interrupt(m, NULL, sign_in, KL_MSG_DONE)) {
        fake_say_done(&loader, KL_VERDICT_ACTIVE, &done);
        require(kl_msg_encode(&done, der, &len, &err) == KL_OK);
        require((give(m, NULL, sign_in, der, len, &touched) == KL_OK) == !touched);
    }
    kl_signin_free(sign_in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m = {0};

    script = (struct script){data, size};
    set_up(&m);
    if (run_load(&m)) {
        run_sign_in(&m);
    }
    kl_pinpad_free(m.pad);
    return 0;
}
