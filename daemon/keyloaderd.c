/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd: the key-loading daemon. This file reads the command line and becomes either the
 * network process (run.c) or, executed again by that with --hsm-worker, an HSM worker (worker.c).
 */
#include <signal.h>
#include <stdio.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "conf/options.h"
#include "daemon/config.h"
#include "daemon/run.h"
#include "daemon/worker.h"
#include "proto/secret.h"

#define PROGRAM "keyloaderd"

static void print_help(void)
{
    puts("Usage: keyloaderd [OPTION]...\n"
         "Gives each POS terminal its own terminal master key (TMK) out of a PKCS#11 HSM.\n"
         "\n"
         "  -c, --config FILE   configuration (default " KL_CONFIG_PATH ")\n"
         "  -t, --test          check configuration, certificates, store and HSM, then exit\n"
         "      --help-config   print every configuration key with its meaning and default\n"
         "  -h, --help          print this help\n"
         "  -V, --version       print versions\n"
         "\n"
         "SIGTERM and SIGINT let loads under way finish (at most [limits] drain-timeout), then\n"
         "end the daemon; a second signal ends it at once. SIGHUP reads the configuration, the\n"
         "certificates and the CRLs again; if anything is wrong with them, all stays as it was.\n"
         "--help-config says which keys are read at a restart only.\n"
         "\n"
         "Exit status: 0 after a drain; 64 usage, 66 file missing, 69 HSM or token unusable,\n"
         "71 operating system, 74 store, 76 certificate, 77 PIN or permission, 78 configuration.");
}

static int serve(const char *path, int test)
{
    const struct kl_config *config = NULL;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_secret_setup(&err);

    if (rc == KL_OK) {
        rc = kl_config_new(path, &config, &err);
    }
    if (rc != KL_OK) {
        return kl_cli_fail(PROGRAM, &err);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a full disk, no death; workers inherit it */
    if (test) {
        rc = kl_run_check(config, &err);
    } else {
        kl_log_setup(PROGRAM, (enum kl_log_level)config->log_level,
                     (enum kl_log_target)config->log_target);
        rc = kl_run(path, config, &err);
    }
    kl_config_unref(config);
    if (rc != KL_OK) {
        return kl_cli_fail(PROGRAM, &err);
    }
    if (test) {
        printf("%s: configuration, certificates, store and HSM are fine\n", path);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = KL_CONFIG_PATH;
    struct kl_err err = KL_ERR_INIT;
    int test = 0, config = 0, worker = 0, help = 0, help_config = 0, version = 0;
    const struct kl_option options[] = {{"--" KL_WORKER_OPTION, .flag = &worker},
                                        {"--help-config", .flag = &help_config},
                                        {0}};

    if (kl_options_take(&argc, argv, "config", 'c', &path, &config, &err) != KL_OK ||
        kl_options_take(&argc, argv, "test", 't', NULL, &test, &err) != KL_OK ||
        kl_options_take(&argc, argv, "help", 'h', NULL, &help, &err) != KL_OK ||
        kl_options_take(&argc, argv, "version", 'V', NULL, &version, &err) != KL_OK ||
        kl_options_parse(argc, argv, options, "", &err) != KL_OK) {
        return kl_cli_usage(PROGRAM, "%s", err.text);
    }
    if (worker) {
        return kl_worker_main();
    }
    if (help) {
        print_help();
        return 0;
    }
    if (help_config) {
        kl_config_print_help(stdout);
        return 0;
    }
    if (version) {
        kl_cli_version(PROGRAM);
        return 0;
    }
    return serve(path, test);
}
