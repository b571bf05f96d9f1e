/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys that were made elsewhere, all the way into a terminal: work keys from PKCS#8 files, and TMKs
 * that another party wrapped or custodians typed; and TMKs that go out to a host. OpenSSL's program
 * plays the other party.
 */
#include <check.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/report.h"
#include "proto/message.h"
#include "tests/support/keywrap.h"
#include "tests/support/party.h"
#include "tests/support/suite.h"

static struct kl_err err = KL_ERR_INIT;

static void end(void)
{
    lab_end(&party.lab);
}

static int load(const char *serial, uint16_t port)
{
    lab_arm(&party.lab, serial, 3);
    return lab_load(&party.lab, serial, port);
}

/* ---- Work keys ---- */

static const struct {
    const char *label, *algorithm, *option, *suite, *tmk, *too_strong;
} work_keys[] = {
    {"rsa2048", "RSA", "rsa_keygen_bits:2048", "hardened-rsa", "tdes3", "aes128"},
    {"rsa3072", "RSA", "rsa_keygen_bits:3072", "hardened-rsa", "aes128", "aes192"},
    {"p256", "EC", "ec_paramgen_curve:P-256", "hardened-ec", "aes128", "aes192"},
    {"p521", "EC", "ec_paramgen_curve:P-521", "hardened-ec", "aes256", NULL},
};

START_TEST(imported_work_keys_serve)
{
    char file[PATH_MAX], dir[PATH_MAX], pass[PATH_MAX + 8];
    const char *label = work_keys[_i].label;

    lab_begin(&party.lab, label);
    snprintf(pass, sizeof(pass), "%s", party_source("pass", PARTY_PASSPHRASE "\n"));
    snprintf(file, sizeof(file), "%s", party_at("work.p8"));
    PARTY_OPENSSL("genpkey", "-algorithm", work_keys[_i].algorithm, "-pkeyopt",
                  work_keys[_i].option, "-aes-256-cbc", "-pass", pass, "-out", file);
    json_t *made = lab_ctl_json(&party.lab, "key", "import", file, "--label", label,
                                "--passphrase-source", pass, NULL);
    ck_assert_str_eq(lab_text(made, "suite"), work_keys[_i].suite);
    json_decref(made);
    /* No other key is served. */
    file_mkdir(file_path(dir, party.lab.run, "work"));
    lab_set(&party.lab, "certificates", "work", dir);
    lab_certify_key(&party.lab, label, "ca");
    lab_start(&party.lab);
    lab_terminal(&party.lab, "T", work_keys[_i].tmk);
    ck_assert_int_eq(load("T", party.lab.port), 0);
    lab_settled(&party.lab, "T", 1);
    if (work_keys[_i].too_strong) {
        lab_terminal(&party.lab, "S", work_keys[_i].too_strong);
        ck_assert_int_eq(load("S", party.lab.port), 76);
        struct lab_tmk none[LAB_TMK_MAX];
        ck_assert_uint_eq(lab_store(&party.lab, "S", none), 0);
    }
}
END_TEST

/* ---- TMKs ---- */

/* The terminal has loaded that very key: the loader's row says so, and what the loader enciphers
 * under it at a sign-in, and the terminal takes, this key opens. */
static void has_it(const struct party_tmk *key, unsigned version)
{
    char path[PATH_MAX];
    const struct relay_plan plan = {.record = file_path(path, party.lab.run, "sign-in.rec")};
    const struct kl_tmk row = lab_tmk_row(&party.lab, key->serial, version);
    uint8_t value[KL_TMK_LEN_MAX], pik[KL_TMK_LEN_MAX];
    size_t size, from = 0, len;
    const uint8_t *der;
    struct kl_msg msg;

    lab_settled(&party.lab, key->serial, version);
    ck_assert_int_eq(row.imported, 1);
    lab_clear_key(&party.lab, row.alg, row.cryptogram, row.cryptogram_len, value);
    ck_assert_mem_eq(value, key->value, key->info->key_len);
    keywrap_kcv(key->info, value, pik);
    ck_assert_mem_eq(pik, row.kcv, row.kcv_len);

    unlink(path);
    struct relay *relay = relay_start(0, party.lab.port, &plan);
    ck_assert_int_eq(lab_sign_in(&party.lab, key->serial, relay_port(relay), "keys", NULL), 0);
    relay_stop(relay);
    lab_pairs_agree(&party.lab, key->serial);
    lab_keys_work(&party.lab, key->serial);
    if (!key->info->is_aes) {
        return;
    }
    char *frames = file_read(path, &size);
    for (int i = 0; i < 2; i++) {
        ck_assert(relay_next_frame((uint8_t *)frames, size, &from, &der, &len));
    }
    ck_assert_msg(kl_msg_decode(der, len, &msg, &err) == KL_OK, "%s", err.text);
    const struct kl_working working = lab_working(&party.lab, key->serial);
    keywrap_aes_open(key->value, key->info->key_len, msg.u.working_keys.pik.data,
                     msg.u.working_keys.pik.len, pik);
    lab_clear_key(&party.lab, working.pik.alg, working.pik.cryptogram, working.pik.cryptogram_len,
                  value);
    ck_assert_mem_eq(pik, value, key->info->key_len);
    free(frames);
}

