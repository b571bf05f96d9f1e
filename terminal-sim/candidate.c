/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Candidates: judging the Done that settles one, and the text form in which the record of them and
 * of the TMK in use outlives a crash.
 */
#include "terminal-sim/candidate.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"

#define LINE_MAX_LEN 160
#define FIELDS_MAX 7
/* The short lines (doubt, abandoned, end) count as one. */
_Static_assert(LINE_MAX_LEN *(KL_CANDIDATES_MAX + 3) <= KL_RECORD_TEXT_MAX, "every line fits");

/* "active" VERSION ALGORITHM KCV
 * "keys" NUMBER TMK-VERSION ALGORITHM PIK-KCV MAK-KCV
 * "keys-in-doubt"
 * "abandoned" VERSION
 * PROGRESS VERSION ALGORITHM KCV LOADED.MAC ACTIVE-MAC DROP-MAC */
static const char active_word[] = "active", keys_word[] = "keys", doubt_word[] = "keys-in-doubt",
                  abandoned_word[] = "abandoned", end_word[] = "end";
static const char *const progress[] = {"writing", "written"}; /* by `whole` */

enum kl_rc kl_candidate_judge(const struct kl_candidate *candidate, const struct kl_done *done,
                              enum kl_verdict *verdict, struct kl_err *err)
{
    const uint8_t *mac;

    if (done->verdict == KL_VERDICT_ACTIVE) {
        mac = candidate->active_mac;
    } else if (done->verdict == KL_VERDICT_DROP) {
        mac = candidate->drop_mac;
    } else {
        return kl_err_set(err, KL_ERR_VERIFY, "Done carries the unknown verdict %u",
                          (unsigned)done->verdict);
    }
    if (done->tmk_version != candidate->version) {
        return kl_err_set(err, KL_ERR_VERIFY, "Done is about TMK version %" PRIu32 ", not %" PRIu32,
                          done->tmk_version, candidate->version);
    }
    if (CRYPTO_memcmp(done->mac, mac, KL_MAC_LEN) != 0) {
        return kl_err_set(err, KL_ERR_VERIFY, "Done's MAC is wrong: it is not from the loader");
    }
    *verdict = (enum kl_verdict)done->verdict;
    return KL_OK;
}

static size_t format_keys(const struct kl_pinpad_pair *keys, char *out, size_t capacity)
{
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];

    kl_kcv_format(keys->pik_kcv, keys->kcv_len, pik);
    kl_kcv_format(keys->mak_kcv, keys->kcv_len, mak);
    return (size_t)snprintf(out, capacity, "%s %" PRIu32 " %" PRIu32 " %s %s %s\n", keys_word,
                            keys->number, keys->tmk_version, kl_alg_info(keys->alg)->name, pik,
                            mak);
}

size_t kl_record_format(const struct kl_record *record, char out[KL_RECORD_TEXT_MAX])
{
    char kcv[KL_KCV_TEXT], mac[3][KL_MAC_LEN * 2 + 1];
    const struct kl_candidate *candidate;
    size_t i, len = 0;

    out[0] = '\0';
    if (record->active.version) {
        kl_kcv_format(record->active.kcv, record->active.kcv_len, kcv);
        len += (size_t)snprintf(out, KL_RECORD_TEXT_MAX, "%s %" PRIu32 " %s %s\n", active_word,
                                record->active.version, kl_alg_info(record->active.alg)->name, kcv);
    }
    if (record->keys.number) {
        len += format_keys(&record->keys, out + len, KL_RECORD_TEXT_MAX - len);
    }
    if (record->keys_in_doubt) {
        len += (size_t)snprintf(out + len, KL_RECORD_TEXT_MAX - len, "%s\n", doubt_word);
    }
    if (record->abandoned) {
        len += (size_t)snprintf(out + len, KL_RECORD_TEXT_MAX - len, "%s %" PRIu32 "\n",
                                abandoned_word, record->abandoned);
    }
    for (i = 0; i < record->count; i++) {
        candidate = &record->candidates[i];
        kl_kcv_format(candidate->loaded.kcv, candidate->loaded.kcv_len, kcv);
        kl_hex_format(candidate->loaded.mac, KL_MAC_LEN, mac[0]);
        kl_hex_format(candidate->active_mac, KL_MAC_LEN, mac[1]);
        kl_hex_format(candidate->drop_mac, KL_MAC_LEN, mac[2]);
        len +=
            (size_t)snprintf(out + len, KL_RECORD_TEXT_MAX - len, "%s %" PRIu32 " %s %s %s %s %s\n",
                             progress[candidate->whole], candidate->version,
                             kl_alg_info(candidate->alg)->name, kcv, mac[0], mac[1], mac[2]);
    }
    if (len > 0) {
        len += (size_t)snprintf(out + len, KL_RECORD_TEXT_MAX - len, "%s\n", end_word);
    }
    return len;
}

static int from_hex(const char *text, uint8_t *out, size_t min, size_t max, size_t *len)
{
    size_t n = 0;
    int ok = OPENSSL_hexstr2buf_ex(out, max, &n, text, '\0') && n >= min;

    kl_err_openssl_clear(); /* the caller has a better text */
    *len = n;
    return ok;
}

