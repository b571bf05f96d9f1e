/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The suites, each by work keys of every kind that it may have: what each key may carry and what it
 * may not, which one is taken where there are several, and a load that was cut off, settled later.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

#define EVERY_SUITE "hardened-ec,hardened-rsa,classic"

static struct lab lab;

static const char *const algs[] = {"tdes2", "tdes3", "aes128", "aes192", "aes256"};
#define ALGS (sizeof algs / sizeof algs[0])

/* Kinds of work key. Each is installed in a directory of its own, and all of them in one. */
static const struct work_key {
    const char *label, *suite, *key, *name;
    unsigned carries; /* how many of algs, from the first */
} keys[] = {
    {"rsa-2048", "hardened-rsa", "rsa-2048", "RSA-2048", 2},
    {"rsa-3072", "hardened-rsa", "rsa-3072", "RSA-3072", 3},
    {"classic-2048", "classic", "rsa-2048", "RSA-2048", 2},
    {"p-256", "hardened-ec", "p-256", "P-256", 3},
    {"p-384", "hardened-ec", "p-384", "P-384", 4},
    {"p-521", "hardened-ec", "p-521", "P-521", 5},
};
#define KEYS (sizeof keys / sizeof keys[0])

/* ---- The centre ---- */

/* Sets [certificates] work to DIR/NAME, which is made if `make`. */
static void use_chains(const char *name, int make)
{
    char path[PATH_MAX];

    file_path(path, lab.dir, name);
    if (make) {
        file_mkdir(path);
    }
    lab_set(&lab, "certificates", "work", path);
}

static void install_in_all(const char *label)
{
    char from[PATH_MAX], to[PATH_MAX];

    ck_assert_int_lt(snprintf(from, sizeof from, "%s/%s/%s.pem", lab.dir, label, label),
                     (int)sizeof from);
    ck_assert_int_lt(snprintf(to, sizeof to, "%s/all/%s.pem", lab.dir, label), (int)sizeof to);
    lab_copy_file(from, to);
}

