/* SPDX-License-Identifier: BSD-2-Clause */
/* The other party: see party.h. */
#include "tests/support/party.h"

#include <check.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/keywrap.h"

struct party party;

/* ---- Ground ---- */

const char *party_at(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;

    return file_path(paths[next++ % 4], party.lab.dir, name);
}

const char *party_source(const char *name, const char *text)
{
    static char sources[4][PATH_MAX + 8];
    static unsigned next;
    char *out = sources[next++ % 4];

    file_write(party_at(name), text, strlen(text), 0600);
    snprintf(out, PATH_MAX + 8, "file:%s", party_at(name));
    return out;
}

void party_run(const char *const *argv)
{
    struct proc proc;

    proc_spawn(&proc, party.lab.logs, NULL, argv);
    int status = proc_wait(&proc, 60);
    ck_assert_msg(status == 0, "%s %s: status %d: %s", argv[0], argv[1], status,
                  file_read(proc.err, NULL));
}

static void make_zmk(const char *label, const char *use, const char *name, const uint8_t *value)
{
    struct lab_components s;

    lab_components(&party.lab, kl_alg_by_name(name), value, &s);
    free(lab_ctl(&party.lab, "zmk", "import", "--label", label, "--for", use, "--algorithm", name,
                 "--components", "2", "--component", s.sources[0], "--component", s.sources[1],
                 "--component-kcv", s.kcvs[0], "--component-kcv", s.kcvs[1], "--expect-kcv", s.kcv,
                 NULL));
}

void party_found(void)
{
    char path[PATH_MAX], copy[PATH_MAX];
    size_t len;

    lab_found(&party.lab, 2048);
    lab_certify(&party.lab, "acquire-ec", "hardened-ec", "p-521", "ca");
    ck_assert(RAND_bytes(party.zone, sizeof(party.zone)) == 1 &&
              RAND_bytes(party.short_zone, 16) == 1);
    make_zmk("zin", "import", "aes256", party.zone);
    make_zmk("zout", "export", "aes256", party.zone);
    make_zmk("zin128", "import", "aes128", party.short_zone);
    make_zmk("zout128", "export", "aes128", party.short_zone);
    json_t *made = lab_ctl_json(&party.lab, "transport", "generate", "--label", "t", "--key",
                                "rsa-2048", NULL);
    snprintf(party.oaep, sizeof(party.oaep), "rsa_oaep_md:%s", lab_text(made, "oaep_hash"));
    json_decref(made);
    lab_ctl_ends(&party.lab, 0, NULL, "transport", "show", "--label", "t", "--out",
                 party_at("t.pem"), NULL);
    char *root = file_read(file_path(path, party.lab.dir, "root.pem"), &len);
    file_write(file_path(copy, party.lab.dir, "terminal-root.pem"), root, len, 0644);
    free(root);
    lab_set(&party.lab, "certificates", "terminal-root", copy);
    lab_set(&party.lab, "certificates", "terminal-crl",
            file_path(path, party.lab.dir, "terminal-crl.pem"));
    lab_publish_crl(&party.lab, "ca", "terminal");
}

void party_abandon(void)
{
    lab_abandon(&party.lab);
}

/* ---- TMKs ---- */

void party_draw(const char *serial, const char *name, struct party_tmk *out)
{
    memset(out, 0, sizeof(*out));
    out->serial = serial;
    out->info = kl_alg_by_name(name);
    ck_assert_int_eq(RAND_bytes(out->value, KL_TMK_LEN_MAX), 1);
    for (size_t i = 0; !out->info->is_aes && i < KL_TMK_LEN_MAX; i++) {
        out->value[i] = lab_odd(out->value[i]);
    }
    keywrap_kcv_text(out->info, out->value, out->kcv);
}

void party_under_zmk(struct party_tmk *key, const uint8_t *kek, size_t kek_len, int padded)
{
    uint8_t out[KL_TMK_LEN_MAX + 16];

    keywrap_hex(out, keywrap_aes(kek, kek_len, padded, key->value, key->info->key_len, out),
                key->cryptogram);
}

/* By `openssl pkeyutl`, as somebody would who has nothing else. */
void party_under_transport(struct party_tmk *key)
{
    size_t len;

    file_write(party_at("tmk.bin"), key->value, key->info->key_len, 0600);
    PARTY_OPENSSL("pkeyutl", "-encrypt", "-pubin", "-inkey", party_at("t.pem"), "-in",
                  party_at("tmk.bin"), "-out", party_at("tmk.enc"), "-pkeyopt",
                  "rsa_padding_mode:oaep", "-pkeyopt", party.oaep);
    char *out = file_read(party_at("tmk.enc"), &len);
    ck_assert_uint_eq(len, 256);
    keywrap_hex((uint8_t *)out, len, key->cryptogram);
    free(out);
    unlink(party_at("tmk.bin"));
}

size_t party_waiting(void)
{
    json_t *list = lab_ctl_json(&party.lab, "tmk", "waiting", NULL);
    size_t count = json_array_size(list);

    json_decref(list);
    return count;
}
