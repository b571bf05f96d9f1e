/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole memory of the network process, at every message of a load and again and again between
 * them, holds neither TMK nor Rnd1, nor any key that is derived from it, nor a PIN, in clear, in
 * hexadecimal or base64; and Rnd2 only once the loader has sent it, in classic never. TMK and Rnd1
 * are known by tests/tools/proxy_p11.c, what is derived from them is computed here.
 *
 * The HSM workers look at themselves, at the entry and exit of each PKCS#11 call
 * (tests/tools/scan_p11.h).
 *
 * Who is not root may not read a daemon's memory (CAP_SYS_PTRACE): the first part is left out then,
 * and its log says so. For root, a memory that is closed is a failure.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/message.h"
#include "proto/suite.h"
#include "proto/transcript.h"
#include "tests/support/fakeloader.h"
#include "tests/support/image.h"
#include "tests/support/keywrap.h"
#include "tests/support/lab.h"
#include "tests/support/needle.h"
#include "tests/support/suite.h"
#include "tests/tools/proxy_p11.h"
#include "tests/tools/scan_p11.h"

#define SERIAL "MEMORY-PROOF-0001"
#define LOAD_MESSAGES 6
#define BETWEEN 6 /* images taken while a load goes on, undisturbed */
#define IMAGES (LOAD_MESSAGES + BETWEEN)

static const struct suite_case {
    const char *suite, *label, *key;
} suites[] = {
    {"hardened-rsa", "rsa", "rsa-2048"},
    {"hardened-ec", "ec", "p-256"},
    {"classic", "classic", "rsa-2048"},
};
#define SUITES (int)(sizeof suites / sizeof suites[0])

