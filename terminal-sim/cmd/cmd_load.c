/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terminal-sim load and confirm: candidates of earlier loads are put to the loader first; then, for
 * load, one load.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/options.h"
#include "conf/report.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/drive.h"
#include "terminal-sim/offer.h"
#include "terminal-sim/terminal.h"
#include "terminal-sim/transceiver.h"

struct request { /* the command line */
    const char *dir, *connect, *algorithms, *suites, *record;
    uint64_t seconds;
    int json, verbose, fresh, abandon, abandon_all;
};

struct work { /* what a command works with */
    const struct request *request;
    struct kl_terminal_home *terminal;
    struct kl_pinpad *pad;
    struct kl_terminal_load_params params;
    struct kl_drive drive;
    int unsettled; /* a proven verdict could not be carried out: nothing may go on */
};

/* ---- Command line ---- */

static enum kl_rc parse(int argc, char **argv, int loads, struct request *request,
                        struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--dir", 1, .text = &request->dir},
        {"--connect", 1, .text = &request->connect},
        {"--timeout", .take = kl_transceiver_take_timeout, .out = &request->seconds},
        {"--verbose", .flag = &request->verbose},
        {"--json", .flag = &request->json},
        {loads ? "--algorithms" : NULL,
         .text = &request->algorithms}, /* there it ends for confirm */
        {"--suites", .text = &request->suites},
        {"--record", .text = &request->record},
        {"--fresh", .flag = &request->fresh},
        {"--abandon-candidate", .flag = &request->abandon},
        {"--abandon-all", .flag = &request->abandon_all},
        {0},
    };

    return kl_options_parse(argc, argv, options, "", err);
}

/* "tdes2,aes128" or "hardened-ec": each known (not 0) and named once, so that they are few. */
static enum kl_rc parse_list(const char *option, const char *text,
                             unsigned (*by_name)(const char *name), const char *all,
                             uint8_t out[KL_OFFER_MAX], size_t *count, struct kl_err *err)
{
    char copy[128], *name, *save = NULL;
    size_t n = 0;
    unsigned value;

    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy)) {
        return kl_err_set(err, KL_ERR_USAGE, "%s is too long", option);
    }
    for (name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        value = by_name(name);
        if (value == 0) {
            return kl_err_set(err, KL_ERR_USAGE, "%s: \"%s\" is unknown; there are %s", option,
                              name, all);
        }
        if (memchr(out, (int)value, n)) {
            return kl_err_set(err, KL_ERR_USAGE, "%s names %s twice", option, name);
        }
        out[n++] = (uint8_t)value;
    }
    if (n == 0) {
        return kl_err_set(err, KL_ERR_USAGE, "%s is empty", option);
    }
    *count = n;
    return KL_OK;
}

static enum kl_rc parse_offer(const struct request *request, struct kl_terminal_load_params *params,
                              struct kl_err *err)
{
    const char *algs =
                   request->algorithms ? request->algorithms : "tdes2,tdes3,aes128,aes192,aes256",
               *suites = request->suites ? request->suites : "hardened-ec,hardened-rsa";
    uint8_t values[KL_OFFER_MAX];
    enum kl_rc rc = parse_list("--algorithms", algs, kl_offer_alg, KL_OFFER_ALGS, values,
                               &params->alg_count, err);

    for (size_t i = 0; !rc && i < params->alg_count; i++) {
        params->algs[i] = (enum kl_alg)values[i];
    }
    return rc ? rc
              : parse_list("--suites", suites, kl_suite_by_name, KL_OFFER_SUITES, params->suites,
                           &params->suite_count, err);
}

/* ---- Set-up ---- */

static void print_trace(void *arg, const char *line)
{
    const struct work *work = arg;

    fprintf(work->request->json ? stderr : stdout, "%s\n", line);
}

static enum kl_rc record(void *arg, const struct kl_candidate *candidate, struct kl_err *err)
{
    struct work *work = arg;

    return kl_terminal_record(work->terminal, candidate, err);
}

static enum kl_rc forget(void *arg, uint32_t version, struct kl_err *err)
{
    struct work *work = arg;

    return kl_terminal_settle(work->terminal, work->pad, version, KL_VERDICT_DROP, err);
}

/* Recordings hold no secret, but a session of ours: for our eyes. Never over an old one. */
static enum kl_rc open_record(struct work *work, struct kl_err *err)
{
    const char *path = work->request->record;
    int fd;

