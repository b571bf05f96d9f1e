/* SPDX-License-Identifier: BSD-2-Clause */
/* The lab's keys: see lab_keys.h. */
#include "tests/support/lab_keys.h"

#include <check.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "pkcs11/hsm.h"
#include "pkcs11/keys.h"
#include "pkcs11/ops.h"
#include "tests/support/fakeloader.h"
#include "tests/support/hsm.h"
#include "tests/support/keywrap.h"
#include "tests/support/lab_hsm.h"

#define RUN_SECONDS 60

static struct kl_err err = KL_ERR_INIT;
#define OK(call) ck_assert_msg((call) == KL_OK, "%s: %s", #call, err.text)

/* ---- Programs ---- */

static void softhsm_conf(const char *role, char out[PATH_MAX + 32])
{
    snprintf(out, PATH_MAX + 32, "SOFTHSM2_CONF=%s/softhsm2.conf", role);
}

static void take_args(const char **argv, size_t n, size_t spare, va_list ap)
{
    while ((argv[n] = va_arg(ap, const char *)) != NULL) {
        ck_assert_uint_lt(++n, PROC_ARGS - spare);
    }
}

static void sim_start(struct lab *lab, const char *serial, struct proc *proc, va_list ap)
{
    char role[PATH_MAX], dir[PATH_MAX], conf[PATH_MAX + 32];
    const char *env[] = {conf, NULL}, *argv[PROC_ARGS] = {lab_built("bin/terminal-sim")};
    size_t n = 1;

    snprintf(role, sizeof(role), "%.2000s/term-%s", lab->run, serial);
    softhsm_conf(role, conf);
    take_args(argv, n, 3, ap);
    while (argv[n]) {
        n++;
    }
    argv[n++] = "--dir";
    argv[n++] = file_path(dir, role, "terminal");
    argv[n] = NULL;
    proc_spawn(proc, lab->logs, env, argv);
}

void lab_sim_start(struct lab *lab, const char *serial, struct proc *proc, ...)
{
    va_list ap;

    va_start(ap, proc);
    sim_start(lab, serial, proc, ap);
    va_end(ap);
}

int lab_sim(struct lab *lab, const char *serial, struct proc *proc, ...)
{
    va_list ap;

    va_start(ap, proc);
    sim_start(lab, serial, proc, ap);
    va_end(ap);
    return proc_wait(proc, LAB_LOAD_SECONDS);
}

static int run_ctl(struct lab *lab, int json, struct proc *proc, va_list ap)
{
    char role[PATH_MAX], conf[PATH_MAX + 32];
    const char *env[] = {conf, NULL};
    const char *argv[PROC_ARGS] = {lab_built("bin/keyloaderctl"), "-c", lab->conf, "--json"};

    softhsm_conf(file_path(role, lab->dir, "hsm"), conf);
    take_args(argv, json ? 4 : 3, 1, ap);
    proc_spawn(proc, lab->logs, env, argv);
    return proc_wait(proc, RUN_SECONDS);
}

int lab_ctl_run(struct lab *lab, struct proc *proc, ...)
{
    va_list ap;

    va_start(ap, proc);
    int status = run_ctl(lab, 0, proc, ap);
    va_end(ap);
    return status;
}

void lab_ctl_ends(struct lab *lab, int status, const char *words, ...)
{
    struct proc proc;
    va_list ap;

    va_start(ap, words);
    int ended = run_ctl(lab, 0, &proc, ap);
    va_end(ap);
    char *said = file_read(proc.err, NULL);
    ck_assert_msg(ended == status, "keyloaderctl: status %d, not %d: %s", ended, status, said);
    ck_assert_msg(!words || strstr(said, words), "\"%s\" is not in: %s", words, said);
    free(said);
}

json_t *lab_ctl_json(struct lab *lab, ...)
{
    struct proc proc;
    json_error_t why;
    va_list ap;

    va_start(ap, lab);
    int status = run_ctl(lab, 1, &proc, ap);
    va_end(ap);
    char *out = file_read(proc.out, NULL);
    json_t *json = json_loads(out, 0, &why);
    ck_assert_msg(status == 0 && json, "keyloaderctl: status %d: %s%s", status, out,
                  file_read(proc.err, NULL));
    free(out);
    return json;
}

