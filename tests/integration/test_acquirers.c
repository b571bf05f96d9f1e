/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Acquirers side by side, each with a CA, a loader and a terminal of its own, and all of them with
 * the same names: a TMK goes from a loader to a terminal of the same acquirer and nowhere else,
 * whatever of the three (the root in the terminal, its certificate, the loader) is another's.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/lab_trust.h"
#include "tests/support/suite.h"

static const struct acquirer {
    const char *root, *suite, *work, *serial;
} acquirers[] = {
    {"rsa-2048", "hardened-rsa", "rsa-2048", "TERM-A"},
    {"p-256", "hardened-ec", "p-256", "TERM-B"},
    {"p-384", "hardened-ec", "p-384", "TERM-C"},
};
#define ACQUIRERS ((int)(sizeof acquirers / sizeof acquirers[0]))

static struct lab centres[ACQUIRERS];

static void found(void)
{
    for (int i = 0; i < ACQUIRERS; i++) {
        const struct acquirer *a = &acquirers[i];

        lab_found_trust(&centres[i], a->root, a->suite, a->work);
        lab_begin(&centres[i], "acquirer");
        lab_terminal(&centres[i], a->serial, "tdes2");
        lab_device_certificate(&centres[i], a->serial, "ca");
    }
    for (int i = 0; i < ACQUIRERS; i++) { /* that a loader does not know them must not be why */
        for (int k = 0; k < ACQUIRERS; k++) {
            if (k != i) {
                lab_register(&centres[i], acquirers[k].serial, "tdes2");
            }
        }
    }
}

static void abandon(void)
{
    for (int i = 0; i < ACQUIRERS; i++) {
        lab_abandon(&centres[i]);
    }
}

static void start(void)
{
    for (int i = 0; i < ACQUIRERS; i++) {
        lab_start(&centres[i]);
    }
}

static void end(void)
{
    for (int i = 0; i < ACQUIRERS; i++) {
        lab_end(&centres[i]);
    }
}

/* ---- One try ---- */

/* The terminal of acquirer `certificate`, with the root of acquirer `root` in it, at a loader. */
struct combination {
    int root, certificate, loader;
};

static int matches(const struct combination *c)
{
    return c->root == c->certificate && c->certificate == c->loader;
}

static void put_root(const struct combination *c)
{
    char from[PATH_MAX], to[PATH_MAX];

    lab_copy_file(lab_ca_root(&centres[c->root], "ca", from),
                  lab_terminal_file(&centres[c->certificate], acquirers[c->certificate].serial,
                                    "root.pem", to));
}

/* Everything that the terminal and that loader hold for it. */
struct holdings {
    size_t stored, held;
    struct lab_tmk store[LAB_TMK_MAX], pad[LAB_TMK_MAX];
};

static void look(const struct combination *c, struct holdings *out)
{
    const char *serial = acquirers[c->certificate].serial;

    memset(out, 0, sizeof *out);
    out->stored = lab_store(&centres[c->loader], serial, out->store);
    out->held = lab_pinpad(&centres[c->certificate], serial, out->pad);
}

static void expect_same(const struct combination *c, const struct holdings *a,
                        const struct holdings *b)
{
    ck_assert_msg(a->stored == b->stored && a->held == b->held &&
                      memcmp(a->store, b->store, a->stored * sizeof a->store[0]) == 0 &&
                      memcmp(a->pad, b->pad, a->held * sizeof a->pad[0]) == 0,
                  "root %d, certificate %d, loader %d: a TMK has gone its way", c->root,
                  c->certificate, c->loader);
}