    if (!path) {
        return KL_OK;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return kl_err_errno(err, "open", "--record %s", path);
    }
    work->drive.record = fdopen(fd, "wb");
    if (!work->drive.record) {
        kl_err_errno(err, "fdopen", "--record %s", path);
        close(fd);
        return err->rc;
    }
    return KL_OK;
}

static enum kl_rc set_up(struct work *work, struct kl_err *err)
{
    const struct request *request = work->request;
    enum kl_rc rc = parse_offer(request, &work->params, err);

    if (!rc) {
        rc = kl_terminal_open(request->dir, 1, &work->terminal, err);
    }
    if (!rc) {
        rc = kl_terminal_open_pinpad(work->terminal, &work->pad, err);
    }
    if (!rc) {
        rc = kl_terminal_recover(work->terminal, work->pad, err);
    }
    if (rc) {
        return rc;
    }
    work->params.serial = kl_terminal_serial(work->terminal);
    work->params.pinpad_serial = kl_terminal_pinpad_serial(work->terminal);
    work->params.roots = kl_terminal_roots(work->terminal);
    work->params.chain_count = kl_terminal_chain(work->terminal, work->params.chain);
    work->params.pad = work->pad;
    work->params.now = time(NULL);
    work->params.record = record;
    work->params.forget = forget;
    work->params.trace = request->verbose ? print_trace : NULL;
    work->params.arg = work;
    work->drive.address = request->connect;
    work->drive.seconds = request->seconds;
    return KL_OK;
}

static void tear_down(struct work *work)
{
    kl_pinpad_free(work->pad);
    kl_terminal_free(work->terminal);
}

/* ---- The work ---- */

static enum kl_rc report(const struct work *work, const char *result,
                         const struct kl_candidate *candidate,
                         const struct kl_terminal_load_facts *facts, struct kl_err *err)
{
    char kcv[KL_KCV_TEXT];
    json_t *root;

    kl_kcv_format(candidate->loaded.kcv, candidate->loaded.kcv_len, kcv);
    root =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "result", result, "terminal",
                  work->params.serial, "state", "active", "version", (json_int_t)candidate->version,
                  "algorithm", kl_alg_info(candidate->alg)->name, "kcv", kcv);
    if (root && facts &&
        (json_object_set_new(root, "suite", json_string(kl_suite_name(facts->suite))) ||
         json_object_set_new(root, "work-certificate", json_string(facts->subject)) ||
         json_object_set_new(root, "anchor", json_string(facts->anchor)) ||
         json_object_set_new(root, "crl", json_string(facts->has_crl ? "stapled" : "none")))) {
        goto no_memory;
    }
    if (root && kl_terminal_pinpad_kind(work->terminal) == KL_PINPAD_MEMORY &&
        json_object_set_new(root, "note",
                            json_string("the PIN pad is in memory: its key is gone at exit"))) {
        goto no_memory;
    }
    return kl_report_print(root, work->request->json, err);

no_memory:
    json_decref(root);
    return kl_err_set(err, KL_ERR_MEMORY, "report of the load");
}

/* Puts every candidate to the loader, the youngest first: only it can be the loader's last word.
 * *active: whether one turned out active, then as *confirmed. KL_ERR_KEY: that word may be about a
 * TMK that the PIN pad does not hold. */
static enum kl_rc confirm_all(struct work *work, int *active, struct kl_candidate *confirmed,
                              struct kl_err *err)
{
    const struct kl_drive drive = {work->drive.address, work->drive.seconds, NULL};
    const struct kl_candidate *next;
    struct kl_candidate candidate;
    enum kl_verdict verdict;
    enum kl_rc rc;

    *active = 0;
    while (!(rc = kl_terminal_next(work->terminal, work->pad, &next, err)) && next) {
        candidate = *next;
        rc = kl_drive_run(&drive, &work->params, &candidate, &verdict, NULL, NULL, err);
        if (!rc) {
            rc = kl_terminal_settle(work->terminal, work->pad, candidate.version, verdict, err);
            work->unsettled = rc != KL_OK && rc != KL_ERR_KEY;
        }
        if (rc) {
            return rc;
        }
        if (verdict == KL_VERDICT_ACTIVE) {
            *confirmed = candidate;
            *active = 1;
            return KL_OK;
        }
        if (work->request->verbose) {
            print_trace(work, "the loader voided the candidate: destroyed");
        }
    }
    return rc;
}

static enum kl_rc give_up_oldest(struct work *work, const char *why, struct kl_err *err)
{
    uint32_t version;
    enum kl_rc rc = kl_terminal_abandon(work->terminal, work->pad, &version, err);

    if (!rc) {
        fprintf(stderr,
                "terminal-sim: the oldest candidate, TMK version %" PRIu32 ", is destroyed%s\n",
                version, why);
    }
    return rc;
}

