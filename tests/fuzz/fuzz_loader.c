/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader's side of loads and sign-ins as the network sees it (daemon/loader/conn.c,
 * handshake.c, signin.c, step.c, life.c), over a real store and, in the place of the HSM workers,
 * answers that a script gives. The script plays several terminals at once, store thread, workers,
 * timers and disk. What must hold is in hear_* and at the end of the file.
 */
#include <event2/event.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/log.h"
#include "daemon/loader/conn_impl.h"
#include "proto/frame.h"
#include "proto/transcript.h"
#include "tests/fuzz/fake_committer.h"
#include "tests/fuzz/fake_pool.h"
#include "tests/fuzz/input.h"
#include "tests/support/messages.h"
#include "tests/support/pki.h"

#define PEERS 3
#define STEPS 96 /* of one input */
#define SERIAL "SN-1"
#define PAD "PP-1"
#define YEARS (3650L * PKI_DAY)

static struct kl_service service;
static struct pki rsa, ec, terminal;

static struct script script;
static struct kl_store *store;
static uint32_t attempts;           /* that the terminal is armed for */
static int troubled;                /* disk or clock: what bounds attempts is off */
static int captured;                /* a worker: what it says is anybody's */
static unsigned said_of[FAKE_JOBS]; /* messages that went out of each job's answer */

/* A terminal's end of a connection. */
struct peer {
    int fd;   /* -1: none */
    int over; /* it heard its last message */
    struct kl_msg heard;
    uint8_t hello[KL_MSG_MAX], certificate[KL_MSG_MAX];
    size_t hello_len, certificate_len;
    unsigned certificates;
    int job; /* whose answer it heard; -1 */
};
static struct peer peers[PEERS];

/* ---- The centre ---- */

static void write_pem(const char *name, X509 *cert, X509 *second, X509_CRL *crl)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    file = fopen(path, "w");
    require(file != NULL);
    require(cert == NULL || PEM_write_X509(file, cert) == 1);
    require(second == NULL || PEM_write_X509(file, second) == 1);
    require(crl == NULL || PEM_write_X509_CRL(file, crl) == 1);
    require(fclose(file) == 0);
}

static void write_config(void)
{
    const char *dir = fuzz_folder();
    struct kl_err err = KL_ERR_INIT;
    char text[1024], path[128];
    FILE *file;

    snprintf(text, sizeof(text),
             "[hsm]\nmodule = /module.so\ntoken = pkcs11:token=t\npin-source = file:/pin\n"
             "[certificates]\nroot = %s/root.pem\nwork = %s/work\ncrl =\n"
             "terminal-root = %s/troot.pem\n"
             "[policy]\nsuites = hardened-rsa, hardened-ec\n",
             dir, dir, dir);
    snprintf(path, sizeof(path), "%s/conf", dir);
    file = fopen(path, "w");
    require(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    require(kl_config_new(path, &service.config, &err) == KL_OK);
}

static void plan(struct pki *pki)
{
    pki->root.from = pki->leaf.from = -YEARS;
    pki->root.to = pki->leaf.to = YEARS;
    pki_make(pki);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kl_loader_key keys[2];
    struct kl_err err = KL_ERR_INIT;
    char path[128];

    (void)argc;
    (void)argv;
    kl_log_setup("fuzz", KL_LOG_ERROR, KL_LOG_STDERR);
    pki_make_keys();
    pki_plan(&rsa);
    plan(&rsa);
    pki_plan(&ec);
    pki_use_ec(&ec, pki_keys.p256);
    plan(&ec);
    pki_plan_terminal(&terminal);
    plan(&terminal);
    snprintf(path, sizeof(path), "%s/work", fuzz_folder());
    require(mkdir(path, 0700) == 0);
    write_pem("root.pem", rsa.root_cert, ec.root_cert, NULL);
    write_pem("troot.pem", terminal.root_cert, NULL, NULL);
    write_pem("work/rsa.pem", rsa.leaf_cert, NULL, NULL);
    write_pem("work/ec.pem", ec.leaf_cert, NULL, NULL);
    write_config();
    require(kl_trust_load(service.config, time(NULL), &service.trust, &err) == KL_OK);
    keys[0] = (struct kl_loader_key){"rsa", KL_SUITE_HARDENED_RSA, KL_OAEP_SHA1, pki_keys.leaf};
    keys[1] = (struct kl_loader_key){"ec", KL_SUITE_HARDENED_EC, KL_OAEP_SHA1, pki_keys.p256};
    require(kl_trust_bind(service.trust, service.config, keys, 2, &err) == KL_OK);
    service.base = event_base_new();
    require(service.base != NULL);
    return 0;
}

/* ---- What the terminals hear ---- */

static struct kl_tmk row(uint32_t version)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_tmk tmk;

    require(kl_store_tmk_get(store, SERIAL, version, &tmk, &err) == KL_OK);
    return tmk;
}

