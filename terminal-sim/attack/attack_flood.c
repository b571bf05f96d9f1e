/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection flood; and the programs that a run starts: the one that arms, and an honest load.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"
#include "terminal-sim/attack/attack_impl.h"

extern char **environ;

/* ---- Programs ---- */

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

/* ---- The flood ---- */

/* How many of them the loader has ended. */
static unsigned count_shed(struct kl_transceiver *const *list, unsigned count)
{
    unsigned shed = 0;

    for (unsigned i = 0; i < count; i++) {
        shed += list[i] && kl_transceiver_has_ended(list[i]);
    }
    return shed;
}

void kl_attack_flood(struct kl_attack *attack, struct kl_attack_result *out)
{
    struct kl_transceiver *list[KL_FLOOD_CONNECTIONS] = {NULL};
    struct kl_err err = KL_ERR_INIT;
    unsigned open = 0, refused = 0, shed;
    int64_t began = kl_clock_ms();
    int served;

    kl_attack_begin(out, KL_FLOOD_NAME, KL_FLOOD_TRIES);
    if (kl_attack_ready(attack, out)) {
        for (unsigned i = 0; i < KL_FLOOD_CONNECTIONS; i++) {
            if (kl_transceiver_open(attack->target->loader, attack->target->seconds, NULL, &list[i],
                                    &err)) {
                refused++;
            } else {
                open++;
            }
        }
        served = kl_attack_probe(attack, &err) == KL_OK;
        shed = count_shed(list, KL_FLOOD_CONNECTIONS);
        for (unsigned i = 0; i < KL_FLOOD_CONNECTIONS; i++) {
            kl_transceiver_free(list[i]);
        }
        kl_attack_say(out, served || shed || refused ? KL_ATTACK_HELD : KL_ATTACK_BROKEN,
                      "of %u connections %u were refused or shed; the terminal was %sserved "
                      "meanwhile",
                      open + refused, shed + refused, served ? "" : "not ");
        kl_attack_still_serves(attack, 0, out);
    }
    out->seconds = (double)(kl_clock_ms() - began) / 1000;
}