static struct lab lab;
static struct image images[IMAGES];
static unsigned at_message[IMAGES]; /* LOAD_MESSAGES: whenever */
static size_t taken;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void found(void)
{
    char dir[PATH_MAX];

    lab_lay_out(&lab);
    lab_found_ca(&lab, "ca");
    lab_publish_crl(&lab, "ca", "loader");
    for (int i = 0; i < SUITES; i++) {
        file_mkdir(file_path(dir, lab.dir, suites[i].label));
        lab_set(&lab, "certificates", "work", dir);
        lab_certify(&lab, suites[i].label, suites[i].suite, suites[i].key, "ca");
    }
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* ---- Looking ---- */

struct looking {
    unsigned hits;
    const struct image_area *area;
    char where[256]; /* of the last hit */
};

static void on_hit(void *arg, const struct needle *needle, int form, size_t at)
{
    struct looking *looking = arg;

    looking->hits++;
    snprintf(looking->where, sizeof looking->where, "%s (form %d) at 0x%lx, %s", needle->name, form,
             (unsigned long)(looking->area->begin + at), looking->area->name);
}

static unsigned look(const struct image *image, const struct needles *needles, char where[256])
{
    struct looking looking = {.hits = 0};

    for (size_t i = 0; i < image->count; i++) {
        looking.area = &image->areas[i];
        needles_search(needles, looking.area->data, looking.area->len, on_hit, &looking);
    }
    if (where != NULL) {
        memcpy(where, looking.where, sizeof looking.where);
    }
    return looking.hits;
}

static unsigned look_for(const struct image *image, const void *data, size_t len)
{
    static struct needles one;

    memset(&one, 0, sizeof one);
    needles_add(&one, "one", data, len);
    return look(image, &one, NULL);
}

/* In either thread, one at a time. */
static void take_image(unsigned message)
{
    ck_assert_uint_lt(taken, IMAGES);
    ck_assert(image_take(&images[taken], lab.daemon.pid));
    ck_assert_uint_gt(images[taken].bytes, 1000000);
    at_message[taken++] = message;
}

static size_t index_of(unsigned message)
{
    size_t i = 0;

    while (i < taken && at_message[i] != message) {
        i++;
    }
    ck_assert_uint_lt(i, taken);
    return i;
}

/* ---- What must not be there ---- */

static void add_pin(struct needles *needles, const char *file)
{
    char path[PATH_MAX];
    char *pin = file_read(file_path(path, lab.dir, file), NULL);

    needles_add(needles, file, (uint8_t *)pin, strcspn(pin, "\n"));
    free(pin);
}

static void add_derived(struct needles *needles, const char *record)
{
    static const char *const names[] = {"K_wrap", "K_nonce", "K_ack", "K_done", "K_keys"};
    struct kl_err err = KL_ERR_INIT;
    struct kl_transcript *transcript = NULL;
    uint8_t t0[KL_HASH_LEN], label[KL_HASH_LEN], key[KL_HASH_LEN], *data;
    const uint8_t *der;
    size_t len;

    ck_assert_int_eq(kl_transcript_new(&transcript, &err), KL_OK);
    for (unsigned i = 0; i < 2; i++) { /* Hello, Certificate */
        relay_frame_of(record, i, &data, &der, &len);
        ck_assert_int_eq(kl_transcript_add(transcript, der, len, &err), KL_OK);
        free(data);
    }
    ck_assert_int_eq(kl_transcript_hash(transcript, t0, &err), KL_OK);
    kl_transcript_free(transcript);
    for (unsigned purpose = 0; purpose < KL_PURPOSE_COUNT; purpose++) {
        ck_assert_int_eq(kl_suite_label((enum kl_purpose)purpose, t0, label, &err), KL_OK);
        fake_block(KL_ALG_AES256, 1, proxy_rnd1, label, sizeof label, key);
        needles_add(needles, names[purpose], key, sizeof key);
    }
}

static void add_known(struct needles *needles)
{
    needles_add(needles, "TMK", proxy_tmk, 16);
    needles_add(needles, "TMK's second half", proxy_tmk + 8, 8);
    needles_add(needles, "Rnd1", proxy_rnd1, sizeof proxy_rnd1);
    needles_add(needles, "Rnd1's first half", proxy_rnd1, 16);
    add_pin(needles, "loader.pin");
    add_pin(needles, "pinpad.pin");
}

/* ---- A load, looked at ---- */

/* An image before each message is passed on; in the relay's thread. */
static size_t on_message(void *arg, unsigned message, uint8_t *frame, size_t len)
{
    (void)arg;
    (void)frame;
    pthread_mutex_lock(&lock);
    take_image(message);
    pthread_mutex_unlock(&lock);
    return len;
}

static void load(const char *suite, char record[PATH_MAX], int looked_at)
{
    char offer[48];
    struct proc proc;
    const struct relay_plan plan = {.act = looked_at ? RELAY_EDIT : RELAY_PASS,
                                    .edit = on_message,
                                    .record = file_path(record, lab.run, "load.rec")};
    struct relay *relay = relay_start(0, lab.port, &plan);
    int status = -1;

    ck_assert_ptr_nonnull(relay);
    snprintf(offer, sizeof offer, "--suites=%s", suite);
    lab.env[2] = "KL_PROXY_RANDOM=1"; /* in the terminal only */
    lab_load_start(&lab, SERIAL, relay_port(relay), (const char *const[]){offer, NULL}, &proc);
    for (int i = 0; looked_at && i < BETWEEN && status == -1; i++) {
        proc_sleep_ms(30);
        pthread_mutex_lock(&lock);
        take_image(LOAD_MESSAGES);
        pthread_mutex_unlock(&lock);
        status = proc_poll(&proc);
    }
    if (status == -1) {
        status = proc_wait(&proc, LAB_LOAD_SECONDS);
    }
    ck_assert_msg(status == 0, "load: status %d: %s", status, file_read(proc.err, NULL));
    relay_stop(relay);
    lab.env[2] = NULL;
}

/* A terminal, a store and a configuration for that suite, whose TMK and Rnd1 are known. */
static void begin(const struct suite_case *suite, const char *of)
{
    static char module[PATH_MAX + 32];
    char name[64], path[PATH_MAX];

    snprintf(name, sizeof name, "%s-%s", of, suite->suite);
    lab_begin(&lab, name);
    snprintf(module, sizeof module, "KL_PROXY_MODULE=%s", lab.module);
    lab.env[0] = module;
    lab.env[1] = "KL_PROXY_FIXED=1";
    snprintf(lab.module, sizeof lab.module, "%s", lab_built("tests/tools/proxy_p11.so"));
    lab_set(&lab, "hsm", "module", lab.module);
    lab_set(&lab, "certificates", "work", file_path(path, lab.dir, suite->label));
    lab_set(&lab, "policy", "suites", suite->suite);
    lab_terminal(&lab, SERIAL, "tdes2");
}

static void check_proxy(void)
{
    struct lab_tmk store[LAB_TMK_MAX];
    char kcv[KL_KCV_TEXT];

    ck_assert_uint_eq(lab_store(&lab, SERIAL, store), 1);
    keywrap_kcv_text(kl_alg_info(KL_ALG_TDES2), proxy_tmk, kcv);
    ck_assert_str_eq(store[0].kcv, kcv);
}

/* Where each of the values was put, in which form, and how often it was found there. */
struct planted {
    const struct needles *needles;
    const struct image_area *area; /* being looked through */
    uint64_t begin;                /* of the first; the others follow by 2 * NEEDLE_MAX */
    int form;
    unsigned found[NEEDLES_MAX];
};

/* One within another, or that stands elsewhere for good reason, is not what was put there. */
static void on_planted(void *arg, const struct needle *needle, int form, size_t at)
{
    struct planted *planted = arg;
    size_t i = (size_t)(needle - planted->needles->all);

    if (form == planted->form && planted->area->begin + at == planted->begin + i * 2 * NEEDLE_MAX) {
        planted->found[i]++;
    }
}

/* Each value in the lowest bytes of the stack, which nobody uses, in each form: is it found? */
static void check_finds(const struct needles *needles)
{
    const struct image_area *stack = NULL;
    static struct image image;

    for (size_t i = 0; i < images[0].count; i++) {
        if (strcmp(images[0].areas[i].name, "[stack]") == 0) {
            stack = &images[0].areas[i];
        }
    }
    ck_assert_ptr_nonnull(stack);
    ck_assert_uint_ge(stack->len, needles->count * 2 * NEEDLE_MAX);
    for (int form = 0; form < NEEDLE_FORMS; form++) {
        struct planted planted = {.needles = needles, .begin = stack->begin, .form = form};
        for (size_t i = 0; i < needles->count; i++) {
            const struct needle *needle = &needles->all[i];
            ck_assert(image_poke(lab.daemon.pid, planted.begin + i * 2 * NEEDLE_MAX,
                                 needle->forms[form], needle->lens[form]));
        }
        ck_assert(image_take(&image, lab.daemon.pid));
        for (size_t i = 0; i < image.count; i++) {
            planted.area = &image.areas[i];
            needles_search(needles, planted.area->data, planted.area->len, on_planted, &planted);
        }
        for (size_t i = 0; i < needles->count; i++) {
            ck_assert_msg(planted.found[i] == 1, "%s in form %d: found %u times where it is",
                          needles->all[i].name, form, planted.found[i]);
        }
        image_free(&image);
    }
    for (size_t i = 0; i < needles->count; i++) {
        static const uint8_t zeros[2 * NEEDLE_MAX];
        ck_assert(
            image_poke(lab.daemon.pid, stack->begin + i * 2 * NEEDLE_MAX, zeros, sizeof zeros));
    }
}

static void read_master_key(const char *record, struct kl_master_key *out)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;
    uint8_t *data;
    const uint8_t *der;
    size_t len;

    relay_frame_of(record, KL_MSG_MASTER_KEY, &data, &der, &len);
    ck_assert_int_eq(kl_msg_decode(der, len, &msg, &err), KL_OK);
    *out = msg.u.master_key;
    free(data);
}