void lab_wait_checkpoint(struct lab *lab)
{
    json_int_t checkpoints = 0;

    for (int tries = 0; checkpoints == 0 && tries < proc_seconds(20) * 5; tries++) {
        json_t *report = lab_ctl_json(lab, "audit", "verify", "--store", lab->store, NULL);
        checkpoints = json_integer_value(json_object_get(report, "checkpoints"));
        json_decref(report);
        proc_sleep_ms(200);
    }
    ck_assert_int_gt(checkpoints, 0);
}

const char *lab_text(const json_t *object, const char *key)
{
    static char number[24];
    const json_t *value = json_object_get(object, key);

    ck_assert_msg(json_is_string(value) || json_is_integer(value), "no %s", key);
    if (json_is_string(value)) {
        return json_string_value(value);
    }
    snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return number;
}

/* ---- Sign-in ---- */

int lab_sign_in(struct lab *lab, const char *serial, uint16_t port, const char *format,
                struct proc *proc)
{
    struct proc own;
    char to[32];

    snprintf(to, sizeof(to), "127.0.0.1:%u", port);
    return lab_sim(lab, serial, proc ? proc : &own, "sign-in", "--connect", to, "--format", format,
                   "--verbose", NULL);
}

static struct lab_pair pair_of(const json_t *at, const char *version, const char *pik,
                               const char *mak)
{
    struct lab_pair pair = {0};

    ck_assert(at != NULL);
    if (json_is_object(at)) {
        pair.tmk_version = (unsigned)json_integer_value(json_object_get(at, version));
        ck_assert_uint_gt(pair.tmk_version, 0);
        snprintf(pair.pik, sizeof(pair.pik), "%s", lab_text(at, pik));
        snprintf(pair.mak, sizeof(pair.mak), "%s", lab_text(at, mak));
    }
    return pair;
}

struct lab_pair lab_store_pair(struct lab *lab, const char *serial)
{
    json_t *report = lab_ctl_json(lab, "terminal", "show", serial, NULL);
    struct lab_pair pair =
        pair_of(json_object_get(report, "working_keys"), "tmk_version", "pik_kcv", "mak_kcv");

    json_decref(report);
    return pair;
}

struct lab_pair lab_pad_pair(struct lab *lab, const char *serial)
{
    struct proc proc;
    json_error_t why;
    struct lab_pair pair;

    ck_assert_int_eq(lab_sim(lab, serial, &proc, "pinpad", "show", "--json", NULL), 0);
    char *out = file_read(proc.out, NULL);
    json_t *report = json_loads(out, 0, &why), *keys = json_object_get(report, "working-keys");
    ck_assert_msg(report != NULL, "%s in: %s", why.text, out);
    pair = pair_of(keys, "tmk-version", "pik-kcv", "mak-kcv");
    pair.in_doubt = json_is_true(json_object_get(report, "keys-in-doubt"));
    const char *state = pair.in_doubt ? "in-doubt" : "active";
    ck_assert_msg(!pair.tmk_version || strcmp(lab_text(keys, "state"), state) == 0, "%s", out);
    json_decref(report);
    free(out);
    return pair;
}

int lab_same_pair(const struct lab_pair *a, const struct lab_pair *b)
{
    return a->tmk_version == b->tmk_version && strcmp(a->pik, b->pik) == 0 &&
           strcmp(a->mak, b->mak) == 0;
}

void lab_pairs_agree(struct lab *lab, const char *serial)
{
    struct lab_pair ours = lab_store_pair(lab, serial), theirs = lab_pad_pair(lab, serial);

    ck_assert_msg(ours.tmk_version != 0, "%s has no working keys", serial);
    ck_assert_msg(!theirs.in_doubt, "%s: the working keys are in doubt", serial);
    ck_assert_msg(lab_same_pair(&ours, &theirs),
                  "%s: store: TMK %u, PIK %s, MAK %s; PIN pad: TMK %u, PIK %s, MAK %s", serial,
                  ours.tmk_version, ours.pik, ours.mak, theirs.tmk_version, theirs.pik, theirs.mak);
}

