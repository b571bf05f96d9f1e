/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs that a run starts: the one that arms the terminal, and an honest load by it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"
#include "terminal-sim/attack/attack_impl.h"

extern char **environ;

/* Runs it with nothing to read, its stdout in /dev/null, and our stderr. */
static enum kl_rc run_program(const char *const *argv, unsigned seconds, struct kl_err *err)
{
    posix_spawn_file_actions_t files;
    int64_t deadline = kl_clock_ms() + (int64_t)seconds * 1000;
    pid_t pid, ended = 0;
    int status = 0, failure = posix_spawn_file_actions_init(&files);

    if (!failure) {
        failure = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        failure = failure ? failure
                          : posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null",
                                                             O_WRONLY, 0);
        failure = failure ? failure
                          : posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)argv, environ);
        posix_spawn_file_actions_destroy(&files);
    }
    if (failure) {
        errno = failure;
        return kl_err_errno(err, "posix_spawn", "%s", argv[0]);
    }
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && kl_clock_ms() < deadline) {
        kl_attack_pause(5);
    }
    if (ended == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return kl_err_set(err, KL_ERR_TIMEOUT, "%s did not end within %u s", argv[0], seconds);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return kl_err_set(err, KL_ERR_PEER, "%s ended with status %d", argv[0],
                          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return KL_OK;
}

enum kl_rc kl_attack_arm(struct kl_attack *attack, struct kl_err *err)
{
    char serial[KL_SERIAL_MAX + 1];
    const char *argv[] = {attack->target->arm, serial, NULL};

    if (!attack->target->arm) {
        return KL_OK;
    }
    snprintf(serial, sizeof(serial), "%s", kl_terminal_serial(attack->home));
    return run_program(argv, 60, err) ? kl_err_context(err, "--arm") : KL_OK;
}

void kl_attack_load(struct kl_attack *attack, const char *program, struct kl_attack_result *out)
{
    const struct kl_attack_target *target = attack->target;
    const char *argv[] = {program,        "load",          "--dir",   target->dir, "--connect",
                          target->loader, "--abandon-all", "--fresh", NULL};
    struct kl_err err = KL_ERR_INIT;
    int64_t began = kl_clock_ms();

    kl_attack_begin(out, "control-load", "nothing: an honest load, by the terminal itself");
    if (kl_attack_ready(attack, out)) {
        if (run_program(argv, target->seconds + 30, &err)) {
            kl_attack_say(out, KL_ATTACK_BROKEN,
                          "the loader serves the terminal, and a load of it fails: %s", err.text);
        } else {
            kl_attack_say(out, KL_ATTACK_HELD, "the terminal has a new TMK");
        }
    }
    out->seconds = (double)(kl_clock_ms() - began) / 1000;
}
