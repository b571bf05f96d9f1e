/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal-sim sign-in: fresh working keys from the loader. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "conf/options.h"
#include "conf/report.h"
#include "terminal-sim/cmd/cmd.h"
#include "terminal-sim/drive.h"
#include "terminal-sim/transceiver.h"

struct request {
    const char *dir, *connect;
    enum kl_key_format format;
    uint64_t seconds;
    int json, verbose;
};

struct work {
    const struct request *request;
    struct kl_terminal_home *terminal;
};

static void print_trace(void *arg, const char *line)
{
    const struct work *work = arg;

    fprintf(work->request->json ? stderr : stdout, "%s\n", line);
}

static enum kl_rc doubt(void *arg, struct kl_err *err)
{
    const struct work *work = arg;

    return kl_terminal_doubt_keys(work->terminal, err);
}

static enum kl_rc take_format(const char *value, void *out, struct kl_err *err)
{
    enum kl_key_format *format = out;

    if (strcmp(value, "keys") == 0) {
        *format = KL_FORMAT_KEYS;
    } else if (strcmp(value, "field62") == 0) {
        *format = KL_FORMAT_FIELD62;
    } else {
        return kl_err_set(err, KL_ERR_USAGE, "must be keys or field62");
    }
    return KL_OK;
}

static enum kl_rc parse(int argc, char **argv, struct request *request, struct kl_err *err)
{
    const struct kl_option options[] = {
        {"--dir", 1, .text = &request->dir},
        {"--connect", 1, .text = &request->connect},
        {"--format", .take = take_format, .out = &request->format},
        {"--timeout", .take = kl_transceiver_take_timeout, .out = &request->seconds},
        {"--verbose", .flag = &request->verbose},
        {"--json", .flag = &request->json},
        {0},
    };

    return kl_options_parse(argc, argv, options, "", err);
}

static enum kl_rc report(const struct request *request, const struct kl_terminal_home *terminal,
                         const struct kl_pinpad_pair *pair, struct kl_err *err)
{
    char pik[KL_KCV_TEXT], mak[KL_KCV_TEXT];

    kl_kcv_format(pair->pik_kcv, pair->kcv_len, pik);
    kl_kcv_format(pair->mak_kcv, pair->kcv_len, mak);
    return kl_report_print(json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "result", "signed-in",
                                     "terminal", kl_terminal_serial(terminal), "tmk-version",
                                     (json_int_t)pair->tmk_version, "algorithm",
                                     kl_alg_info(pair->alg)->name, "pik-kcv", pik, "mak-kcv", mak),
                           request->json, err);
}

static enum kl_rc sign_in(const struct request *request, struct kl_terminal_home *terminal,
                          struct kl_pinpad *pad, struct kl_err *err)
{
    const struct kl_drive drive = {request->connect, request->seconds, NULL};
    struct work work = {request, terminal};
    const struct kl_signin_params params = {
        .serial = kl_terminal_serial(terminal),
        .pinpad_serial = kl_terminal_pinpad_serial(terminal),
        .pad = pad,
        .tmk = *kl_terminal_active(terminal),
        .format = request->format,
        .doubt = doubt,
        .trace = request->verbose ? print_trace : NULL,
        .arg = &work,
    };
    struct kl_err ignored = KL_ERR_INIT;
    struct kl_pinpad_pair pair;
    enum kl_rc rc = kl_terminal_check(terminal, pad, err);

    if (!rc) {
        rc = kl_drive_signin(&drive, &params, &pair, err);
        if (rc && kl_terminal_drop_keys(terminal, pad, &ignored)) {
            fprintf(stderr, "terminal-sim: what it left is for the next start to remove: %s\n",
                    ignored.text);
        }
    }
    if (!rc) {
        rc = kl_terminal_take_keys(terminal, pad, &pair, err);
    }
    if (rc && kl_terminal_keys_in_doubt(terminal)) {
        kl_err_context(err, "the working keys are in doubt until the next sign-in");
    }
    return rc ? rc : report(request, terminal, &pair, err);
}

enum kl_rc kl_terminal_cmd_sign_in(int argc, char **argv, int *status, struct kl_err *err)
{
    struct request request = {.format = KL_FORMAT_KEYS, .seconds = KL_TRANSCEIVER_SECONDS};
    struct kl_terminal_home *terminal = NULL;
    struct kl_pinpad *pad = NULL;
    enum kl_rc rc = parse(argc, argv, &request, err);

    (void)status;
    if (!rc) {
        rc = kl_cmd_open(request.dir, 1, &terminal, &pad, err);
    }
    if (!rc) {
        rc = kl_terminal_recover(terminal, pad, err);
    }
    if (!rc) {
        rc = sign_in(&request, terminal, pad, err);
    }
    kl_pinpad_free(pad);
    kl_terminal_free(terminal);
    return rc;
}
