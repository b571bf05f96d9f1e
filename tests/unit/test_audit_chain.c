/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the audit trail hashes, byte for byte as docs/operations.md has it for who verifies with
 * other tools: a trail outlives the program that wrote it. The hashes are Python's (hashlib).
 */
#include <check.h>
#include <string.h>

#include "conf/cli.h"
#include "daemon/audit/audit_chain.h"
#include "tests/support/suite.h"

static const char genesis[] = "1d6cf9a7937549f08c03707c7bce51d0ac8cf3784d00234c8ae0d5b144831780";

/* Each after the one before it, the first after genesis. */
static const struct {
    uint64_t id;
    int64_t time;
    const char *event;
    const char *serial, *detail, *actor;
    size_t fill; /* of the last: all texts as long as they may be, of these letters */
    const char *hash;
} records[] = {
    {1, 1700000000, "tmk-active", "T-1", "version=1 kcv=a1b2c3", "alice(1001)", 0,
     "a0c2150bb9dbcacaf4a8cbc068207852abdf7ce2d3ad6720fa800dcf3a7ca82e"},
    {UINT64_C(0x0102030405060708), -2, "alarm", "", "", "", 0,
     "4b4e0786198c060e620bf2ac1c2401debd0afbdb20aef31fc4aa8f6553734556"},
    {3, 0, "e", "s", "d", "a", 1,
     "e5705f3d95c7993fe1012b0d5e90b36e756106fb036e690950ecdf5b0833c3cd"},
};
#define RECORDS (sizeof(records) / sizeof(records[0]))

static void put(char *out, size_t max, const char *text, size_t fill)
{
    memset(out, 0, max + 1);
    if (fill) {
        memset(out, text[0], max);
    } else {
        memcpy(out, text, strlen(text));
    }
}

static void hash_is(const uint8_t hash[KL_HASH_LEN], const char *want)
{
    char text[2 * KL_HASH_LEN + 1];

    kl_hex_format(hash, KL_HASH_LEN, text);
    ck_assert_str_eq(text, want);
}

START_TEST(known_hashes)
{
    uint8_t id[KL_STORE_ID_LEN], hash[KL_HASH_LEN];
    struct kl_err err = KL_ERR_INIT;

    for (size_t i = 0; i < sizeof(id); i++) {
        id[i] = (uint8_t)(0xa0 + i);
    }
    ck_assert_int_eq(kl_audit_genesis(id, hash, &err), KL_OK);
    hash_is(hash, genesis);
    for (size_t i = 0; i < RECORDS; i++) {
        struct kl_audit record = {.id = records[i].id, .time = records[i].time};

        put(record.event, KL_AUDIT_EVENT_MAX, records[i].event, records[i].fill);
        put(record.serial, KL_SERIAL_MAX, records[i].serial, records[i].fill);
        put(record.detail, KL_AUDIT_DETAIL_MAX, records[i].detail, records[i].fill);
        put(record.actor, KL_AUDIT_ACTOR_MAX, records[i].actor, records[i].fill);
        ck_assert_int_eq(kl_audit_hash(hash, &record, hash, &err), KL_OK);
        hash_is(hash, records[i].hash);
    }
}
END_TEST

START_TEST(signed_checkpoint)
{
    static const uint8_t want[] = "keyloader audit checkpoint 1\0iiiiiiiiiiiiiiii"
                                  "\1\2\3\4\5\6\7\10\377\377\377\377\377\377\377\376"
                                  "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh";
    struct kl_checkpoint checkpoint = {.id = UINT64_C(0x0102030405060708), .time = -2};
    uint8_t id[KL_STORE_ID_LEN], tbs[KL_AUDIT_TBS_LEN];

    memset(id, 'i', sizeof(id));
    memset(checkpoint.hash, 'h', sizeof(checkpoint.hash));
    kl_audit_tbs(id, &checkpoint, tbs);
    ck_assert_uint_eq(sizeof(want) - 1, sizeof(tbs));
    ck_assert_mem_eq(tbs, want, sizeof(tbs));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit-chain");
    TCase *tcase = tcase_create("bytes");

    tcase_add_test(tcase, known_hashes);
    tcase_add_test(tcase, signed_checkpoint);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
