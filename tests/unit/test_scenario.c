/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenario files: what is built in is good; each mistake is told with file, line and what to do. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "terminal-sim/attack/scenario.h"
#include "tests/support/suite.h"

static struct kl_scenario scenario;

static enum kl_rc parse(const char *text, struct kl_err *err)
{
    return kl_scenario_parse("dir/own.ini", text, strlen(text), &scenario, err);
}

START_TEST(built_in)
{
    struct kl_err err = KL_ERR_INIT;
    char expects[KL_SC_TEXT_MAX];

    ck_assert_uint_gt(kl_scenario_count, 90);
    for (size_t i = 0; i < kl_scenario_count; i++) {
        const struct kl_scenario_text *s = &kl_scenarios[i];

        ck_assert_msg(kl_scenario_parse(s->name, s->text, strlen(s->text), &scenario, &err) ==
                          KL_OK,
                      "%s", err.text);
        ck_assert_str_eq(scenario.name, s->name);
        kl_scenario_expects(&scenario, expects);
        ck_assert_int_gt((int)strlen(expects), 0);
    }
}
END_TEST

START_TEST(everything_at_once)
{
    static const char text[] = "# a comment\n[scenario]\ntries = all of it\ncheats = terminal\n"
                               "needs = certificate, arm\n"
                               "[session first]\nloader = rogue\nserial = T-1\n"
                               "pinpad-serial = P-1\nsuites = hardened-ec, classic\n"
                               "within = 2m\nexpect = error refused busy\n"
                               "Hello = flip serial 2 80\nHello = set version number:300\n"
                               "Hello = delay 250ms\nRandoms = rnd1 zeros:16\n"
                               "[session second]\nloader = rogue\ncertificate = revoked\n"
                               "sign-in = first\notherwise = broken\nbreaks = Loaded\n"
                               "differs = first.MasterKey tbs.kcv\n"
                               "MasterKey = signed copy tbs.t1 first.MasterKey\n"
                               "Done = replace file:/tmp/a#b#12\nDone = then error:timeout\n"
                               "Done = sweep except mac\nexpect = terminal is wrong\n";
    struct kl_err err = KL_ERR_INIT;
    const struct kl_sc_session *first = &scenario.sessions[0], *second = &scenario.sessions[1];

    ck_assert_msg(parse(text, &err) == KL_OK, "%s", err.text);
    ck_assert_str_eq(scenario.name, "own");
    ck_assert(scenario.cheats_terminal && scenario.needs_certificate && scenario.needs_arm);
    ck_assert_int_eq(kl_scenario_needs_loader(&scenario), 0);
    ck_assert_uint_eq(first->seconds, 120);
    ck_assert_uint_eq(first->codes, 1u << KL_WIRE_REFUSED | 1u << KL_WIRE_BUSY);
    ck_assert_uint_eq(first->suite_count, 2);
    ck_assert_int_eq(first->suites[0], KL_SUITE_HARDENED_EC);
    ck_assert_uint_eq(first->rules[0].number, 2);
    ck_assert_int_eq(first->rules[0].mask, 0x80);
    ck_assert_uint_eq(first->rules[0].line, 13);
    ck_assert_uint_eq(first->rules[1].value.len, 2); /* 300: 01 2c */
    ck_assert_int_eq(first->rules[1].value.data[1], 0x2c);
    ck_assert_uint_eq(first->rules[2].number, 250);
    ck_assert_uint_eq(first->rules[3].value.len, 16);
    ck_assert_int_eq(second->kind, KL_SC_SIGN_IN);
    ck_assert_uint_eq(second->pad, 0);
    ck_assert(second->otherwise_broken && second->differs);
    ck_assert_int_eq(second->breaks, KL_MSG_LOADED);
    ck_assert_int_eq(second->cert, KL_SC_CERT_REVOKED);
    ck_assert_int_eq(second->rules[0].before_signing, 1);
    ck_assert_str_eq(second->rules[1].ref.path, "/tmp/a#b");
    ck_assert_uint_eq(second->rules[1].ref.number, 12);
    ck_assert_uint_eq(second->rules[2].ref.number, KL_WIRE_TIMEOUT);
    ck_assert_str_eq(second->rules[3].field, "mac");
    ck_assert_str_eq(second->text, "is wrong");
}
END_TEST