START_TEST(imported_tmks_are_loaded)
{
    struct party_tmk keys[5];
    struct lab_components s;

    lab_begin(&party.lab, "imported");
    lab_set(&party.lab, "policy", "host-fallback", "yes");
    lab_start(&party.lab);
    party_draw("T1", "tdes3", &keys[0]);
    party_draw("T2", "aes256", &keys[1]);
    party_draw("T3", "aes192", &keys[2]);
    party_draw("T4", "tdes2", &keys[3]);
    party_draw("T5", "aes128", &keys[4]);
    for (int i = 0; i < 5; i++) {
        lab_terminal(&party.lab, keys[i].serial, keys[i].info->name);
        free(lab_ctl(&party.lab, "terminal", "accept-imported", keys[i].serial, NULL));
    }
    party_under_transport(&keys[0]);
    PARTY_IMPORT(0, NULL, &keys[0], "--under-transport", "t");
    party_under_zmk(&keys[1], party.zone, sizeof(party.zone), 0);
    PARTY_IMPORT(0, NULL, &keys[1], "--under-zmk", "zin");
    party_under_zmk(&keys[2], party.zone, sizeof(party.zone), 1);
    if (party.lab.nss) { /* found out, and said, by a known key */
        PARTY_IMPORT(69, "CKM_AES_KEY_WRAP_PAD is not RFC 5649: use --wrap kw", &keys[2],
                     "--under-zmk", "zin", "--wrap", "kwp");
        party_under_zmk(&keys[2], party.zone, sizeof(party.zone), 0);
    }
    PARTY_IMPORT(0, NULL, &keys[2], "--under-zmk", "zin", "--wrap", party.lab.nss ? "kw" : "kwp");
    for (int i = 3; i < 5; i++) {
        lab_components(&party.lab, keys[i].info, keys[i].value, &s);
        free(lab_ctl(&party.lab, "tmk", "import", keys[i].serial, "--algorithm", keys[i].info->name,
                     "--components", "2", "--component", s.sources[0], "--component", s.sources[1],
                     "--component-kcv", s.kcvs[0], "--component-kcv", s.kcvs[1], "--kcv", s.kcv,
                     NULL));
    }
    ck_assert_uint_eq(party_waiting(), 5);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(load(keys[i].serial, party.lab.port), 0);
        ck_assert_uint_eq(party_waiting(), (size_t)(4 - i));
        has_it(&keys[i], 1);
    }
    /* Each once: the next load brings a key that was generated. */
    ck_assert_int_eq(load("T2", party.lab.port), 0);
    lab_settled(&party.lab, "T2", 2);
    ck_assert_int_eq(lab_tmk_row(&party.lab, "T2", 2).imported, 0);
    /* What T2 had before cannot come back. */
    char *before = lab_store_dump(&party.lab);
    PARTY_IMPORT(77, "superseded", &keys[1], "--under-zmk", "zin");
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