/* One store, and a terminal for each algorithm, for all tests. */
static void found(void)
{
    char all[PATH_MAX], root[PATH_MAX];

    lab_lay_out(&lab);
    lab_found_ca(&lab, "ca");
    lab_publish_crl(&lab, "ca", "loader");
    file_mkdir(file_path(all, lab.dir, "all"));
    for (size_t i = 0; i < KEYS; i++) {
        use_chains(keys[i].label, 1);
        lab_certify(&lab, keys[i].label, keys[i].suite, keys[i].key, "ca");
        install_in_all(keys[i].label);
    }
    lab_begin(&lab, "suites");
    use_chains("all", 0);
    file_path(root, lab.dir, "root.pem");
    for (size_t i = 0; i < ALGS; i++) {
        lab_register(&lab, algs[i], algs[i]); /* each terminal is named after its algorithm */
        lab_make_terminal(&lab, algs[i], root);
    }
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static void end(void)
{
    lab_end(&lab);
}

static void start(const char *chains, const char *suites, const char *strength)
{
    use_chains(chains, 0);
    lab_set(&lab, "policy", "suites", suites);
    lab_set(&lab, "policy", "strength-policy", strength);
    lab_start(&lab);
}

static void arm_all(void)
{
    free(lab_ctl(&lab, "terminal", "arm", algs[0], algs[1], algs[2], algs[3], algs[4], "--for",
                 "1h", "--attempts", "2", NULL));
}

static void start_load(const char *serial, const char *offer, uint16_t port, struct proc *proc)
{
    const char *extra[] = {"--suites", offer, NULL};

    lab_load_start(&lab, serial, port, extra, proc);
}

/* The load has said `words`. */
static void expect_words(const struct proc *proc, const char *words)
{
    char *out = file_read(proc->out, NULL), *err = file_read(proc->err, NULL);

    ck_assert_msg(strstr(out, words) != NULL || strstr(err, words) != NULL, "\"%s\": %s%s", words,
                  out, err);
    free(out);
    free(err);
}

static void expect_status(struct proc *proc, int status, const char *what)
{
    int got = proc_wait(proc, LAB_LOAD_SECONDS);

    ck_assert_msg(got == status, "%s: status %d, not %d: %s", what, got, status,
                  file_read(proc->err, NULL));
}

/* ---- What a key may carry ---- */

static void expect_loaded(const char *serial, size_t before)
{
    struct lab_tmk store[LAB_TMK_MAX];
    size_t count = lab_store(&lab, serial, store);

    ck_assert_uint_eq(count, before + 1);
    ck_assert_str_eq(store[before].alg, serial);
    ck_assert_str_eq(store[before].state, "active");
    lab_settled(&lab, serial, store[before].version);
}

static void expect_too_weak(const char *serial, size_t before, unsigned alarms)
{
    struct lab_tmk store[LAB_TMK_MAX];

    lab_await_alarm(&lab, serial, "strength", alarms + 1);
    ck_assert_uint_eq(lab_attempts(&lab, serial), 2);
    ck_assert_uint_eq(lab_store(&lab, serial, store), before);
    lab_agree(&lab, serial);
}

/* Every algorithm under one key, all at once. */
START_TEST(strength)
{
    const struct work_key *key = &keys[_i];
    struct lab_tmk store[LAB_TMK_MAX];
    struct proc loads[ALGS];
    size_t before[ALGS];
    unsigned alarms[ALGS];
    char words[64];

    start(key->label, key->suite, "enforce");
    arm_all();
    for (size_t i = 0; i < ALGS; i++) {
        before[i] = lab_store(&lab, algs[i], store);
        alarms[i] = i < key->carries ? 0 : lab_alarms(&lab, algs[i], "strength");
        start_load(algs[i], EVERY_SUITE, lab.port, &loads[i]);
    }
    snprintf(words, sizeof words, "key=%s chain=1 suite=%s ", key->name, key->suite);
    for (size_t i = 0; i < ALGS; i++) {
        expect_status(&loads[i], i < key->carries ? 0 : 76, algs[i]);
        if (i < key->carries) {
            expect_words(&loads[i], words);
            expect_loaded(algs[i], before[i]);
        } else {
            expect_words(&loads[i], "the loader answered Error refused");
            expect_too_weak(algs[i], before[i], alarms[i]);
        }
    }
}
END_TEST

/* The loader lets it pass, and says so at every start; a terminal cannot be told to. */
START_TEST(strength_policy_warn)
{
    struct lab_tmk store[LAB_TMK_MAX];
    struct proc load;
    size_t before = lab_store(&lab, "aes256", store), after;

    start(keys[_i].label, keys[_i].suite, "warn");
    ck_assert(lab_logged(&lab, "event=strength-not-enforced", 1));
    arm_all();
    start_load("aes256", EVERY_SUITE, lab.port, &load);
    expect_status(&load, 77, "aes256");
    expect_words(&load, "is too weak to carry a TMK of algorithm aes256");
    after = lab_store(&lab, "aes256", store);
    ck_assert_uint_eq(after, before + 1);
    ck_assert_str_eq(store[before].state, "pending");
    ck_assert(lab_logged(&lab, "event=terminal-failed", 5));
    lab_agree(&lab, "aes256");
    start_load("tdes2", EVERY_SUITE, lab.port, &load);
    expect_status(&load, 0, "tdes2");
}
END_TEST

/* ---- Which key ---- */

static const struct choice {
    const char *policy;
    const char *offer, *serial;
    const char *suite, *key; /* NULL: ... */
    const char *refusal;     /* ... refused, and this is why */
} choices[] = {
    /* The loader's preference, not the terminal's. */
    {"hardened-ec, hardened-rsa", "hardened-rsa,hardened-ec", "tdes2", "hardened-ec", "P-", NULL},
    {"hardened-ec, hardened-rsa", "hardened-ec,hardened-rsa", "aes256", "hardened-ec", "P-521",
     NULL},
    {"hardened-ec, hardened-rsa", "hardened-rsa", "tdes3", "hardened-rsa", "RSA-", NULL},
    {"hardened-ec, hardened-rsa", "hardened-rsa", "aes128", "hardened-rsa", "RSA-3072", NULL},
    /* Nobody gets classic whose loader does not name it. */
    {"hardened-ec, hardened-rsa", "classic", "tdes2", NULL, NULL, "unsupported"},
    {"hardened-ec, hardened-rsa", "classic,hardened-rsa", "tdes2", "hardened-rsa", "RSA-", NULL},
    {"hardened-rsa, hardened-ec", "hardened-ec,hardened-rsa", "tdes2", "hardened-rsa", "RSA-",
     NULL},
    {"hardened-rsa, hardened-ec", "hardened-ec", "tdes3", "hardened-ec", "P-", NULL},
    /* What the first suite's keys are too weak for, the next one's carry. */
    {"hardened-rsa, hardened-ec", "hardened-ec,hardened-rsa", "aes192", "hardened-ec", "P-", NULL},
    {"hardened-rsa, hardened-ec", "hardened-rsa", "aes192", NULL, NULL, "strength"},
    {"hardened-rsa, hardened-ec", "hardened-rsa,hardened-ec", "aes256", "hardened-ec", "P-521",
     NULL},
    {"classic, hardened-rsa", EVERY_SUITE, "tdes2", "classic", "RSA-2048", NULL},
    {"classic, hardened-rsa", "classic", "tdes3", "classic", "RSA-2048", NULL},
    {"classic, hardened-rsa", "classic,hardened-rsa", "aes128", "hardened-rsa", "RSA-3072", NULL},
    {"classic, hardened-rsa", "classic", "aes128", NULL, NULL, "strength"},
    {"classic, hardened-rsa", "hardened-ec", "tdes2", NULL, NULL, "unsupported"},
    {"hardened-rsa, classic", EVERY_SUITE, "tdes2", "hardened-rsa", "RSA-", NULL},
};
#define CHOICES (sizeof choices / sizeof choices[0])

static void expect_choice(const struct choice *row)
{
    struct proc load;
    char words[64];
    unsigned alarms = row->refusal ? lab_alarms(&lab, row->serial, row->refusal) : 0;

    lab_arm(&lab, row->serial, 1);
    start_load(row->serial, row->offer, lab.port, &load);
    expect_status(&load, row->suite ? 0 : 76, row->offer);
    if (row->suite) {
        snprintf(words, sizeof words, "suite=%s ", row->suite);
        expect_words(&load, words);
        snprintf(words, sizeof words, "key=%s", row->key);
        expect_words(&load, words);
    } else {
        snprintf(words, sizeof words, "the loader answered Error %s",
                 strcmp(row->refusal, "unsupported") == 0 ? "unsupported" : "refused");
        expect_words(&load, words);
        lab_await_alarm(&lab, row->serial, row->refusal, alarms + 1);
    }
    lab_agree(&lab, row->serial);
}

START_TEST(several_keys)
{
    for (size_t i = 0; i < CHOICES; i++) {
        if (i == 0 || strcmp(choices[i].policy, choices[i - 1].policy) != 0) {
            lab_end(&lab);
            start("all", choices[i].policy, "enforce");
        }
        expect_choice(&choices[i]);
    }
}
END_TEST

/* ---- Confirm ---- */

static const struct cut {
    const char *chains, *suite, *serial;
    enum kl_msg_type before; /* which message no longer comes through */
} cuts[] = {
    {"p-256", "hardened-ec", "tdes2", KL_MSG_LOADED},
    {"p-521", "hardened-ec", "aes256", KL_MSG_DONE},
    {"classic-2048", "classic", "tdes2", KL_MSG_LOADED},
    {"classic-2048", "classic", "tdes3", KL_MSG_DONE},
};
#define CUTS (sizeof cuts / sizeof cuts[0])

START_TEST(confirm_after_cut)
{
    const struct cut *cut = &cuts[_i];
    const struct relay_plan plan = {.act = RELAY_CUT,
                                    .message = cut->before == KL_MSG_DONE ? 5 : 4};
    struct lab_tmk store[LAB_TMK_MAX], pad[LAB_TMK_MAX];
    const struct lab_tmk *old;
    struct relay *relay;
    struct proc load;
    char to[32];
    size_t count;

    start(cut->chains, cut->suite, "enforce");
    lab_arm(&lab, cut->serial, 1);
    old = lab_active(pad, lab_pinpad(&lab, cut->serial, pad));
    relay = relay_start(0, lab.port, &plan);
    ck_assert_ptr_nonnull(relay);
    start_load(cut->serial, EVERY_SUITE, relay_port(relay), &load);
    expect_status(&load, 75, cut->suite);
    relay_stop(relay);
    count = lab_store(&lab, cut->serial, store);
    ck_assert_uint_gt(count, 0);
    ck_assert_str_eq(store[count - 1].state, cut->before == KL_MSG_DONE ? "active" : "pending");
    /* Not in use yet, and the old one not gone. */
    struct lab_tmk now[LAB_TMK_MAX];
    const struct lab_tmk *used = lab_active(now, lab_pinpad(&lab, cut->serial, now));
    ck_assert_int_eq(used == NULL, old == NULL);
    ck_assert(used == NULL || used->version == old->version);
    snprintf(to, sizeof to, "127.0.0.1:%u", lab.port);
    ck_assert_int_eq(lab_terminal_sim(&lab, cut->serial, "confirm", "--connect", to, NULL), 0);
    lab_settled(&lab, cut->serial, store[count - 1].version);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("suites");
    TCase *tc = tcase_create("suites");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_loop_test(tc, strength, 0, KEYS);
    tcase_add_loop_test(tc, strength_policy_warn, 0, 4);
    tcase_add_test(tc, several_keys);
    tcase_add_loop_test(tc, confirm_after_cut, 0, CUTS);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