/* ---- Keys in clear ---- */

uint8_t lab_odd(uint8_t byte)
{
    return (uint8_t)((byte & 0xfe) | !__builtin_parity(byte & 0xfe));
}

void lab_components(struct lab *lab, const struct kl_alg_info *info, const uint8_t *value,
                    struct lab_components *out)
{
    static const char *const names[] = {"first.pin", "second.pin"};
    uint8_t *one = out->values[0], *other = out->values[1];
    char path[PATH_MAX], text[2 * KL_TMK_LEN_MAX + 2];

    ck_assert_int_eq(getrandom(one, KL_TMK_LEN_MAX, 0), KL_TMK_LEN_MAX);
    for (size_t i = 0; i < info->key_len; i++) {
        one[i] = info->is_aes ? one[i] : lab_odd(one[i]);
        other[i] = one[i] ^ value[i];
        other[i] = info->is_aes ? other[i] : lab_odd(other[i]);
    }
    for (int i = 0; i < 2; i++) {
        strcat(keywrap_hex(out->values[i], info->key_len, text), "\n");
        file_write(file_path(path, lab->dir, names[i]), text, strlen(text), 0600);
        snprintf(out->sources[i], sizeof(out->sources[i]), "file:%s", path);
        keywrap_kcv_text(info, out->values[i], out->kcvs[i]);
    }
    keywrap_kcv_text(info, value, out->kcv);
}

struct kl_working lab_working(struct lab *lab, const char *serial)
{
    struct kl_store *store = NULL;
    struct kl_working working;

    OK(kl_store_open(lab->store, KL_STORE_READ, &store, &err));
    OK(kl_store_working_get(store, serial, &working, &err));
    kl_store_free(store);
    return working;
}

struct kl_tmk lab_tmk_row(struct lab *lab, const char *serial, unsigned version)
{
    struct kl_store *store = NULL;
    struct kl_tmk row;

    OK(kl_store_open(lab->store, KL_STORE_READ, &store, &err));
    OK(kl_store_tmk_get(store, serial, version, &row, &err));
    kl_store_free(store);
    return row;
}

/* The configured one, or the default. */
static const char *storage_label(const struct lab *lab)
{
    for (size_t i = 0; i < lab->setting_count; i++) {
        if (strcmp(lab->settings[i].key, "storage-key") == 0) {
            return lab->settings[i].value;
        }
    }
    return "tmk-storage";
}

void lab_clear_key(struct lab *lab, enum kl_alg alg, const uint8_t *cryptogram, size_t len,
                   uint8_t out[KL_TMK_LEN_MAX])
{
    char role[PATH_MAX], conf[PATH_MAX + 32], pin[PATH_MAX + 32];
    char reserved[PATH_MAX];
    const struct kl_hsm_where where = {.module = lab->module,
                                       .init_reserved = reserved,
                                       .token = "pkcs11:token=loader",
                                       .pin_source = pin};
    CK_OBJECT_HANDLE storage, kek = CK_INVALID_HANDLE, key = CK_INVALID_HANDLE;
    struct kl_hsm *hsm = NULL;
    struct kl_secret *value = NULL;
    uint8_t wrapped[KL_CTMK_LEN_MAX];
    size_t wrapped_len = 0;

    softhsm_conf(file_path(role, lab->dir, "hsm"), conf);
    lab_init_reserved(lab, role, "loader", reserved);
    ck_assert_int_eq(setenv("SOFTHSM2_CONF", strchr(conf, '=') + 1, 1), 0);
    snprintf(pin, sizeof(pin), "file:%.2000s/loader.pin", lab->dir);
    test_secrets();
    OK(kl_secret_new(KL_TMK_LEN_MAX, &value, &err));
    ck_assert_int_eq(getrandom(kl_secret_data(value), KL_TMK_LEN_MAX, 0), KL_TMK_LEN_MAX);
    OK(kl_hsm_open(&where, 0, &hsm, &err));
    struct kl_session *session = kl_hsm_session(hsm);
    OK(kl_storage_key_find(session, storage_label(lab), &storage, &err));
    OK(kl_op_unwrap_stored(session, storage, alg, cryptogram, len, KL_USE_KCV, &key, &err));
    OK(kl_op_import_value(session, KL_ALG_AES256, kl_secret_data(value), KL_USE_WRAP, &kek, &err));
    OK(kl_op_wrap(session, kek, key, wrapped, &wrapped_len, &err));
    ck_assert_uint_eq(wrapped_len, kl_alg_info(alg)->key_len + 8);
    keywrap_aes_open(kl_secret_data(value), KL_TMK_LEN_MAX, wrapped, wrapped_len, out);
    kl_secret_free(value);
    kl_hsm_free(hsm);
}