START_TEST(only_for_those_who_may)
{
    struct party_tmk key, other;

    lab_begin(&party.lab, "may");
    lab_start(&party.lab);
    lab_terminal(&party.lab, "T", "aes128");
    party_draw("T", "aes128", &key);
    party_under_zmk(&key, party.zone, sizeof(party.zone), 0);
    PARTY_IMPORT(0, NULL, &key, "--under-zmk", "zin");
    /* Again: nothing changes; another one only with --replace. */
    char *before = lab_store_dump(&party.lab);
    PARTY_IMPORT(0, NULL, &key, "--under-zmk", "zin");
    other = key;
    other.value[0] ^= 1;
    keywrap_kcv_text(other.info, other.value, other.kcv);
    party_under_zmk(&other, party.zone, sizeof(party.zone), 0);
    PARTY_IMPORT(73, "--replace", &other, "--under-zmk", "zin");
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);

    /* Nobody knows who asks under that serial. */
    ck_assert_int_eq(load("T", party.lab.port), 76);
    ck_assert_uint_eq(party_waiting(), 1);
    struct lab_tmk none[LAB_TMK_MAX];
    ck_assert_uint_eq(lab_store(&party.lab, "T", none), 0);
    free(lab_ctl(&party.lab, "terminal", "accept-imported", "T", NULL));
    free(lab_ctl(&party.lab, "terminal", "accept-imported", "T", "--no", NULL));
    ck_assert_int_eq(load("T", party.lab.port), 76);
    lab_stop(&party.lab);

    /* Who proves it gets it. The first attempt is lost on the way: the next has the same key. */
    lab_set(&party.lab, "policy", "terminal-auth", "certificate");
    lab_start(&party.lab);
    lab_device_certificate(&party.lab, "T", "ca");
    const struct relay_plan plan = {.act = RELAY_CUT, .message = KL_MSG_MASTER_KEY};
    struct relay *relay = relay_start(0, party.lab.port, &plan);
    ck_assert_int_ne(load("T", relay_port(relay)), 0);
    relay_stop(relay);
    ck_assert_uint_eq(party_waiting(), 1);
    ck_assert_int_eq(load("T", party.lab.port), 0);
    ck_assert_uint_eq(party_waiting(), 0);
    has_it(&key, 2);
    before = lab_store_dump(&party.lab);
    PARTY_IMPORT(0, NULL, &key, "--under-zmk", "zin"); /* has it */
    after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

START_TEST(a_file_of_tmks_is_loaded)
{
    struct party_tmk keys[3];
    const char *const serials[] = {"T1", "T2", "T3"};
    FILE *f;

    lab_begin(&party.lab, "bulk");
    lab_start(&party.lab);
    f = fopen(party_at("bulk.csv"), "we");
    fprintf(f, "serial,algorithm,cryptogram,kcv\n");
    for (int i = 0; i < 3; i++) {
        party_draw(serials[i], i == 1 ? "aes256" : "aes128", &keys[i]);
        party_under_zmk(&keys[i], party.zone, sizeof(party.zone), 0);
        lab_terminal(&party.lab, serials[i], keys[i].info->name);
        fprintf(f, "%s,%s,%s,%s\n", serials[i], keys[i].info->name, keys[i].cryptogram,
                keys[i].kcv);
    }
    fclose(f);
    free(lab_ctl(&party.lab, "terminal", "accept-imported", "T1", "T2", "T3", NULL));
    lab_ctl_ends(&party.lab, 0, NULL, "tmk", "import", "--csv", party_at("bulk.csv"), "--under-zmk",
                 "zin", NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(load(serials[i], party.lab.port), 0);
        has_it(&keys[i], 1);
    }
    ck_assert_uint_eq(party_waiting(), 0);
}
END_TEST

/* ---- Out again ---- */

static void exported(const char *serial, const char *which, const uint8_t *expected, size_t len)
{
    uint8_t wrapped[KL_CTMK_LEN_MAX], value[KL_TMK_LEN_MAX];
    size_t wrapped_len = 0;
    json_t *out = lab_ctl_json(&party.lab, "tmk", "export", serial, "--under-zmk", "zout", "--key",
                               which, NULL);

    ck_assert(OPENSSL_hexstr2buf_ex(wrapped, sizeof(wrapped), &wrapped_len,
                                    lab_text(out, "cryptogram"), '\0'));
    ck_assert_uint_eq(wrapped_len, len + 8);
    keywrap_aes_open(party.zone, sizeof(party.zone), wrapped, wrapped_len, value);
    ck_assert_mem_eq(value, expected, len);
    json_decref(out);
}