START_TEST(test_network_process)
{
    const struct suite_case *suite = &suites[_i];
    static struct needles needles;
    char record[PATH_MAX], where[256];
    struct kl_master_key sent;
    size_t bytes = 0;
    int sends_rnd2 = strcmp(suite->suite, "classic") != 0; /* which encloses it in a signature */

    begin(suite, "network");
    lab_start(&lab);
    if (!image_take(&images[0], lab.daemon.pid)) {
        ck_assert_msg(geteuid() != 0, "the daemon's memory is closed to root: nothing is shown");
        printf("network process, %s: left out, which needs root\n", suite->suite);
        fflush(stdout);
        lab_end(&lab);
        return;
    }
    image_free(&images[0]);
    lab_arm(&lab, SERIAL, 2);
    load(suite->suite, record, 1);
    check_proxy();
    read_master_key(record, &sent);

    add_known(&needles);
    add_derived(&needles, record);
    for (size_t i = 0; i < taken; i++) {
        unsigned hits = look(&images[i], &needles, where);
        ck_assert_msg(hits == 0, "%s, image %zu (message %u): %u hits; the last: %s", suite->suite,
                      i, at_message[i], hits, where);
        if (!sends_rnd2 || at_message[i] < KL_MSG_MASTER_KEY) {
            ck_assert_uint_eq(look_for(&images[i], proxy_rnd2, sizeof proxy_rnd2), 0);
        }
        bytes += images[i].bytes;
    }
    /* What must be there is found: the serial of Hello, and what MasterKey says. */
    ck_assert_uint_gt(look_for(&images[index_of(KL_MSG_CERTIFICATE)], SERIAL, strlen(SERIAL)), 0);
    ck_assert_uint_gt(look_for(&images[index_of(KL_MSG_LOADED)], sent.sig, NEEDLE_MAX), 0);
    if (sends_rnd2) {
        ck_assert_mem_eq(sent.tbs.rnd2, proxy_rnd2, sizeof proxy_rnd2);
        ck_assert_uint_gt(look_for(&images[index_of(KL_MSG_LOADED)], proxy_rnd2, sizeof proxy_rnd2),
                          0);
    }
    check_finds(&needles);
    printf("%s: %zu images, %zu MiB, %zu values in %d forms: nothing\n", suite->suite, taken,
           bytes >> 20, needles.count, NEEDLE_FORMS);
    fflush(stdout);
    lab_end(&lab);
}
END_TEST