#define HEAD "[scenario]\ntries = x\ncheats = loader\n"
#define SESSION HEAD "[session a]\nexpect = done\n"
#define ROGUE HEAD "[session a]\nloader = rogue\nexpect = done\n"

static const struct {
    const char *text, *says;
} bad[] = {
    {"", "own.ini: [scenario] must say 'tries'"},
    {"[scenario]\ntries = x\n", "must say 'cheats'"},
    {HEAD, "there is no [session NAME]"},
    {"tries = x\n", "own.ini:1: unknown section ''"},
    {"[other]\na = b\n", "own.ini:2: unknown section 'other'"},
    {"[scenario]\ntries =\n", "own.ini:2: tries: it has 1 to"},
    {"[scenario]\ncheats = both\n", "'both' must be one of loader, terminal"},
    {"[scenario]\ntries = x\ntries = y\n", "own.ini:3: tries: it is said already"},
    {"[scenario]\ncheat = loader\n", "unknown key: [scenario] has"},
    {"[scenario]\nneeds = money\n", "must be one of certificate, arm"},
    {"[scenario]\nneeds =\n", "write certificate, or arm"},
    {SESSION "[scenario]\nneeds = arm\n", "comes first, before the sessions"},
    {HEAD "[session A]\nexpect = done\n", "a session's name has"},
    {HEAD "[session ]\nexpect = done\n", "a session's name has"},
    {SESSION "[session b]\nexpect = done\n[session a]\nexpect = done\n", "there is a session 'a'"},
    {HEAD "[session a]\nloader = rogue\n", "[session a] must say 'expect'"},
    {SESSION "expect = done\n", "own.ini:6: [session a] expect: it is said already, on line 5"},
    {HEAD "[session a]\nexpect = joy\n", "'joy' must be one of done, drop"},
    {HEAD "[session a]\nexpect =\n", "it has 1 to"},
    {HEAD "[session a]\nexpect = done active\n", "nothing goes behind 'done'"},
    {HEAD "[session a]\nexpect = error bad\n", "'bad' is no code of Error"},
    {HEAD "[session a]\nexpect = terminal\n", "some of what the terminal must say"},
    {SESSION "loader = fake\n", "must be one of real, rogue"},
    {SESSION "certificate = good\n", "needs 'loader = rogue' above"},
    {ROGUE "certificate = nice\n", "must be one of good, expired"},
    {SESSION "otherwise = fine\n", "must be one of inconclusive, broken"},
    {SESSION "breaks = Hallo\n", "there is no message 'Hallo'"},
    {SESSION "differs = a.Hello\n", "write it as SESSION.Message FIELD"},
    {SESSION "differs = a.Hello serial\n", "is this very session"},
    {SESSION "differs = b.Hello serial\n", "there is no session 'b' above"},
    {SESSION "differs = a.Hello nonce\n", "there is no field nonce"},
    {SESSION "confirm = a\n", "is this very session"},
    {SESSION "confirm = b\n", "there is no session 'b' above"},
    {SESSION "[session b]\nconfirm = a\nsign-in = a\nexpect = done\n", "a load, a confirm or"},
    {SESSION "[session b]\nloader = rogue\nconfirm = a\nexpect = done\n", "with the same loader"},
    {SESSION "pinpad-of = b\n", "there is no session 'b' above"},
    {SESSION "serial = a b\n", "serial"},
    {SESSION "pinpad-serial = \xc3\xa4\n", "serial"},
    {SESSION "suites = best\n", "write some of hardened-rsa"},
    {SESSION "suites = classic, classic\n", "each once"},
    {SESSION "suites =\n", "name a suite"},
    {SESSION "within = 0s\n", "within"},
    {SESSION "within = 3h\n", "within"},
    {SESSION "speed = 1\n", "unknown key: a session has"},
    {SESSION "Hello =\n", "say what is to be done"},
    {SESSION "Hello = a b c d e f\n", "more than 5 words"},
    {SESSION "Hello = eat\n", "'eat' is no action"},
    {SESSION "Hello = flip serial\n", "write it as 'flip FIELD PART [MASK]'"},
    {SESSION "Hello = flip nonce first\n", "Hello has no field 'nonce'"},
    {SESSION "Hello = flip serial.x first\n", "Hello has no field 'serial.x'"},
    {SESSION "Hello = flip serial end\n", "is no part of a field"},
    {SESSION "Hello = flip serial first 00\n", "a mask is one byte"},
    {SESSION "Hello = flip serial first 0102\n", "a mask is one byte"},
    {SESSION "Hello = flip serial first FF\n", "lower-case hexadecimal"},
    {SESSION "Hello = set serial 5\n", "'5' is no value"},
    {SESSION "Hello = set serial hex:0\n", "lower-case hexadecimal"},
    {SESSION "Hello = set serial hex:\n", "lower-case hexadecimal"},
    {SESSION "Hello = set version number:x\n", "x"},
    {SESSION "Hello = set serial zeros:513\n", "513"},
    {SESSION "Hello = copy serial error:busy\n", "copy takes SESSION.Message"},
    {SESSION "Hello = copy serial b.Hello\n", "there is no session 'b' above"},
    {SESSION "Hello = replace a\n", "names no message"},
    {SESSION "Hello = replace a.Hallo\n", "there is no message 'Hallo'"},
    {SESSION "Hello = replace error:none\n", "is no code of Error"},
    {SESSION "Hello = replace file:x\n", "is not file:PATH#N"},
    {SESSION "Hello = replace file:x#0\n", "is not file:PATH#N"},
    {SESSION "Hello = replace file:#1\n", "is not file:PATH#N"},
    {SESSION "Hello = drop it\n", "write it as 'drop'"},
    {SESSION "Hello = truncate -1\n", "-1"},
    {SESSION "Hello = pad 70000\n", "70000"},
    {SESSION "Hello = delay 5\n", "write it as 250ms or 2s"},
    {SESSION "Hello = delay 61s\n", "61"},
    {SESSION "Hello = rnd1 zeros:32\n", "Rnd1 is in Randoms alone"},
    {SESSION "Hello = sweep but serial\n", "write it as 'sweep' or"},
    {SESSION "Hello = sweep\n[session b]\nexpect = done\n", "a sweep belongs into the last"},
    {SESSION "Hello = sweep\nRandoms = sweep\n", "one sweep is enough"},
    {SESSION "MasterKey = signed flip tbs.t1 first\n", "'signed' goes before"},
    {ROGUE "MasterKey = signed flip signature first\n", "'signed' goes before"},
    {ROGUE "MasterKey = signed drop\n", "'signed' goes before"},
    {ROGUE "Hello = signed\n", "'signed' is no action"},
    {SESSION "Hello\n", "own.ini:6: must be [section], key = value"},
    {SESSION "Hello = drop # it\n", "own.ini:6: a comment must stand on a line of its own"},
};