/* A host's key of that size, by OpenSSL's program; its fingerprint. */
static void host_certificate(const char *bits, char fingerprint[KL_FINGERPRINT_TEXT])
{
    char key[16];

    snprintf(key, sizeof(key), "rsa:%s", bits);
    PARTY_OPENSSL("req", "-x509", "-newkey", key, "-noenc", "-keyout", party_at("host.key"), "-out",
                  party_at("host.crt"), "-subj", "/CN=Host", "-days", "7", "-addext",
                  "keyUsage=critical,keyEncipherment");
    FILE *f = fopen(party_at("host.crt"), "re");
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    ck_assert_msg(kl_pubkey_fingerprint(X509_get0_pubkey(cert), fingerprint, &err) == KL_OK, "%s",
                  err.text);
    X509_free(cert);
}

START_TEST(generated_keys_go_out)
{
    char print[KL_FINGERPRINT_TEXT], oaep[32];
    uint8_t value[KL_TMK_LEN_MAX], wrapped[KL_RSA_MAX];
    size_t len = 0;

    lab_begin(&party.lab, "export");
    lab_start(&party.lab);
    lab_terminal(&party.lab, "A", "aes128");
    lab_terminal(&party.lab, "B", "aes256");
    ck_assert(load("A", party.lab.port) == 0 && load("B", party.lab.port) == 0);
    ck_assert_int_eq(lab_sign_in(&party.lab, "A", party.lab.port, "keys", NULL), 0);
    const struct kl_tmk row = lab_tmk_row(&party.lab, "A", 1);
    const struct kl_working working = lab_working(&party.lab, "A");
    lab_clear_key(&party.lab, row.alg, working.pik.cryptogram, working.pik.cryptogram_len, value);
    exported("A", "pik", value, 16);
    lab_clear_key(&party.lab, row.alg, working.mak.cryptogram, working.mak.cryptogram_len, value);
    exported("A", "mak", value, 16);
    lab_clear_key(&party.lab, row.alg, row.cryptogram, row.cryptogram_len, value);
    exported("A", "tmk", value, 16);

    host_certificate("3072", print);
    json_t *out = lab_ctl_json(&party.lab, "tmk", "export", "A", "--under-cert",
                               party_at("host.crt"), "--fingerprint", print, NULL);
    ck_assert(
        OPENSSL_hexstr2buf_ex(wrapped, sizeof(wrapped), &len, lab_text(out, "cryptogram"), '\0'));
    snprintf(oaep, sizeof(oaep), "rsa_oaep_md:%s", strchr(lab_text(out, "method"), '-') + 1);
    json_decref(out);
    file_write(party_at("out.enc"), wrapped, len, 0600);
    PARTY_OPENSSL("pkeyutl", "-decrypt", "-inkey", party_at("host.key"), "-in", party_at("out.enc"),
                  "-out", party_at("out.bin"), "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt",
                  oaep);
    char *opened = file_read(party_at("out.bin"), &len);
    ck_assert_uint_eq(len, 16);
    ck_assert_mem_eq(opened, value, 16);
    free(opened);

    char *before = lab_store_dump(&party.lab);
    lab_ctl_ends(&party.lab, 77, "RSA-3072", "tmk", "export", "B", "--under-cert",
                 party_at("host.crt"), "--fingerprint", print, NULL);
    host_certificate("2048", print);
    lab_ctl_ends(&party.lab, 77, "RSA-2048", "tmk", "export", "A", "--under-cert",
                 party_at("host.crt"), "--fingerprint", print, NULL);
    lab_ctl_ends(&party.lab, 77, "AES-128", "tmk", "export", "B", "--under-zmk", "zout128", NULL);
    char *after = lab_store_dump(&party.lab);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import and load");
    TCase *tc = tcase_create("import and load");

    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, party_found, party_abandon);
    tcase_add_checked_fixture(tc, NULL, end);
    tcase_add_loop_test(tc, imported_work_keys_serve, 0,
                        (int)(sizeof(work_keys) / sizeof(work_keys[0])));
    tcase_add_test(tc, imported_tmks_are_loaded);
    tcase_add_test(tc, only_for_those_who_may);
    tcase_add_test(tc, a_file_of_tmks_is_loaded);
    tcase_add_test(tc, generated_keys_go_out);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