/* ---- HSM workers ---- */

static void add_value(struct scan_values *values, const char *name, const void *data, size_t len)
{
    struct scan_value *value = &values->all[values->count++];

    ck_assert(len >= 8 && len <= SCAN_LEN);
    snprintf(value->name, sizeof value->name, "%s", name);
    value->len = (uint32_t)len;
    for (size_t i = 0; i < len; i++) {
        value->masked[i] = ((const uint8_t *)data)[i] ^ SCAN_MASK;
    }
}

static void write_values(const char *path)
{
    struct scan_values values = {.count = 0};
    char pin_path[PATH_MAX];
    char *pin = file_read(file_path(pin_path, lab.dir, "loader.pin"), NULL);

    add_value(&values, "tmk", proxy_tmk, 16);
    add_value(&values, "tmk2", proxy_tmk + 8, 8);
    add_value(&values, "rnd1", proxy_rnd1, sizeof proxy_rnd1);
    add_value(&values, "pin", pin, strcspn(pin, "\n"));
    free(pin);
    file_write(path, &values, sizeof values, 0600);
}

/* What a line of the log says. */
struct look_line {
    char function[48], when[8], ours[64];
};

/* Where Rnd1' may stand in `classic`: from the exit of C_Decrypt to that of the second
 * C_CreateObject after it. */
struct window {
    int open, objects;
    unsigned held; /* looks that found it there */
};

static void open_window(struct window *window, const struct look_line *line)
{
    int is_exit = strcmp(line->when, "exit") == 0;

    if (is_exit && strcmp(line->function, "C_Decrypt") == 0) {
        window->open = 1;
        window->objects = 0;
    }
}

static void close_window(struct window *window, const struct look_line *line)
{
    if (window->open && strcmp(line->when, "exit") == 0 &&
        strcmp(line->function, "C_CreateObject") == 0 && ++window->objects == 2) {
        window->open = 0;
    }
}