static void stored_key(struct lab *lab, const struct kl_stored_key *key, uint8_t *out)
{
    uint8_t kcv[KL_KCV_LEN_MAX];

    lab_clear_key(lab, key->alg, key->cryptogram, key->cryptogram_len, out);
    keywrap_kcv(kl_alg_info(key->alg), out, kcv);
    ck_assert_mem_eq(kcv, key->kcv, key->kcv_len);
}

/* ---- The keys at work ---- */

/* Runs a command that prints hex digits. */
#define HEX(lab, serial, out, ...) \
    do { \
        struct proc proc_; \
        int status_ = lab_sim(lab, serial, &proc_, __VA_ARGS__, NULL); \
        ck_assert_msg(status_ == 0, "status %d: %s", status_, file_read(proc_.err, NULL)); \
        read_hex(&proc_, out, sizeof(out)); \
    } while (0)

static void read_hex(const struct proc *proc, uint8_t *out, size_t size)
{
    char *text = file_read(proc->out, NULL);
    size_t len = 0;

    text[strcspn(text, "\n")] = '\0';
    ck_assert_msg(OPENSSL_hexstr2buf_ex(out, size, &len, text, '\0') == 1, "not hex: %s", text);
    ck_assert_msg(len == size, "%zu bytes, not %zu: %s", len, size, text);
    free(text);
}

static void pin_block_format0(struct lab *lab, const char *serial, const char *source,
                              const uint8_t *pik, enum kl_alg alg)
{
    /* 041234FFFFFFFFFF xor 0000987654321098 */
    static const uint8_t plain[8] = {0x04, 0x12, 0xac, 0x89, 0xab, 0xcd, 0xef, 0x67};
    uint8_t block[8], expected[8];

    HEX(lab, serial, block, "pin-block", "--pan", "43219876543210987", "--format", "0",
        "--pin-source", source);
    fake_block(alg, 1, pik, plain, 8, expected);
    ck_assert_mem_eq(block, expected, 8);
}