/* A key goes out once for each job, and only once it is on record as pending. */
static void hear_master_key(struct peer *peer, const uint8_t *der, size_t len)
{
    size_t i = peer->heard.u.master_key.tbs.rnd2[0];
    const struct fake_job *job = fake_pool_job(i);
    const struct kl_job_load *asked = &job->job.u.load;
    const struct kl_load_out *out = &job->result.out.load;
    struct kl_tmk tmk = row(peer->heard.u.master_key.tbs.version);

    require(job->job.kind == KL_JOB_LOAD && job->well && !job->cancelled && peer->job < 0);
    require(len == out->master_key_len && memcmp(der, out->master_key, len) == 0);
    require(++said_of[i] == 1);
    /* It was this connection that asked: nobody else has that Certificate's nonce. */
    require(asked->certificate_len == peer->certificate_len &&
            memcmp(asked->bytes + asked->hello_len, peer->certificate, peer->certificate_len) == 0);
    require(tmk.cryptogram_len == 0 || memcmp(tmk.cryptogram, out->cryptogram, 24) == 0);
    require(memcmp(tmk.ack_mac, out->ack_mac, KL_MAC_LEN) == 0);
    peer->job = (int)i;
}

static void hear_working_keys(struct peer *peer)
{
    size_t i = peer->heard.u.working_keys.c_session[0];
    const struct fake_job *job = fake_pool_job(i);

    require(job->job.kind == KL_JOB_SIGN_IN && job->well && !job->cancelled && peer->job < 0);
    require(++said_of[i] == 1);
    peer->job = (int)i;
}

/* Done says what is durable, and is proven by the right MAC. */
static void hear_done(const struct peer *peer)
{
    const struct kl_done *done = &peer->heard.u.done;
    struct kl_tmk tmk = row(done->tmk_version);
    const struct fake_job *job = peer->job >= 0 ? fake_pool_job((size_t)peer->job) : NULL;

    if (job && job->job.kind == KL_JOB_SIGN_IN) {
        require(done->verdict == KL_VERDICT_ACTIVE);
        require(memcmp(done->mac, job->result.out.keys.active_mac, KL_MAC_LEN) == 0);
    } else if (done->verdict == KL_VERDICT_ACTIVE) {
        require(tmk.state == KL_TMK_ACTIVE || tmk.state == KL_TMK_SUPERSEDED);
        require(memcmp(done->mac, tmk.active_mac, KL_MAC_LEN) == 0);
    } else {
        require(tmk.state != KL_TMK_ACTIVE && tmk.state != KL_TMK_PENDING);
        require(memcmp(done->mac, tmk.drop_mac, KL_MAC_LEN) == 0);
    }
}

static void hear(struct peer *peer, const uint8_t *der, size_t len)
{
    struct kl_err err = KL_ERR_INIT;

    if (captured) {
        return;
    }
    require(!peer->over); /* Done and Error are the last word */
    require(kl_msg_decode(der, len, &peer->heard, &err) == KL_OK);
    switch (peer->heard.type) {
    case KL_MSG_CERTIFICATE:
        require(++peer->certificates == 1);
        memcpy(peer->certificate, der, len);
        peer->certificate_len = len;
        break;
    case KL_MSG_MASTER_KEY:
        require(peer->certificates == 1);
        hear_master_key(peer, der, len);
        break;
    case KL_MSG_WORKING_KEYS:
        hear_working_keys(peer);
        break;
    case KL_MSG_DONE:
        hear_done(peer);
        peer->over = 1;
        break;
    default:
        require(peer->heard.type == KL_MSG_ERROR);
        peer->over = 1;
    }
}

