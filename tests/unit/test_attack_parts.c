/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What attacks are made of: fields found and changed in DER, rules that make bytes of a message,
 * and results as TAP, JUnit XML and exit statuses. And that a terminal which does not defend
 * itself, or a loader that does not serve, is never said to hold.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "terminal-sim/attack/attack_impl.h"
#include "terminal-sim/attack/field.h"
#include "terminal-sim/attack/results.h"
#include "tests/support/messages.h"
#include "tests/support/suite.h"

static uint8_t der[KL_MSG_MAX];
static size_t len;

static void encode(unsigned sample)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg msg;

    test_sample(sample, &msg);
    ck_assert_msg(kl_msg_encode(&msg, der, &len, &err) == KL_OK, "%s", err.text);
}

/* ---- Fields ---- */

START_TEST(fields_are_found)
{
    static const struct {
        unsigned sample;
        const char *name;
        uint8_t tag;
        size_t size; /* 0 = not looked at */
    } rows[] = {
        {KL_MSG_HELLO, "", 0xa0, 0},
        {KL_MSG_HELLO, "version", 0x02, 1},
        {TEST_HELLO_FULL, "pinpadSerial", 0x16, 0},
        {TEST_HELLO_FULL, "anchors", 0xa0, 0},
        {TEST_HELLO_CHAIN, "chain", 0xa1, 0},
        {KL_MSG_CERTIFICATE, "nonce", 0x04, 32},
        {TEST_CERTIFICATE_CRL, "crl", 0xa0, 0},
        {KL_MSG_RANDOMS, "cRnd2", 0x82, 48},
        {TEST_RANDOMS_EC_SIGNED, "signature", 0x83, 0},
        {TEST_RANDOMS_EC, "point", 0x80, 0},
        {KL_MSG_MASTER_KEY, "tbs", 0x30, 0},
        {KL_MSG_MASTER_KEY, "tbs.t1", 0x04, 32},
        {KL_MSG_MASTER_KEY, "tbs.kcv", 0x04, 0},
        {TEST_MASTER_KEY_CLASSIC, "mac", 0x80, 16},
        {TEST_MASTER_KEY_CLASSIC, "tbs.serial", 0x16, 0},
        {KL_MSG_LOADED, "mac", 0x04, 16},
        {KL_MSG_FAILED, "reason", 0x02, 1},
        {KL_MSG_DONE, "tmkVersion", 0x02, 0},
        {KL_MSG_CONFIRM, "loaded.kcv", 0x04, 0},
        {KL_MSG_ERROR, "text", 0x0c, 0},
        {KL_MSG_SIGN_IN, "nonce", 0x04, 32},
        {KL_MSG_WORKING_KEYS, "body.mak.kcv", 0x04, 0},
        {TEST_KEYS_FIELD62, "body.field62", 0x82, 40},
    };
    struct kl_span span;
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        encode(rows[i].sample);
        ck_assert_msg(kl_field_find(der, len, rows[i].name, &span, &err) == KL_OK, "%s", err.text);
        ck_assert_uint_eq(der[span.at], rows[i].tag);
        ck_assert_uint_le(span.at + span.header + span.len, len);
        ck_assert(rows[i].size == 0 || span.len == rows[i].size);
    }
    encode(TEST_RANDOMS_CLASSIC);
    ck_assert_int_eq(kl_field_find(der, len, "iv", &span, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(kl_field_find(der, len, "none", &span, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(kl_field_find(der, len - 1, "cRnd1", &span, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(kl_field_find(der, 0, "", &span, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(kl_field_find((const uint8_t *)"\xbf\x00", 2, "x", &span, &err),
                     KL_ERR_NOT_FOUND);
    ck_assert(kl_field_known(KL_MSG_CONFIRM, "loaded.mac"));
    ck_assert(!kl_field_known(KL_MSG_CONFIRM, "loaded.mac.x"));
    ck_assert(!kl_field_known(KL_MSG_LOADED, "nonce"));
}
END_TEST

/* What was set is decoded so, with lengths that grow and shrink beyond 127 and 255. */
START_TEST(fields_are_set)
{
    const struct kl_msg *msg;
    static struct kl_msg decoded;
    struct kl_err err = KL_ERR_INIT;
    uint8_t big[KL_MSG_MAX] = {0};

    encode(KL_MSG_HELLO);
    msg = &decoded;
    ck_assert_int_eq(kl_field_set(der, &len, "serial", (const uint8_t *)"ANOTHER-ONE", 11, &err),
                     KL_OK);
    ck_assert_msg(kl_msg_decode(der, len, &decoded, &err) == KL_OK, "%s", err.text);
    ck_assert_str_eq(msg->u.hello.serial, "ANOTHER-ONE");
    encode(KL_MSG_CONFIRM);
    ck_assert_int_eq(kl_field_set(der, &len, "loaded.kcv", (const uint8_t *)"abcd", 4, &err),
                     KL_OK);
    ck_assert_int_eq(kl_msg_decode(der, len, &decoded, &err), KL_OK);
    ck_assert_uint_eq(msg->u.confirm.loaded.kcv_len, 4);
    encode(TEST_HELLO_FULL);
    ck_assert_int_eq(kl_field_remove(der, &len, "chain", &err), KL_OK);
    ck_assert_int_eq(kl_field_remove(der, &len, "anchors", &err), KL_OK);
    ck_assert_int_eq(kl_msg_decode(der, len, &decoded, &err), KL_OK);
    ck_assert_uint_eq(msg->u.hello.chain_count + msg->u.hello.anchor_count, 0);
    for (size_t n = 100; n <= 300; n += 100) { /* DER, though no such Loaded is taken */
        struct kl_span span;

        encode(KL_MSG_LOADED);
        ck_assert_int_eq(kl_field_set(der, &len, "mac", big, n, &err), KL_OK);
        ck_assert_int_eq(kl_field_find(der, len, "mac", &span, &err), KL_OK);
        ck_assert_uint_eq(span.at + span.header + n, len);
    }
    encode(KL_MSG_LOADED);
    ck_assert_int_eq(kl_field_set(der, &len, "mac", big, sizeof big - 4, &err), KL_ERR_INPUT);
    ck_assert_int_eq(kl_field_set(der, &len, "mac", big, sizeof big, &err), KL_ERR_INPUT);
    ck_assert_int_eq(kl_field_remove(der, &len, "", &err), KL_ERR_NOT_FOUND);
}
END_TEST

/* ---- Rules ---- */

static struct kl_scenario scenario;
static struct kl_parcel parcel;
static struct kl_tampering tampering;

#define HEAD "[scenario]\ntries = x\ncheats = loader\n[session a]\nexpect = refused\n"

/* Passes a sample through the rules of one session. */
static enum kl_rc tamper(const char *rules, unsigned sample, struct kl_err *err)
{
    static struct kl_kept kept;
    static struct kl_kept *all[] = {&kept};
    char text[1024];

    snprintf(text, sizeof text, HEAD "%s", rules);
    ck_assert_msg(kl_scenario_parse("a.ini", text, strlen(text), &scenario, err) == KL_OK, "%s",
                  err->text);
    encode(sample);
    memset(&kept, 0, sizeof kept);
    tampering.session = &scenario.sessions[0];
    tampering.kept = all;
    return kl_tamper(&tampering, (enum kl_msg_type)(der[0] & 0x1f), der, len, &parcel, err);
}

START_TEST(frames)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(tamper("Hello = truncate 5\n", KL_MSG_HELLO, &err), KL_OK);
    ck_assert_uint_eq(parcel.len, 7);
    ck_assert_int_eq(parcel.bytes[1], 5);
    ck_assert_int_eq(tamper("Hello = pad 3\n", KL_MSG_HELLO, &err), KL_OK);
    ck_assert_uint_eq(parcel.len, len + 5);
    ck_assert_uint_eq((size_t)(parcel.bytes[0] << 8 | parcel.bytes[1]), len + 3);
    ck_assert_int_eq(tamper("Hello = claim 65535\n", KL_MSG_HELLO, &err), KL_OK);
    ck_assert_uint_eq(parcel.len, len + 2);
    ck_assert_int_eq(parcel.bytes[0], 0xff);
    ck_assert_int_eq(tamper("Hello = cut 4\n", KL_MSG_HELLO, &err), KL_OK);
    ck_assert_uint_eq(parcel.len, 4);
    ck_assert_int_eq(tamper("Hello = repeat\nHello = then error:busy\n", KL_MSG_HELLO, &err),
                     KL_OK);
    ck_assert_uint_gt(parcel.len, 2 * (len + 2));
    ck_assert_mem_eq(parcel.bytes, parcel.bytes + len + 2, len + 2);
    ck_assert_int_eq(parcel.bytes[2 * (len + 2) + 2], 0xa8);
    ck_assert_int_eq(tamper("Hello = drip 5ms\nHello = delay 1s\nHello = drop\n", KL_MSG_HELLO,
                            &err),
                     KL_OK);
    ck_assert(parcel.drip_ms == 5 && parcel.delay_ms == 1000 && parcel.dropped);
    ck_assert_int_eq(tamper("Done = close\n", KL_MSG_HELLO, &err), KL_OK);
    ck_assert(!parcel.closed); /* that is about another message */
    ck_assert_int_eq(tamper("Hello = pad 65535\n", KL_MSG_HELLO, &err), KL_ERR_INPUT);
    ck_assert_int_eq(tamper("Hello = remove chain\n", KL_MSG_HELLO, &err), KL_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "line 6"));
    ck_assert_int_eq(tamper("Hello = flip version 9\n", KL_MSG_HELLO, &err), KL_ERR_INPUT);
    ck_assert_int_eq(tamper("Hello = replace a.Done\n", KL_MSG_HELLO, &err), KL_ERR_NOT_FOUND);
    ck_assert_int_eq(tamper("Hello = replace file:/nowhere#1\n", KL_MSG_HELLO, &err),
                     KL_ERR_NO_FILE);
}
END_TEST

/* A recording that a rule names: there, with as many messages, and whole. */
START_TEST(recordings)
{
    static const char rule[] = HEAD "Hello = repeat\nDone = %s file:%s/own.rec#2\n";
    struct kl_err err = KL_ERR_INIT;
    const char *dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char text[1024], path[512];

    snprintf(text, sizeof text, rule, _i ? "replace" : "then", dir);
    snprintf(path, sizeof path, "%s/own.rec", dir);
    ck_assert_int_eq(kl_scenario_parse("a.ini", text, strlen(text), &scenario, &err), KL_OK);
    unlink(path);
    ck_assert_int_eq(kl_tamper_check(&scenario, "a.ini", &err), KL_ERR_NO_FILE);
    ck_assert_ptr_nonnull(strstr(err.text, "a.ini:7: Done: "));
    ck_assert_ptr_nonnull(strstr(err.text, path));
    FILE *file = fopen(path, "w");
    encode(KL_MSG_HELLO);
    fprintf(file, ">%c%c", (int)(len >> 8), (int)(len & 0xff));
    fwrite(der, 1, len, file);
    fflush(file);
    ck_assert_int_eq(kl_tamper_check(&scenario, "a.ini", &err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "it has only 1 messages"));
    fprintf(file, "<%c%c", 0, 4);
    fflush(file);
    ck_assert_int_eq(kl_tamper_check(&scenario, "a.ini", &err), KL_ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "cut short"));
    fwrite(der, 1, 4, file);
    fclose(file);
    ck_assert_msg(kl_tamper_check(&scenario, "a.ini", &err) == KL_OK, "%s", err.text);
    unlink(path);
}
END_TEST

/* A sweep changes one byte each time, never the same twice, and comes to an end. */
START_TEST(sweeps)
{
    static uint8_t seen[KL_MSG_MAX];
    struct kl_err err = KL_ERR_INIT;
    size_t all, spared;

    for (tampering.variant = 0, all = 1; tampering.variant < all; tampering.variant++) {
        size_t changed = 0, at = 0;

        ck_assert_int_eq(tamper("Confirm = sweep\n", KL_MSG_CONFIRM, &err), KL_OK);
        all = tampering.variants;
        for (size_t i = 0; i < len; i++) {
            if (parcel.bytes[2 + i] != der[i]) {
                changed++;
                at = i;
            }
        }
        ck_assert_uint_eq(changed, 1);
        ck_assert_uint_eq(seen[at], 0);
        seen[at] = 1;
    }
    ck_assert_uint_gt(all, 20);
    tampering.variant = 0;
    ck_assert_int_eq(tamper("Confirm = sweep except pinpadSerial\n", KL_MSG_CONFIRM, &err), KL_OK);
    spared = tampering.variants;
    ck_assert_uint_eq(all - spared, 3); /* first, middle and last byte of its value */
}
END_TEST

/* ---- Results ---- */

static struct kl_results three(int strict)
{
    static const struct kl_attack_result rows[] = {
        {"one", "a & b", KL_ATTACK_HELD, "refused", 1, 0.5},
        {"two", "\"x\" \\ <y>", KL_ATTACK_BROKEN, "it's\x01\xff\n<got in>", 7, 0.25},
        {"three", "", KL_ATTACK_INCONCLUSIVE, "no loader", 1, 0}};
    struct kl_results results = {.strict = strict};
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(kl_results_add(&results, &rows[i], &err), KL_OK);
    }
    return results;
}

static char *written(void (*write)(FILE *out, const struct kl_results *results), int strict)
{
    struct kl_results results = three(strict);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(out);
    write(out, &results);
    fclose(out);
    kl_results_wipe(&results);
    return text;
}

static void write_tap(FILE *out, const struct kl_results *results)
{
    kl_results_tap_begin(out, results->count);
    for (size_t i = 0; i < results->count; i++) {
        kl_results_tap(out, results, i);
    }
}

START_TEST(tap)
{
    static const char expected[] =
        "TAP version 13\n1..3\nok 1 - one\n  ---\n  outcome: held\n  tries: \"a & b\"\n"
        "  message: \"refused\"\n  variants: 1\n  duration_ms: 500\n  ...\n"
        "not ok 2 - two\n  ---\n  outcome: broken\n  tries: \"\\\"x\\\" \\\\ <y>\"\n"
        "  message: \"it's?\xff?<got in>\"\n  variants: 7\n  duration_ms: 250\n  ...\n"
        "ok 3 - three # SKIP inconclusive\n  ---\n  outcome: inconclusive\n  tries: \"\"\n"
        "  message: \"no loader\"\n  variants: 1\n  duration_ms: 0\n  ...\n";
    char *text = written(write_tap, 0);

    ck_assert_str_eq(text, expected);
    free(text);
    text = written(write_tap, 1);
    ck_assert_ptr_nonnull(strstr(text, "\nnot ok 3 - three\n"));
    free(text);
}
END_TEST

START_TEST(junit)
{
    static const char expected[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuite name=\"terminal-sim attack\" tests=\"3\" failures=\"1\" errors=\"0\" "
        "skipped=\"1\" time=\"0.750\">\n"
        "  <testcase classname=\"terminal-sim.attack\" name=\"one\" time=\"0.500\">\n"
        "    <system-out>a &amp; b: refused</system-out>\n  </testcase>\n"
        "  <testcase classname=\"terminal-sim.attack\" name=\"two\" time=\"0.250\">\n"
        "    <failure message=\"it&#39;s??&#10;&lt;got in&gt;\" type=\"broken\"/>\n"
        "    <system-out>&quot;x&quot; \\ &lt;y&gt;: it&#39;s??&#10;&lt;got in&gt;</system-out>\n"
        "  </testcase>\n"
        "  <testcase classname=\"terminal-sim.attack\" name=\"three\" time=\"0.000\">\n"
        "    <skipped message=\"no loader\"/>\n    <system-out>: no loader</system-out>\n"
        "  </testcase>\n</testsuite>\n";
    char *text = written(kl_results_junit, 0);

    ck_assert_str_eq(text, expected);
    free(text);
    text = written(kl_results_junit, 1);
    ck_assert_ptr_nonnull(strstr(text, "failures=\"2\" errors=\"0\" skipped=\"0\""));
    ck_assert_ptr_nonnull(strstr(text, "<failure message=\"no loader\" type=\"inconclusive\"/>"));
    free(text);
}
END_TEST

START_TEST(statuses)
{
    struct kl_attack_result rows[2] = {{.outcome = KL_ATTACK_HELD},
                                       {.outcome = KL_ATTACK_INCONCLUSIVE}};
    struct kl_results results = {.count = 2, .of = rows};

    ck_assert_int_eq(kl_results_status(&results), 0);
    results.strict = 1;
    ck_assert_int_eq(kl_results_status(&results), 2);
    rows[1].outcome = KL_ATTACK_NOT_TRIED; /* nobody asked for it */
    ck_assert_int_eq(kl_results_status(&results), 0);
    rows[1].outcome = KL_ATTACK_BROKEN;
    ck_assert_int_eq(kl_results_status(&results), 1);
    results.strict = 0;
    rows[0].outcome = rows[1].outcome = KL_ATTACK_INCONCLUSIVE;
    ck_assert_int_eq(kl_results_status(&results), 2); /* nothing was shown */
    results.count = 0;
    ck_assert_int_eq(kl_results_status(&results), 2);
}
END_TEST

/* ---- The engine, without a loader ---- */

static void run(struct kl_attack *attack, const char *text, struct kl_attack_result *out)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_scenario_parse("a.ini", text, strlen(text), &scenario, &err) == KL_OK, "%s",
                  err.text);
    kl_attack_run(attack, &scenario, out);
}

#define T "[scenario]\ntries = x\ncheats = terminal\n[session a]\nloader = rogue\n"

START_TEST(outcomes)
{
    static const struct {
        const char *text;
        enum kl_attack_outcome outcome;
        const char *says;
    } rows[] = {
        {T "expect = done\n", KL_ATTACK_HELD, "Done, active"},
        /* Nothing is done to it, so it goes through: were that an attack, it would have won. */
        {T "expect = refused\n", KL_ATTACK_BROKEN, "it went through"},
        {T "breaks = Loaded\nexpect = done\n", KL_ATTACK_BROKEN, "got as far as Loaded"},
        {T "expect = terminal x\nCertificate = pad 1\n", KL_ATTACK_INCONCLUSIVE,
         "not the end that it should have had"},
        {T "expect = terminal x\nCertificate = pad 1\notherwise = broken\n", KL_ATTACK_BROKEN,
         "bytes follow"},
        {T "expect = refused\nCertificate = remove crl\n", KL_ATTACK_INCONCLUSIVE,
         "could not be run"},
        {T "expect = silence\nDone = drop\n", KL_ATTACK_HELD, "nothing came back"},
        {T "expect = error protocol\nRandoms = pad 1\n", KL_ATTACK_HELD, "Error protocol"},
        {T "expect = error refused\nRandoms = pad 1\n", KL_ATTACK_INCONCLUSIVE, "Error protocol"},
        {T "expect = refused\nFailed = sweep\n", KL_ATTACK_BROKEN, "it went through"},
        {T "expect = refused\nCertificate = pad 1\nDone = sweep\n", KL_ATTACK_INCONCLUSIVE,
         "never came"},
        {T "expect = done\n[session b]\nloader = rogue\nMasterKey = close\nexpect = stopped\n"
           "differs = a.MasterKey tbs.kcv\n",
         KL_ATTACK_BROKEN, "tbs.kcv of MasterKey is what it was in session a"},
        {T "Hello = close\nexpect = done\n[session b]\nloader = rogue\nexpect = done\n",
         KL_ATTACK_INCONCLUSIVE, "the attack was not made"},
        {"[scenario]\ntries = x\ncheats = loader\n[session a]\nexpect = refused\n",
         KL_ATTACK_INCONCLUSIVE, "needs a loader"},
    };
    static const struct kl_attack_target target = {.seconds = 5};
    struct kl_attack_result result;
    struct kl_attack *attack;
    struct kl_err err = KL_ERR_INIT;

    ck_assert_msg(kl_attack_new(&target, &attack, &err) == KL_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(attack, rows[i].text, &result);
        ck_assert_msg(result.outcome == rows[i].outcome &&
                          strstr(result.detail, rows[i].says) != NULL,
                      "row %zu: %s, %s", i, kl_attack_outcome_name(result.outcome), result.detail);
    }
    kl_attack_free(attack);
}
END_TEST

/* A terminal that says that it refuses, and has the TMK nevertheless; or has lost its candidate. */
START_TEST(pinpad_is_looked_at)
{
    static const struct {
        size_t after;
        int has_candidate;
        enum kl_attack_outcome outcome;
    } rows[] = {{1, 0, KL_ATTACK_HELD},
                {2, 0, KL_ATTACK_BROKEN},
                {0, 0, KL_ATTACK_BROKEN},
                {2, 1, KL_ATTACK_HELD},
                {1, 1, KL_ATTACK_BROKEN}};
    static const struct kl_sc_session session = {.name = "a",
                                                 .loader = KL_SC_ROGUE,
                                                 .breaks = -1,
                                                 .expect = KL_SC_EXPECT_REFUSED};
    struct kl_run run = {.session = &session, .held_before = 1};
    struct kl_attack_result result;

    run.end.kind = KL_END_TERMINAL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run.held_after = rows[i].after;
        run.has_candidate = rows[i].has_candidate;
        kl_attack_judge(&run, &result);
        ck_assert_msg(result.outcome == rows[i].outcome, "row %zu: %s", i, result.detail);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attack_parts");
    TCase *tc = tcase_create("attack_parts");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, fields_are_found);
    tcase_add_test(tc, fields_are_set);
    tcase_add_test(tc, frames);
    tcase_add_loop_test(tc, recordings, 0, 2);
    tcase_add_test(tc, sweeps);
    tcase_add_test(tc, tap);
    tcase_add_test(tc, junit);
    tcase_add_test(tc, statuses);
    tcase_add_test(tc, outcomes);
    tcase_add_test(tc, pinpad_is_looked_at);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