struct verdict {
    unsigned looks, pins, modules;
    struct window window;
};

/* Fails the test at a look that found what must not be there. */
static void judge(const char *text, const struct look_line *line, int classic,
                  struct verdict *verdict)
{
    verdict->looks++;
    if (classic) {
        open_window(&verdict->window, line);
    }
    if (strcmp(line->function, "C_Login") == 0) {
        ck_assert_msg(strcmp(line->ours, "pin") == 0 || strcmp(line->ours, "-") == 0, "%s", text);
        verdict->pins += strcmp(line->ours, "pin") == 0;
    } else if (verdict->window.open) {
        ck_assert_msg(strcmp(line->ours, "rnd1") == 0, "%s", text);
        verdict->window.held++;
    } else {
        ck_assert_msg(strcmp(line->ours, "-") == 0, "%s", text);
    }
    close_window(&verdict->window, line);
    verdict->modules += strstr(text, "module=-") == NULL;
}

static void judge_all(const char *log, int classic, struct verdict *verdict)
{
    char *text = file_read(log, NULL), *rest = text;

    for (const char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        struct look_line read;
        ck_assert_int_eq(sscanf(line, "%47s %7s ours=%63s", read.function, read.when, read.ours),
                         3);
        judge(line, &read, classic, verdict);
    }
    free(text);
}

/* At the entry and exit of every PKCS#11 call of a load our part of the worker's memory holds
 * nothing; but the PIN in C_Login, and in classic Rnd1', for as long as it takes to import it. */
START_TEST(test_worker)
{
    const struct suite_case *suite = &suites[_i];
    char preload[PATH_MAX + 16], scanned[PATH_MAX + 32], values[PATH_MAX + 32], log[PATH_MAX + 32];
    char on[PATH_MAX + 32], record[PATH_MAX], path[PATH_MAX];
    struct verdict verdict = {.looks = 0};

    begin(suite, "worker");
    ck_assert_ptr_nonnull(realpath(lab_built("tests/tools/scan_p11.so"), path));
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", path);
    snprintf(scanned, sizeof scanned, "KL_SCAN_MODULE=%s", lab.module);
    snprintf(values, sizeof values, "KL_SCAN_VALUES=%s/values", lab.run);
    snprintf(log, sizeof log, "KL_SCAN_LOG=%s/looks", lab.run);
    snprintf(on, sizeof on, "KL_SCAN_ON=%s/on", lab.run);
    write_values(strchr(values, '=') + 1);
    lab_set(&lab, "hsm", "module", path);
    const char *const env[] = {preload, scanned, values, log, on};
    for (size_t i = 0; i < 5; i++) {
        lab.env[2 + i] = env[i];
    }
    lab_start(&lab);
    lab.env[2] = NULL;
    lab_set(&lab, "hsm", "module", lab.module); /* for the other programs */
    lab_arm(&lab, SERIAL, 2);
    file_write(strchr(on, '=') + 1, "", 0, 0600);
    load(suite->suite, record, 0);
    ck_assert_int_eq(unlink(strchr(on, '=') + 1), 0);
    check_proxy();
    int classic = strcmp(suite->suite, "classic") == 0;
    judge_all(strchr(log, '=') + 1, classic, &verdict);
    printf("worker, %s: %u looks, PIN in %u of C_Login, Rnd1' in %u, the module's in %u\n",
           suite->suite, verdict.looks, verdict.pins, verdict.window.held, verdict.modules);
    fflush(stdout);
    ck_assert_uint_ge(verdict.looks, 20);
    ck_assert_uint_ge(verdict.pins, 1);    /* which shows that a look finds what is ours */
    ck_assert_uint_ge(verdict.modules, 1); /* and one that is not: the TMK, for its KCV */
    ck_assert_uint_eq(verdict.window.held, classic ? 5 : 0);
    ck_assert_int_eq(verdict.window.open, 0);
    lab_end(&lab);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tcase = tcase_create("scan");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_network_process, 0, SUITES);
    tcase_add_loop_test(tcase, test_worker, 0, SUITES);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
