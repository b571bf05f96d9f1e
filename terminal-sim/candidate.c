/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Candidates: judging the Done that settles one, and the text form in which they outlive a crash.
 */
#include "terminal-sim/candidate.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"

#define LINE_MAX_LEN 160
#define FIELDS 7 /* progress, version, algorithm, KCV, Loaded's MAC, active MAC, drop MAC */
_Static_assert(LINE_MAX_LEN *KL_CANDIDATES_MAX <= KL_CANDIDATE_TEXT_MAX, "every line fits");

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

static void to_hex(const uint8_t *in, size_t len, char *out)
{
    size_t i;

    for (i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02X", in[i]);
    }
}

size_t kl_candidate_format(const struct kl_candidate *list, size_t count,
                           char out[KL_CANDIDATE_TEXT_MAX])
{
    char kcv[KL_KCV_TEXT], mac[3][KL_MAC_LEN * 2 + 1];
    size_t i, len = 0;

    out[0] = '\0';
    for (i = 0; i < count; i++) {
        kl_kcv_format(list[i].loaded.kcv, list[i].loaded.kcv_len, kcv);
        to_hex(list[i].loaded.mac, KL_MAC_LEN, mac[0]);
        to_hex(list[i].active_mac, KL_MAC_LEN, mac[1]);
        to_hex(list[i].drop_mac, KL_MAC_LEN, mac[2]);
        len += (size_t)snprintf(out + len, KL_CANDIDATE_TEXT_MAX - len,
                                "%s %" PRIu32 " %s %s %s %s %s\n", progress[list[i].whole],
                                list[i].version, kl_alg_info(list[i].alg)->name, kcv, mac[0],
                                mac[1], mac[2]);
    }
    return len;
}

static int from_hex(const char *text, uint8_t *out, size_t min, size_t max, size_t *len)
{
    size_t n = 0;
    int ok = OPENSSL_hexstr2buf_ex(out, max, &n, text, '\0') && n >= min;

    ERR_clear_error(); /* the caller has a better text */
    *len = n;
    return ok;
}

static int parse_line(char *line, struct kl_candidate *out)
{
    struct kl_err ignored = KL_ERR_INIT;
    const struct kl_alg_info *alg;
    char *field[FIELDS], *save = NULL;
    uint64_t version;
    size_t n;
    int i;

    for (i = 0; i < FIELDS; i++) {
        field[i] = strtok_r(i ? NULL : line, " ", &save);
        if (!field[i]) {
            return 0;
        }
    }
    out->whole = strcmp(field[0], progress[1]) == 0;
    alg = kl_alg_by_name(field[2]);
    if (!alg || strcmp(field[0], progress[out->whole]) != 0 || strtok_r(NULL, " ", &save) ||
        kl_parse_number(field[1], 1, KL_VERSION_MAX, &version, &ignored)) {
        return 0;
    }
    out->version = (uint32_t)version;
    out->alg = alg->alg;
    return from_hex(field[3], out->loaded.kcv, KL_KCV_LEN_MIN, KL_KCV_LEN_MAX,
                    &out->loaded.kcv_len) &&
           from_hex(field[4], out->loaded.mac, KL_MAC_LEN, KL_MAC_LEN, &n) &&
           from_hex(field[5], out->active_mac, KL_MAC_LEN, KL_MAC_LEN, &n) &&
           from_hex(field[6], out->drop_mac, KL_MAC_LEN, KL_MAC_LEN, &n);
}

enum kl_rc kl_candidate_parse(const char *text, struct kl_candidate list[KL_CANDIDATES_MAX],
                              size_t *count, struct kl_err *err)
{
    struct kl_candidate found[KL_CANDIDATES_MAX];
    char *copy = strdup(text), *line, *save = NULL;
    size_t n = 0;
    enum kl_rc rc = KL_OK;

    if (!copy) {
        return kl_err_set(err, KL_ERR_MEMORY, "no memory for candidates");
    }
    memset(found, 0, sizeof(found));
    for (line = strtok_r(copy, "\n", &save); line && !rc; line = strtok_r(NULL, "\n", &save)) {
        if (n == KL_CANDIDATES_MAX || !parse_line(line, &found[n]) ||
            (n && found[n].version <= found[n - 1].version)) {
            rc = kl_err_set(err, KL_ERR_INPUT, "line %zu is not a candidate", n + 1);
        } else {
            n++;
        }
    }
    if (!rc) {
        memcpy(list, found, sizeof(found));
        *count = n;
    }
    free(copy);
    return rc;
}