/* Before Hello: a load that finds no room at S9 has cost an attempt. */
static enum kl_rc find_room(struct work *work, struct kl_err *err)
{
    const struct kl_candidate *candidates;
    enum kl_rc rc = KL_OK;

    while (!rc && work->request->abandon_all &&
           kl_terminal_candidates(work->terminal, &candidates) > 0) {
        rc = give_up_oldest(work, "", err);
    }
    if (!rc) {
        rc = kl_terminal_room(work->terminal, work->pad, err);
    }
    if (rc == KL_ERR_REFUSED && work->request->abandon) {
        rc = give_up_oldest(work, " to make room", err);
        if (!rc) {
            rc = kl_terminal_room(work->terminal, work->pad, err);
        }
    }
    return rc;
}

static enum kl_rc load_once(struct work *work, struct kl_err *err)
{
    struct kl_candidate candidate;
    enum kl_verdict verdict;
    struct kl_terminal_load_facts facts;
    enum kl_rc rc = open_record(work, err);

    if (!rc) {
        rc = find_room(work, err);
    }
    if (!rc) {
        rc = kl_drive_run(&work->drive, &work->params, NULL, &verdict, &candidate, &facts, err);
    }
    if (work->drive.record && fclose(work->drive.record) != 0 && !rc) {
        rc = kl_err_errno(err, "fclose", "--record %s", work->request->record);
    }
    work->drive.record = NULL;
    if (!rc) {
        rc = kl_terminal_settle(work->terminal, work->pad, candidate.version, verdict, err);
    }
    if (rc) {
        return rc;
    }
    if (verdict == KL_VERDICT_DROP) {
        return kl_err_set(err, KL_ERR_PEER,
                          "the loader voided TMK version %" PRIu32 ": it is destroyed, the PIN pad "
                          "keeps what it had",
                          candidate.version);
    }
    return report(work, "loaded", &candidate, &facts, err);
}

static void go_on(const struct kl_err *err)
{
    fprintf(stderr, "terminal-sim: %s; going on with a fresh load\n", err->text);
}

/* The Confirm before a load. *over: the command has done its work. */
static enum kl_rc settle_first(struct work *work, int *over, struct kl_err *err)
{
    struct kl_candidate confirmed;
    int active;
    enum kl_rc rc = confirm_all(work, &active, &confirmed, err);

    *over = 0;
    if (rc && !work->unsettled &&
        (work->request->abandon || work->request->abandon_all ||
         (rc == KL_ERR_KEY && work->request->fresh))) {
        go_on(err);
        return KL_OK;
    }
    if (rc) {
        return rc;
    }
    if (!active && kl_terminal_check(work->terminal, work->pad, err)) {
        go_on(err); /* a load is what mends it */
    }
    if (!active || work->request->fresh) {
        return KL_OK;
    }
    *over = 1;
    return report(work, "confirmed", &confirmed, NULL, err);
}

enum kl_rc kl_terminal_cmd_load(int argc, char **argv, int *status, struct kl_err *err)
{
    struct request request = {.seconds = KL_TRANSCEIVER_SECONDS};
    struct work work = {.request = &request};
    int over = 0;
    enum kl_rc rc = parse(argc, argv, 1, &request, err);

    (void)status;
    if (!rc) {
        rc = set_up(&work, err);
    }
    if (!rc) {
        rc = settle_first(&work, &over, err);
    }
    if (!rc && !over) {
        rc = load_once(&work, err);
    }
    tear_down(&work);
    return rc;
}

enum kl_rc kl_terminal_cmd_confirm(int argc, char **argv, int *status, struct kl_err *err)
{
    struct request request = {.seconds = KL_TRANSCEIVER_SECONDS};
    struct work work = {.request = &request};
    struct kl_candidate confirmed;
    int active = 0;
    enum kl_rc rc = parse(argc, argv, 0, &request, err);

    (void)status;
    if (!rc) {
        rc = set_up(&work, err);
    }
    if (!rc) {
        rc = confirm_all(&work, &active, &confirmed, err);
    }
    if (!rc && !active) {
        rc = kl_terminal_check(work.terminal, work.pad, err);
    }
    if (!rc && active) {
        rc = report(&work, "confirmed", &confirmed, NULL, err);
    } else if (!rc) {
        rc = kl_report_print(json_pack("{s:s, s:s}", "result", "nothing-to-confirm", "terminal",
                                       work.params.serial),
                             request.json, err);
    }
    tear_down(&work);
    return rc;
}