static void pin_block_format4(struct lab *lab, const char *serial, const char *source,
                              const uint8_t *pik, enum kl_alg alg)
{
    static const uint8_t pan[16] = {0x64, 0x32, 0x19, 0x87, 0x65, 0x43, 0x21, 0x09, 0x87};
    static const uint8_t pin[8] = {0x44, 0x12, 0x34, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
    uint8_t blocks[2][16];

    for (int i = 0; i < 2; i++) {
        HEX(lab, serial, blocks[i], "pin-block", "--pan", "432198765432109870", "--format", "4",
            "--pin-source", source);
        fake_block(alg, 0, pik, blocks[i], 16, blocks[i]);
        for (size_t k = 0; k < 16; k++) {
            blocks[i][k] ^= pan[k];
        }
        fake_block(alg, 0, pik, blocks[i], 16, blocks[i]);
        ck_assert_mem_eq(blocks[i], pin, sizeof(pin));
    }
    ck_assert_mem_ne(blocks[0] + 8, blocks[1] + 8, 8); /* the fresh part */
}

#define MESSAGE_LEN 1000

static void mac_tdes(struct lab *lab, const char *serial, const char *in, const uint8_t *message,
                     size_t len, const uint8_t *mak, size_t mak_len)
{
    uint8_t padded[MESSAGE_LEN + 16] = {0}, mac[8], expected[8], first[4];
    size_t padded_len = len == 0 ? 8 : (len + 7) / 8 * 8;

    memcpy(padded, message, len);
    fake_retail_mac(mak, mak_len, padded, padded_len, expected);
    HEX(lab, serial, mac, "mac", "--in", in);
    ck_assert_mem_eq(mac, expected, 8);
    padded[len] = 0x80;
    fake_retail_mac(mak, mak_len, padded, len / 8 * 8 + 8, expected);
    HEX(lab, serial, mac, "mac", "--in", in, "--padding", "2");
    ck_assert_mem_eq(mac, expected, 8);
    HEX(lab, serial, first, "mac", "--in", in, "--padding", "2", "--length", "4");
    ck_assert_mem_eq(first, expected, 4);
}

static void mac_message(struct lab *lab, const char *serial, size_t len,
                        const struct kl_alg_info *info, const uint8_t *mak)
{
    uint8_t message[MESSAGE_LEN], mac[16], expected[16];
    char in[PATH_MAX];

    ck_assert_int_eq(getrandom(message, sizeof(message), 0), sizeof(message));
    file_write(file_path(in, lab->run, "message"), message, len, 0600);
    if (!info->is_aes) {
        mac_tdes(lab, serial, in, message, len, mak, info->key_len);
        return;
    }
    fake_cmac(mak, info->key_len, message, len, expected);
    HEX(lab, serial, mac, "mac", "--in", in);
    ck_assert_mem_eq(mac, expected, 16);
}

void lab_keys_work(struct lab *lab, const char *serial)
{
    struct kl_working working = lab_working(lab, serial);
    const struct kl_alg_info *info = kl_alg_info(working.pik.alg);
    uint8_t pik[KL_TMK_LEN_MAX], mak[KL_TMK_LEN_MAX];
    char path[PATH_MAX], source[PATH_MAX + 8];

    ck_assert_int_eq(working.pik.alg, working.mak.alg);
    stored_key(lab, &working.pik, pik);
    stored_key(lab, &working.mak, mak);
    ck_assert_mem_ne(pik, mak, 8);
    file_write(file_path(path, lab->run, "cardholder"), "1234\n", 5, 0600);
    snprintf(source, sizeof(source), "file:%s", path);
    (info->is_aes ? pin_block_format4 : pin_block_format0)(lab, serial, source, pik, info->alg);
    mac_message(lab, serial, 13, info, mak);
    mac_message(lab, serial, MESSAGE_LEN, info, mak);
}

/* ---- The store ---- */

char *lab_store_dump(struct lab *lab)
{
    static const char *const queries[] = {
        "SELECT * FROM terminal ORDER BY 1", "SELECT * FROM tmk ORDER BY 1, 2",
        "SELECT * FROM imported ORDER BY 1", "SELECT * FROM working ORDER BY 1",
        "SELECT * FROM audit ORDER BY 1",
    };
    sqlite3 *db = NULL;
    char *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);

    ck_assert_int_eq(sqlite3_open_v2(lab->store, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        sqlite3_stmt *row = NULL;

        ck_assert_msg(sqlite3_prepare_v2(db, queries[i], -1, &row, NULL) == SQLITE_OK, "%s",
                      sqlite3_errmsg(db));
        while (sqlite3_step(row) == SQLITE_ROW) {
            for (int column = 0; column < sqlite3_column_count(row); column++) {
                const uint8_t *data = sqlite3_column_blob(row, column);

                for (int k = 0; k < sqlite3_column_bytes(row, column); k++) {
                    fprintf(f, "%02x", data[k]);
                }
                fputc(' ', f);
            }
            fputc('\n', f);
        }
        sqlite3_finalize(row);
        fputc('\n', f);
    }
    sqlite3_close(db);
    ck_assert_int_eq(fclose(f), 0);
    return out;
}

/* ---- Past our own programs ---- */

int lab_sql(const char *path, const char *statements)
{
    sqlite3 *db = NULL;
    char *why = NULL;
    int changes;

    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, statements, NULL, NULL, &why) == SQLITE_OK, "%s: %s", statements,
                  why);
    changes = sqlite3_changes(db);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    return changes;
}