static void try(const struct combination *c)
{
    static struct holdings before, after;
    const char *serial = acquirers[c->certificate].serial;
    struct lab *loader = &centres[c->loader];
    const char *why = c->certificate != c->loader ? "certificate" : "unsupported";
    int status;

    put_root(c);
    lab_arm(loader, serial, 1);
    look(c, &before);
    status = lab_load(&centres[c->certificate], serial, loader->port);
    look(c, &after);
    ck_assert_msg(status == (matches(c) ? 0 : 76), "root %d, certificate %d, loader %d: status %d",
                  c->root, c->certificate, c->loader, status);
    if (matches(c)) {
        ck_assert_uint_eq(after.stored, before.stored + 1);
        lab_settled(loader, serial, after.store[after.stored - 1].version);
        return;
    }
    expect_same(c, &before, &after);
    lab_await_alarm(loader, serial, why, 1);
    ck_assert_uint_eq(lab_attempts(loader, serial), 1);
}

/* ---- All of them ---- */

START_TEST(every_combination)
{
    unsigned matched = 0;

    start();
    for (int i = 0; i < ACQUIRERS * ACQUIRERS * ACQUIRERS; i++) {
        const struct combination c = {i / (ACQUIRERS * ACQUIRERS), i / ACQUIRERS % ACQUIRERS,
                                      i % ACQUIRERS};

        try(&c);
        matched += (unsigned)matches(&c);
    }
    ck_assert_uint_eq(matched, ACQUIRERS);
}
END_TEST

static int strip_anchors(struct kl_msg *msg, const uint8_t *der, size_t len, void *arg)
{
    (void)der;
    (void)len;
    (void)arg;
    if (msg->type != KL_MSG_HELLO) {
        return 0;
    }
    msg->u.hello.anchor_count = 0;
    return 1;
}

/* A terminal with another's root, but which does not say so: the loader serves it, and it is the
 * terminal that refuses AcquireWCRT. */
START_TEST(anchors_unsaid)
{
    start();
    for (int i = 0; i < ACQUIRERS * ACQUIRERS; i++) {
        const struct combination c = {i / ACQUIRERS, i % ACQUIRERS, i % ACQUIRERS};
        struct lab *lab = &centres[c.loader];
        const char *serial = acquirers[c.certificate].serial;
        struct lab_mitm mitm = {.edit = strip_anchors};
        static struct holdings before, after;
        char *said;

        if (c.root == c.loader) {
            continue;
        }
        put_root(&c);
        lab_arm(lab, serial, 1);
        look(&c, &before);
        ck_assert_int_eq(lab_mitm_load(lab, serial, NULL, &mitm, 1, &said), 76);
        ck_assert_msg(strstr(said, "certificate \"CN=AcquireWCRT,O=Test Acquirer\"") != NULL, "%s",
                      said);
        look(&c, &after);
        expect_same(&c, &before, &after);
        lab_await_alarm(lab, serial, "peer-refused", 1);
        free(said);
    }
}
END_TEST

/* A loader does not start with the work certificate of another acquirer. */
START_TEST(work_certificate_of_another)
{
    char from[PATH_MAX], dir[PATH_MAX], to[PATH_MAX];

    for (int i = 0; i < ACQUIRERS; i++) {
        struct lab *other = &centres[(i + 1) % ACQUIRERS];
        char *log;

        file_path(from, file_path(dir, other->dir, "work"), LAB_WORK_KEY ".pem");
        file_mkdir(file_path(dir, centres[i].dir, "another"));
        lab_copy_file(from, file_path(to, dir, LAB_WORK_KEY ".pem"));
        lab_set(&centres[i], "certificates", "work", dir);
        ck_assert_int_eq(lab_start_fails(&centres[i]), 76);
        log = file_read(centres[i].daemon.err, NULL);
        ck_assert_msg(strstr(log, "rc=certificate") != NULL && strstr(log, to) != NULL, "%s", log);
        free(log);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("acquirers");
    TCase *tc = tcase_create("acquirers");

    tcase_set_timeout(tc, 180);
    tcase_add_unchecked_fixture(tc, found, abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_test(tc, every_combination);
    tcase_add_test(tc, anchors_unsaid);
    tcase_add_test(tc, work_certificate_of_another);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
