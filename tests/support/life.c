/* SPDX-License-Identifier: BSD-2-Clause */
/* The scratch store of the suites about a TMK's life. */
#include "tests/support/life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/hsm.h"

struct life life;
const struct kl_life_policy life_policy = {LIFETIME};

void life_setup(void)
{
    snprintf(life.dir, sizeof(life.dir), "/tmp/kl-life-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(life.dir));
    snprintf(life.path, sizeof(life.path), "%s/store.db", life.dir);
    OK(kl_store_open(life.path, KL_STORE_CREATE, &life.store, &life.err));
    OK(kl_store_begin(life.store, &life.err));
}

void life_teardown(void)
{
    kl_store_free(life.store);
    test_rm_rf(life.dir);
}

void life_reopen(void)
{
    OK(kl_store_commit(life.store, &life.err));
    kl_store_free(life.store);
    OK(kl_store_open(life.path, KL_STORE_WRITE, &life.store, &life.err));
    OK(kl_store_begin(life.store, &life.err));
}

void life_register(const char *serial, const char *pad)
{
    struct kl_terminal t = {.alg = KL_ALG_TDES2};

    snprintf(t.serial, sizeof(t.serial), "%s", serial);
    snprintf(t.pinpad_serial, sizeof(t.pinpad_serial), "%s", pad);
    OK(kl_life_register(life.store, &t, NOW, &life.err));
}

struct kl_claim life_claim(const char *serial, const char *pad)
{
    return (struct kl_claim){.serial = serial, .pinpad_serial = pad};
}

struct kl_tmk life_candidate(const char *serial, uint32_t version)
{
    struct kl_tmk tmk = {.version = version,
                         .alg = KL_ALG_TDES2,
                         .kcv_len = 3,
                         .cryptogram_len = 24};

    snprintf(tmk.serial, sizeof(tmk.serial), "%s", serial);
    snprintf(tmk.pinpad_serial, sizeof(tmk.pinpad_serial), PAD);
    memset(tmk.kcv, (int)version, sizeof(tmk.kcv));
    memset(tmk.cryptogram, 0x55, 24);
    memcpy(tmk.cryptogram, &version, sizeof(version));
    memcpy(tmk.cryptogram + sizeof(version), tmk.serial, 16);
    memset(tmk.binding, (int)(version + 4), KL_MAC_LEN);
    memset(tmk.ack_mac, (int)(version + 1), KL_MAC_LEN);
    memset(tmk.active_mac, (int)(version + 2), KL_MAC_LEN);
    memset(tmk.drop_mac, (int)(version + 3), KL_MAC_LEN);
    return tmk;
}

struct kl_loaded life_loaded_of(const struct kl_tmk *tmk)
{
    struct kl_loaded l = {.kcv_len = tmk->kcv_len};

    memcpy(l.kcv, tmk->kcv, sizeof(l.kcv));
    memcpy(l.mac, tmk->ack_mac, KL_MAC_LEN);
    return l;
}

struct kl_loaded life_loaded(uint32_t version)
{
    struct kl_tmk tmk = life_candidate(T, version);

    return life_loaded_of(&tmk);
}

struct kl_import life_import(const char *serial, uint32_t n)
{
    struct kl_import import = {.key = {.alg = KL_ALG_TDES2, .cryptogram_len = 24, .kcv_len = 3},
                               .origin = "zmk:Z1"};

    snprintf(import.serial, sizeof(import.serial), "%s", serial);
    memset(import.key.cryptogram, 0xe1, 24);
    memcpy(import.key.cryptogram, &n, sizeof(n));
    import.key.kcv[0] = 0xe1;
    import.key.kcv[1] = (uint8_t)(n >> 8);
    import.key.kcv[2] = (uint8_t)n;
    return import;
}

struct kl_tmk life_imported(const char *serial, uint32_t version, uint32_t n)
{
    struct kl_import import = life_import(serial, n);
    struct kl_tmk tmk = life_candidate(serial, version);

    tmk.imported = 1;
    memcpy(tmk.cryptogram, import.key.cryptogram, sizeof(tmk.cryptogram));
    memcpy(tmk.kcv, import.key.kcv, sizeof(tmk.kcv));
    return tmk;
}