/* As by the states of the connections that there are. */
static void check_coming(void)
{
    const struct kl_conn *conn;
    size_t coming = 0;

    TAILQ_FOREACH(conn, &service.conns, link)
    {
        coming += conn->state == KL_CONN_ADMITTING || conn->state == KL_CONN_RANDOMS;
    }
    require(service.coming == coming);
}

/* Runs the loop until nothing is due, and has the terminals read. */
static void pump(void)
{
    static uint8_t in[4 * KL_MSG_MAX];

    for (int i = 0; i < 3; i++) {
        event_base_loop(service.base, EVLOOP_NONBLOCK);
    }
    check_coming();
    for (size_t i = 0; i < PEERS; i++) {
        ssize_t n = peers[i].fd < 0 ? 0 : recv(peers[i].fd, in, sizeof(in), MSG_DONTWAIT);
        struct kl_err err = KL_ERR_INIT;
        size_t len;

        for (ssize_t at = 0; at < n; at += KL_FRAME_HEADER + (ssize_t)len) {
            require(n - at > KL_FRAME_HEADER);
            require(kl_frame_length(in + at, KL_MSG_MAX, &len, &err) == KL_OK);
            require(at + KL_FRAME_HEADER + (ssize_t)len <= n);
            hear(&peers[i], in + at + KL_FRAME_HEADER, len);
        }
    }
}

/* ---- What they say ---- */

static void on_closed(void *arg)
{
    (void)arg;
}

static void hang_up(struct peer *peer)
{
    if (peer->fd >= 0) {
        close(peer->fd);
        peer->fd = -1;
    }
}

static void call(struct peer *peer)
{
    struct kl_err err = KL_ERR_INIT;
    int fds[2];

    hang_up(peer);
    pump();
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    memset(peer, 0, sizeof(*peer));
    peer->fd = fds[0];
    peer->job = -1;
    require(kl_conn_new(&service, fds[1], "127.0.0.1", on_closed, NULL, &err) == KL_OK);
}

static void say_hello(struct kl_msg *msg)
{
    static uint8_t *der;
    static int len;
    struct kl_hello *hello = &msg->u.hello;
    unsigned how = script_below(&script, 8);

    if (der == NULL) {
        len = i2d_X509(terminal.leaf_cert, &der);
    }
    *msg = (struct kl_msg){.type = KL_MSG_HELLO};
    hello->version = how == 7 ? 2 : KL_PROTOCOL_VERSION;
    hello->suite_count = 1;
    hello->suites[0] = how & 1 ? KL_SUITE_HARDENED_EC : KL_SUITE_HARDENED_RSA;
    hello->alg_count = 1;
    hello->algs[0] = KL_ALG_TDES2;
    strcpy(hello->serial, how == 6 ? "SN-2" : SERIAL);
    strcpy(hello->pinpad_serial, how == 5 ? "PP-2" : PAD);
    if (how == 2 || how == 3) {
        hello->chain_count = 1;
        hello->chain[0] = (struct kl_bytes){der, (size_t)len};
    }
}

/* As a terminal with a device key does it. */
static void prove(const struct peer *peer, struct kl_msg *msg)
{
    struct kl_transcript *transcript = NULL;
    struct kl_err err = KL_ERR_INIT;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t t0[KL_HASH_LEN], der[KL_MSG_MAX], in[KL_PROOF_INPUT_MAX];
    EVP_PKEY_CTX *pctx;
    size_t len;

    require(kl_transcript_new(&transcript, &err) == KL_OK);
    require(kl_transcript_add(transcript, peer->hello, peer->hello_len, &err) == KL_OK);
    require(kl_transcript_add(transcript, peer->certificate, peer->certificate_len, &err) == KL_OK);
    require(kl_transcript_hash(transcript, t0, &err) == KL_OK);
    kl_transcript_free(transcript);
    require(kl_msg_encode(msg, der, &len, &err) == KL_OK);
    len = kl_suite_proof_input(t0, der, len, in);
    msg->u.randoms.sig_len = sizeof(msg->u.randoms.sig);
    require(EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, pki_keys.leaf) == 1);
    require(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 32) == 1);
    require(EVP_DigestSign(ctx, msg->u.randoms.sig, &msg->u.randoms.sig_len, in, len) == 1);
    EVP_MD_CTX_free(ctx);
}