/* How many fields the line has, FIELDS_MAX + 1 if too many. */
static int split(char *line, char *field[FIELDS_MAX])
{
    char *save = NULL, *text = strtok_r(line, " ", &save);
    int n = 0;

    while (text && n < FIELDS_MAX) {
        field[n++] = text;
        text = strtok_r(NULL, " ", &save);
    }
    return text ? FIELDS_MAX + 1 : n;
}

static int parse_version(const char *text, uint32_t *out)
{
    struct kl_err ignored = KL_ERR_INIT;
    uint64_t version;

    if (kl_parse_number(text, 1, KL_VERSION_MAX, &version, &ignored)) {
        return 0;
    }
    *out = (uint32_t)version;
    return 1;
}

/* VERSION ALGORITHM KCV */
static int parse_tmk(char *const field[3], struct kl_pinpad_tmk *out)
{
    const struct kl_alg_info *alg = kl_alg_by_name(field[1]);

    if (!alg || !parse_version(field[0], &out->version)) {
        return 0;
    }
    out->alg = alg->alg;
    return from_hex(field[2], out->kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, &out->kcv_len);
}

/* NUMBER TMK-VERSION ALGORITHM PIK-KCV MAK-KCV */
static int parse_keys(char *const field[5], struct kl_pinpad_pair *out)
{
    const struct kl_alg_info *alg = kl_alg_by_name(field[2]);
    size_t n;

    if (!alg || !parse_version(field[0], &out->number) ||
        !parse_version(field[1], &out->tmk_version)) {
        return 0;
    }
    out->alg = alg->alg;
    return from_hex(field[3], out->pik_kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX, &out->kcv_len) &&
           from_hex(field[4], out->mak_kcv, out->kcv_len, out->kcv_len, &n);
}

static int parse_candidate(char *const field[FIELDS_MAX], struct kl_candidate *out)
{
    struct kl_pinpad_tmk tmk = {0};
    size_t n;

    out->whole = strcmp(field[0], progress[1]) == 0;
    if (strcmp(field[0], progress[out->whole]) != 0 || !parse_tmk(field + 1, &tmk)) {
        return 0;
    }
    out->version = tmk.version;
    out->alg = tmk.alg;
    out->loaded.kcv_len = tmk.kcv_len;
    memcpy(out->loaded.kcv, tmk.kcv, sizeof(tmk.kcv));
    return from_hex(field[4], out->loaded.mac, KL_MAC_LEN, KL_MAC_LEN, &n) &&
           from_hex(field[5], out->active_mac, KL_MAC_LEN, KL_MAC_LEN, &n) &&
           from_hex(field[6], out->drop_mac, KL_MAC_LEN, KL_MAC_LEN, &n);
}

/* Adds a line to the record; *last is the version of the one before. */
static int parse_line(char *line, struct kl_record *record, uint32_t *last)
{
    char *field[FIELDS_MAX];
    int fields = split(line, field), ok = 0;
    uint32_t version = 0;

    if (fields == 4 && strcmp(field[0], active_word) == 0) {
        ok = *last == 0 && parse_tmk(field + 1, &record->active);
        version = record->active.version;
    } else if (fields == 6 && strcmp(field[0], keys_word) == 0) {
        return record->count == 0 && record->abandoned == 0 && !record->keys_in_doubt &&
               record->keys.number == 0 && parse_keys(field + 1, &record->keys) &&
               record->keys.tmk_version == record->active.version;
    } else if (fields == 1 && strcmp(field[0], doubt_word) == 0) {
        ok = record->count == 0 && record->abandoned == 0 && !record->keys_in_doubt &&
             record->active.version != 0;
        record->keys_in_doubt = 1;
        return ok;
    } else if (fields == 2 && strcmp(field[0], abandoned_word) == 0) {
        /* Its own line as a candidate may follow: it is being destroyed then. */
        return record->count == 0 && record->abandoned == 0 &&
               parse_version(field[1], &record->abandoned) && record->abandoned > *last;
    } else if (fields == FIELDS_MAX && record->count < KL_CANDIDATES_MAX) {
        ok = parse_candidate(field, &record->candidates[record->count]);
        version = record->candidates[record->count++].version;
    }
    ok = ok && version > *last;
    *last = version;
    return ok;
}

enum kl_rc kl_record_parse(const char *text, struct kl_record *out, struct kl_err *err)
{
    struct kl_record found;
    char *copy = strdup(text), *line, *save = NULL;
    uint32_t last = 0;
    size_t n = 1;
    int ended = 0;
    enum kl_rc rc = KL_OK;

    if (!copy) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for the record");
    }
    memset(&found, 0, sizeof(found));
    for (line = strtok_r(copy, "\n", &save); line && !rc; line = strtok_r(NULL, "\n", &save)) {
        if (!ended && strcmp(line, end_word) == 0) {
            ended = 1;
        } else if (ended || !parse_line(line, &found, &last)) {
            rc = kl_err_set(err, KL_ERR_INPUT, "line %zu is not one of a record", n);
        }
        n++;
    }
    if (!rc && !ended) {
        rc = kl_err_set(err, KL_ERR_INPUT, "it is cut off: its last line is not \"%s\"", end_word);
    }
    if (!rc) {
        *out = found;
    }
    free(copy);
    return rc;
}