START_TEST(mistakes)
{
    struct kl_err err = KL_ERR_INIT;

    ck_assert_int_eq(parse(bad[_i].text, &err), KL_ERR_CONFIG);
    ck_assert_msg(strncmp(err.text, "dir/own.ini:", 12) == 0, "%s", err.text);
    ck_assert_msg(strstr(err.text, bad[_i].says) != NULL, "%s", err.text);
}
END_TEST

START_TEST(too_much)
{
    char text[8192];
    struct kl_err err = KL_ERR_INIT;

    strcpy(text, SESSION);
    for (int i = 0; i <= KL_SC_RULES_MAX; i++) {
        strcat(text, "Hello = repeat\n");
    }
    ck_assert_int_eq(parse(text, &err), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "16 actions at most"));
    strcpy(text, HEAD);
    for (int i = 0; i <= KL_SC_SESSIONS_MAX; i++) {
        snprintf(text + strlen(text), 64, "[session s%d]\nexpect = done\n", i);
    }
    ck_assert_int_eq(parse(text, &err), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "6 sessions at most"));
    ck_assert_int_eq(kl_scenario_parse("A b.ini", SESSION, strlen(SESSION), &scenario, &err),
                     KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "a scenario's file is called NAME.ini"));
    ck_assert_int_eq(kl_scenario_read("/nowhere/x.ini", &scenario, &err), KL_ERR_NO_FILE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scenario");
    TCase *tc = tcase_create("scenario");

    tcase_add_test(tc, built_in);
    tcase_add_test(tc, everything_at_once);
    tcase_add_loop_test(tc, mistakes, 0, sizeof bad / sizeof bad[0]);
    tcase_add_test(tc, too_much);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