static void say_randoms(const struct peer *peer, struct kl_msg *msg)
{
    unsigned how = script_below(&script, 4);

    test_sample(how & 1 ? TEST_RANDOMS_EC : KL_MSG_RANDOMS, msg);
    if (how & 2 && peer->hello_len > 0 && peer->certificate_len > 0) {
        prove(peer, msg);
    }
}

/* That of the answer it heard, or of any job's. */
static void say_loaded(const struct peer *peer, struct kl_loaded *loaded)
{
    unsigned how = script_below(&script, 4);
    size_t i = how > 0 || peer->job < 0 ? script_byte(&script) : (size_t)peer->job;
    const struct fake_job *job;

    loaded->kcv_len = 3;
    if (fake_pool_count() == 0) {
        return;
    }
    job = fake_pool_job(i % fake_pool_count());
    if (job->job.kind == KL_JOB_LOAD) {
        memcpy(loaded->kcv, job->result.out.load.kcv, 3);
        memcpy(loaded->mac, job->result.out.load.ack_mac, KL_MAC_LEN);
    } else {
        memcpy(loaded->kcv, job->result.out.keys.pik.kcv, 3);
        memcpy(loaded->mac, job->result.out.keys.ack_mac, KL_MAC_LEN);
    }
}

/* A Confirm of a job's candidate. */
static void say_confirm(const struct peer *peer, struct kl_msg *msg)
{
    *msg = (struct kl_msg){.type = KL_MSG_CONFIRM};
    msg->u.confirm.version = KL_PROTOCOL_VERSION;
    strcpy(msg->u.confirm.serial, SERIAL);
    strcpy(msg->u.confirm.pinpad_serial, PAD);
    msg->u.confirm.tmk_version = 1 + script_below(&script, 4);
    say_loaded(peer, &msg->u.confirm.loaded);
}

static void say_sign_in(struct kl_msg *msg)
{
    *msg = (struct kl_msg){.type = KL_MSG_SIGN_IN};
    msg->u.sign_in.version = KL_PROTOCOL_VERSION;
    strcpy(msg->u.sign_in.serial, SERIAL);
    strcpy(msg->u.sign_in.pinpad_serial, PAD);
    msg->u.sign_in.tmk_version = 1 + script_below(&script, 4);
    msg->u.sign_in.format = KL_FORMAT_KEYS;
}

static void say(struct peer *peer, unsigned kind)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg = {.type = KL_MSG_LOADED};
    uint8_t frame[KL_FRAME_HEADER + KL_MSG_MAX], *der = frame + KL_FRAME_HEADER;
    size_t len = 0, half;

    switch (kind) {
    case 0:
        say_hello(&msg);
        break;
    case 1:
        say_randoms(peer, &msg);
        break;
    case 2:
        say_loaded(peer, &msg.u.loaded);
        break;
    case 3:
        say_confirm(peer, &msg);
        break;
    case 4:
        say_sign_in(&msg);
        break;
    default:
        test_sample(script_below(&script, TEST_SAMPLE_COUNT), &msg);
    }
    if (kl_msg_encode(&msg, der, &len, &err) != KL_OK) {
        return;
    }
    len = script_edit(&script, der, len, KL_MSG_MAX);
    if (kind == 0) {
        memcpy(peer->hello, der, len);
        peer->hello_len = len;
    }
    kl_frame_header(len, frame);
    len += KL_FRAME_HEADER;
    half = script_below(&script, 8) == 7 ? script_byte(&script) % len : 0;
    if (half > 0 && send(peer->fd, frame, half, MSG_NOSIGNAL) == (ssize_t)half) {
        pump();
    }
    (void)!send(peer->fd, frame + half, len - half, MSG_NOSIGNAL);
}

/* ---- What befalls the loader ---- */

static void fire_timer(unsigned nth)
{
    struct kl_conn *conn;

    TAILQ_FOREACH(conn, &service.conns, link)
    {
        if (nth-- == 0) {
            troubled |= conn->state == KL_CONN_HSM;
            conn->deadline_ms = 0;
            event_active(&conn->timer, EV_TIMEOUT, 1);
            return;
        }
    }
}

