/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd: the key-loading daemon. This file reads the command line and becomes either the
 * network process (run.c) or, executed again by that with --hsm-worker, an HSM worker (worker.c).
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/cli.h"
#include "conf/log.h"
#include "conf/options.h"
#include "daemon/config.h"
#include "daemon/hsm/worker.h"
#include "daemon/process/process.h"
#include "daemon/process/sockets.h"
#include "daemon/run.h"
#include "proto/secret.h"

#define PROGRAM "keyloaderd"

static void print_help(void)
{
    puts(
        "Usage: keyloaderd [OPTION]...\n"
        "Gives each POS terminal its own terminal master key (TMK) out of a PKCS#11 HSM.\n"
        "\n"
        "  -c, --config FILE   configuration (default " KL_CONFIG_PATH ")\n"
        "  -d, --detach        go into the background; the exit status is 0 once it serves\n"
        "      --pidfile FILE  write the process's number into FILE, and hold a lock on it\n"
        "      --user NAME     once the port is bound, be that user (started as root)\n"
        "      --take-over     take port and store over from the daemon that serves them, without\n"
        "                      a refused connection: how to upgrade\n"
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
        "Exit status: 0 after a drain or a hand-over; 64 usage, 66 file missing, 69 HSM or token "
        "unusable,\n"
        "71 operating system, 74 store, 75 another daemon has it, 76 certificate, 77 PIN or\n"
        "permission, 78 configuration.");
}

struct wishes {
    const char *path, *pidfile, *user;
    int test, detach, take_over;
};

/* A detached daemon's standard error is nobody's, unless it goes to a file. */
static enum kl_rc check_wishes(const struct wishes *wishes, const struct kl_config *config,
                               struct kl_user *user, struct kl_err *err)
{
    if (wishes->pidfile != NULL && wishes->pidfile[0] != '/') {
        return kl_err_set(err, KL_ERR_USAGE, "--pidfile must be an absolute path");
    }
    if (wishes->detach && config->log_target == KL_LOG_STDERR && isatty(STDERR_FILENO)) {
        return kl_err_set(err, KL_ERR_CONFIG,
                          "--detach: set [log] target = syslog, or send standard error to a file");
    }
    return wishes->user == NULL ? KL_OK : kl_user_find(wishes->user, user, err);
}

/* What only root may, then the user; the configuration must still be there at a reload. */
static enum kl_rc settle(const struct wishes *wishes, const struct kl_config *config,
                         const struct kl_user *user, struct kl_sockets *sockets,
                         struct kl_pidfile **pidfile, struct kl_err *err)
{
    enum kl_rc rc = kl_sockets_from_manager(sockets, err);

    if (rc == KL_OK) {
        rc = kl_sockets_check(sockets, config, err);
    }
    if (rc == KL_OK && !wishes->take_over) {
        rc = kl_sockets_bind(sockets, config, err);
    }
    if (rc == KL_OK && wishes->pidfile != NULL && !wishes->take_over) {
        rc = kl_pidfile_new(wishes->pidfile, user->uid, user->gid, pidfile, err);
    }
    kl_process_raise_limits(config->connections, kl_config_workers(config),
                            config->lock_memory != KL_LOCK_MEMORY_NO);
    if (rc == KL_OK && wishes->user != NULL) {
        rc = kl_user_become(user, err);
    }
    if (rc == KL_OK && access(wishes->path, R_OK) != 0) {
        rc = kl_err_errno(err, "access", "%s, as the user that keyloaderd runs as", wishes->path);
    }
    return rc == KL_OK ? kl_process_lock_memory((enum kl_lock_memory)config->lock_memory, err) : rc;
}

static enum kl_rc serve(const struct wishes *wishes, const struct kl_config *config,
                        struct kl_err *err)
{
    const struct kl_run_options options = {
        .config_path = wishes->path,
        .take_over = wishes->take_over,
        .pidfile = wishes->take_over ? wishes->pidfile : NULL,
    };
    struct kl_user user = {.uid = geteuid(), .gid = getegid()};
    struct kl_sockets sockets = KL_SOCKETS_NONE;
    struct kl_pidfile *pidfile = NULL;
    enum kl_rc rc = check_wishes(wishes, config, &user, err);

    if (rc == KL_OK && wishes->detach) {
        rc = kl_process_detach(err);
    }
    if (rc == KL_OK) {
        rc = kl_secret_setup(err); /* after detaching: locks do not go on in a child */
    }
    if (rc == KL_OK) {
        kl_log_setup(PROGRAM, (enum kl_log_level)config->log_level,
                     (enum kl_log_target)config->log_target);
        rc = settle(wishes, config, &user, &sockets, &pidfile, err);
    }
    if (rc == KL_OK) {
        rc = kl_run(&options, config, &sockets, err);
    }
    kl_sockets_wipe(&sockets);
    kl_pidfile_free(pidfile);
    return rc;
}

static int start(struct wishes *wishes)
{
    static char absolute[PATH_MAX * 2];
    char folder[PATH_MAX];
    const struct kl_config *config = NULL;
    struct kl_err err = KL_ERR_INIT;
    enum kl_rc rc = kl_config_new(wishes->path, &config, &err);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a full disk, no death; workers inherit it */
    if (rc == KL_OK && wishes->path[0] != '/' && getcwd(folder, sizeof(folder)) != NULL) {
        snprintf(absolute, sizeof(absolute), "%s/%s", folder, wishes->path);
        wishes->path = absolute; /* a detached daemon is elsewhere */
    }
    if (rc == KL_OK && wishes->test) {
        rc = kl_secret_setup(&err);
        rc = rc == KL_OK ? kl_run_check(config, &err) : rc;
    } else if (rc == KL_OK) {
        rc = serve(wishes, config, &err);
    }
    kl_config_unref(config);
    if (rc != KL_OK) {
        return kl_cli_fail(PROGRAM, &err);
    }
    if (wishes->test) {
        printf("%s: configuration, certificates, store and HSM are fine\n", wishes->path);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct wishes wishes = {.path = KL_CONFIG_PATH};
    struct kl_err err = KL_ERR_INIT;
    int config = 0, worker = 0, help = 0, help_config = 0, version = 0;
    const struct kl_option options[] = {{"--" KL_WORKER_OPTION, .flag = &worker},
                                        {"--help-config", .flag = &help_config},
                                        {"--pidfile", .text = &wishes.pidfile},
                                        {"--user", .text = &wishes.user},
                                        {"--take-over", .flag = &wishes.take_over},
                                        {0}};

    if (kl_options_take(&argc, argv, "config", 'c', &wishes.path, &config, &err) != KL_OK ||
        kl_options_take(&argc, argv, "test", 't', NULL, &wishes.test, &err) != KL_OK ||
        kl_options_take(&argc, argv, "detach", 'd', NULL, &wishes.detach, &err) != KL_OK ||
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
    return start(&wishes);
}