static void answer_some(void)
{
    static const enum kl_rc rcs[] = {KL_OK,        KL_ERR_VERIFY, KL_ERR_PROTOCOL,
                                     KL_ERR_STORE, KL_ERR_HSM,    KL_ERR_UNSUPPORTED};
    unsigned which = script_byte(&script);

    if (fake_pool_count() > 0) {
        size_t i = fake_pool_count() - 1 - which % fake_pool_count();
        unsigned how = script_below(&script, sizeof(rcs) / sizeof(rcs[0]) + 1);

        if (how < sizeof(rcs) / sizeof(rcs[0])) {
            fake_pool_answer(i, rcs[how]);
        } else {
            captured |= fake_pool_answer_edited(i, &script);
        }
    }
}

static void one_step(unsigned what)
{
    struct peer *peer = &peers[what / 16 % PEERS];
    uint8_t raw[256];

    switch (what % 16) {
    case 0:
        call(peer);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        if (peer->fd >= 0) {
            say(peer, what % 16 - 1);
        }
        break;
    case 7:
        (void)!send(peer->fd, raw, script_bytes(&script, raw, sizeof(raw)), MSG_NOSIGNAL);
        break;
    case 8:
    case 9:
        (void)fake_committer_do(1);
        break;
    case 10:
        troubled |= fake_committer_do(0);
        break;
    case 11:
        if (fake_pool_count() > 0) {
            fake_pool_start(fake_pool_count() - 1);
        }
        break;
    case 12:
        answer_some();
        break;
    case 13:
        hang_up(peer);
        break;
    case 14:
        fire_timer(what / 16);
        break;
    default:
        fake_committer_full((int)(what / 16 & 1));
        service.draining = (int)(what / 32 & 1);
    }
    pump();
}

/* ---- An input ---- */

static void begin(void)
{
    struct kl_terminal known = {.alg = KL_ALG_TDES2, .serial = SERIAL, .pinpad_serial = PAD};
    struct kl_err err = KL_ERR_INIT;
    int64_t now = (int64_t)time(NULL);

    store = fake_store_begin();
    fake_pool_begin();
    memset(said_of, 0, sizeof(said_of));
    memset(&service.alarms, 0, sizeof(service.alarms));
    memset(&service.log_quota, 0, sizeof(service.log_quota));
    kl_metrics_init(&service.metrics);
    TAILQ_INIT(&service.conns);
    service.draining = 0;
    service.working_keys_sent = 0;
    troubled = captured = 0;
    for (size_t i = 0; i < PEERS; i++) {
        peers[i].fd = -1;
    }
    attempts = 1 + script_below(&script, 3);
    require(kl_life_register(store, &known, now, &err) == KL_OK);
    require(kl_life_arm(store, SERIAL, now + 3600, attempts, now, &err) == KL_OK);
}

static enum kl_rc count_active(const struct kl_tmk *tmk, void *arg, struct kl_err *err)
{
    (void)tmk;
    (void)err;
    (*(unsigned *)arg)++;
    return KL_OK;
}

/* Whatever the terminals did, the HSM decrypted no more for them than the arming says. */
static void check_attempts(void)
{
    unsigned spent = 0, active = 0;
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < fake_pool_count(); i++) {
        const struct fake_job *job = fake_pool_job(i);
        int counts = job->well || job->cancelled || job->result.err.rc == KL_ERR_VERIFY;

        spent += job->job.kind == KL_JOB_LOAD && job->started && counts;
    }
    require(troubled || captured || spent <= attempts);
    require(kl_store_tmk_each(store, SERIAL, KL_TMK_ACTIVE, count_active, &active, &err) == KL_OK);
    require(active <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    script = (struct script){data, size};
    begin();
    for (int i = 0; i < STEPS && script.left > 0; i++) {
        one_step(script_byte(&script));
    }
    for (size_t i = 0; i < PEERS; i++) {
        hang_up(&peers[i]);
    }
    kl_conn_close_all(&service);
    require(service.coming == 0);
    pump();
    while (fake_committer_do(1)) {
    }
    require(service.loading == NULL && service.signing_in == NULL);
    check_attempts();
    fake_store_end();
    return 0;
}
