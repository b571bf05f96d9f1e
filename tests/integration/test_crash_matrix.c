/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Daemon, HSM workers, terminals and keyloaderctl are killed (SIGKILL) at random instants, while
 * several terminals load without pause; whatever dies is started again. After every round, when all
 * is quiet, an audit of store, PIN pads and wire proves that nothing was lost
 * (tests/support/proof.h).
 *
 *   KL_CRASH_KILLS=N   how many in all (default 20); make crash-matrix KILLS=N
 *   KL_CRASH_SEED=S    of whom and when (default: drawn, and printed)
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/knob.h"
#include "tests/support/lab.h"
#include "tests/support/proof.h"
#include "tests/support/suite.h"
#include "tests/support/tokens.h"

#define TERMINALS 4
#define WORKERS 2
#define ROUND_KILLS 150 /* a store and terminals of its own for so many */
#define PAUSE_MAX_MS 250
#define UP_SECONDS 30

enum victim { VICTIM_TERMINAL, VICTIM_DAEMON, VICTIM_WORKER, VICTIM_OPERATOR, VICTIM_COUNT };
static const char *const victim_names[] = {"terminal", "daemon", "worker", "operator"};
/* Out of 100. */
static const unsigned victim_share[VICTIM_COUNT] = {45, 30, 15, 10};

struct player {
    struct proof proof;
    enum { IDLE, ARMING, LOADING } doing;
    struct proc arming;
    struct proof_load load;
};

static struct lab lab;
static struct player players[TERMINALS];
static struct tokens tokens;
static unsigned seed, kills[VICTIM_COUNT], loads, sent;

static void found(void)
{
    lab_found(&lab, 2048);
    lab_set(&lab, "policy", "kcv-length", "4"); /* so that equal ones mean equal keys */
}

static void abandon(void)
{
    lab_abandon(&lab);
}

static unsigned draw(unsigned below)
{
    return (unsigned)rand_r(&seed) % below;
}

/* ---- One terminal: armed, loads, and again ---- */

static void begin_load(struct player *player)
{
    proof_load_start(&player->proof, &lab, NULL, &player->load);
    player->doing = LOADING;
}

static struct proc *process(struct player *player)
{
    return player->doing == LOADING ? &player->load.terminal : &player->arming;
}

/* Its process is over, by itself (status) or killed. */
static void ended(struct player *player, int status)
{
    if (player->doing == LOADING) {
        size_t before = player->proof.count;
        proof_load_end(&player->proof, &player->load, status);
        sent += (unsigned)(player->proof.count - before);
        loads += status == 0;
    }
    unlink(process(player)->out);
    unlink(process(player)->err);
    player->doing = IDLE;
}

static void go_on(struct player *player, int again)
{
    if (player->doing != IDLE) {
        int was_arming = player->doing == ARMING, status = proc_poll(process(player));
        if (status == -1) {
            return;
        }
        ended(player, status);
        if (was_arming && status == 0 && again) {
            begin_load(player);
            return;
        }
    }
    if (again) {
        lab_ctl_start(&lab, &player->arming, "terminal", "arm", player->proof.serial, "--for", "1h",
                      "--attempts", "3", NULL);
        player->doing = ARMING;
    }
}

static void run_for(int ms)
{
    struct timespec from, now;

    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        for (int i = 0; i < TERMINALS; i++) {
            go_on(&players[i], 1);
        }
        int status = lab.daemon.pid != 0 ? proc_poll(&lab.daemon) : -1;
        if (status != -1) {
            ck_abort_msg("keyloaderd ended by itself: status %d: %s", status,
                         file_read(lab.daemon.err, NULL));
        }
        usleep(1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

/* ---- Kills ---- */

static int is_up(void)
{
    char *log = file_read(lab.daemon.err, NULL);
    int up = strstr(log, "event=listening ") != NULL;

    free(log);
    return up;
}

static void wait_up(void)
{
    for (int ms = 0; !is_up(); ms += 20) {
        ck_assert_msg(ms < proc_seconds(UP_SECONDS) * 1000, "does not listen: %s", lab.daemon.err);
        run_for(20);
    }
}

static void start_daemon(void)
{
    tokens_mend(&tokens, "hsm");
    lab_spawn(&lab);
}

static int kill_player(int doing)
{
    unsigned first = draw(TERMINALS);

    for (unsigned i = 0; i < TERMINALS; i++) {
        struct player *player = &players[(first + i) % TERMINALS];
        if ((int)player->doing == doing) {
            char term[64];
            int status = proc_poll(process(player));
            if (status != -1) { /* too late */
                ended(player, status);
                continue;
            }
            proc_kill(process(player));
            ended(player, -1);
            snprintf(term, sizeof term, "term-%s", player->proof.serial);
            tokens_mend(&tokens, term);
            return 1;
        }
    }
    return 0;
}

static int kill_daemon(void)
{
    lab_kill(&lab);
    unlink(lab.daemon.err);
    start_daemon();
    if (draw(10) != 0) { /* else it may be killed again while it starts */
        wait_up();
    }
    return 1;
}

static int kill_worker(void)
{
    pid_t pids[2 * WORKERS];
    size_t count = proc_children(lab.daemon.pid, pids, 2 * WORKERS);

    if (count == 0) {
        return 0;
    }
    kill(pids[draw((unsigned)count)], SIGKILL); /* a child of our own daemon */
    return 1;
}

/* Who it was; a victim that is not there is looked for again later. */
static void kill_someone(void)
{
    unsigned at = draw(100), who = 0;
    int done = 0;

    while (at >= victim_share[who]) {
        at -= victim_share[who++];
    }
    switch ((enum victim)who) {
    case VICTIM_TERMINAL:
        done = kill_player(LOADING);
        break;
    case VICTIM_DAEMON:
        done = kill_daemon();
        break;
    case VICTIM_WORKER:
        done = kill_worker();
        break;
    default:
        done = kill_player(ARMING);
        break;
    }
    kills[who] += (unsigned)done;
}

static unsigned all_kills(void)
{
    unsigned all = 0;

    for (int i = 0; i < VICTIM_COUNT; i++) {
        all += kills[i];
    }
    return all;
}

/* ---- A round ---- */

/* A port for the daemon to come back to each time: of those that the kernel gives nobody by itself
 * while the daemon is dead. */
static uint16_t free_port(void)
{
    const int on = 1;

    for (;;) {
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)(15000 + draw(15000))),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fd, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        int taken = bind(fd, (struct sockaddr *)&at, sizeof at);
        close(fd);
        if (taken == 0) {
            return ntohs(at.sin_port);
        }
    }
}

static void begin_round(unsigned number)
{
    char name[32], serial[16];

    snprintf(name, sizeof name, "round-%u", number);
    lab_begin(&lab, name);
    lab_set(&lab, "hsm", "workers", "2");
    for (int i = 0; i < TERMINALS; i++) {
        snprintf(serial, sizeof serial, "T%d", i);
        lab_terminal(&lab, serial, i % 2 ? "tdes3" : "tdes2");
        proof_begin(&players[i].proof, serial);
        players[i].doing = IDLE;
    }
    tokens_keep(&tokens, &lab);
    snprintf(name, sizeof name, "%u", free_port());
    lab_set(&lab, "listen", "port", name);
    lab_start(&lab);
}

/* All that runs comes to its end; then the audit as things are, and once the terminals have said
 * Confirm. */
static void audit(void)
{
    wait_up();
    for (int ms = 0, busy = 1; busy; ms += 10) {
        busy = 0;
        for (int i = 0; i < TERMINALS; i++) {
            go_on(&players[i], 0);
            busy |= players[i].doing != IDLE;
        }
        ck_assert_int_lt(ms, proc_seconds(LAB_LOAD_SECONDS) * 1000);
        proc_sleep_ms(10);
    }
    for (int i = 0; i < TERMINALS; i++) {
        const struct proof *proof = &players[i].proof;
        char to[32];
        proof_check(proof, &lab, 0);
        snprintf(to, sizeof to, "127.0.0.1:%u", lab.port);
        int status = lab_terminal_sim(&lab, proof->serial, "confirm", "--connect", to, NULL);
        ck_assert_msg(status == 0, "%s: confirm: status %d (%s)", proof->serial, status, lab.run);
        proof_check(proof, &lab, 1);
    }
    proof_store(&lab);
}

#define BUSY 75 /* a terminal's status: the loader has no HSM, or no time, just now */

/* With nobody killed any more, each terminal must be able to load: once a worker is back, whose
 * death may have been the last kill. */
static void last_loads(void)
{
    for (int i = 0; i < TERMINALS; i++) {
        struct player *player = &players[i];
        int status = BUSY;
        for (int ms = 0; status == BUSY && ms < proc_seconds(LAB_LOAD_SECONDS) * 1000; ms += 500) {
            proc_sleep_ms(ms > 0 ? 500 : 0);
            lab_arm(&lab, player->proof.serial, 3);
            begin_load(player);
            status = proc_wait(process(player), LAB_LOAD_SECONDS);
            ended(player, status);
        }
        ck_assert_msg(status == 0, "%s: load: status %d (%s)", player->proof.serial, status,
                      lab.run);
        proof_check(&player->proof, &lab, 1);
    }
}

static void round_of(unsigned number, unsigned count)
{
    unsigned until = all_kills() + count;

    begin_round(number);
    while (all_kills() < until) {
        run_for((int)draw(PAUSE_MAX_MS));
        kill_someone();
    }
    audit();
    last_loads();
    proof_store(&lab);
    lab_end(&lab);
    file_remove_tree(lab.run);
    tokens_forget(&tokens);
}

static void say(unsigned first_seed, time_t from)
{
    printf("crash matrix: seed %u: %u kills (", first_seed, all_kills());
    for (int i = 0; i < VICTIM_COUNT; i++) {
        printf("%s%s %u", i ? ", " : "", victim_names[i], kills[i]);
    }
    printf("), %u TMKs sent, %u loads to Done, %u token files of SoftHSM mended, %ld s\n", sent,
           loads, tokens.mended, (long)(time(NULL) - from));
    fflush(stdout);
}

START_TEST(test_random_kills)
{
    unsigned want = (unsigned)knob("KL_CRASH_KILLS", 20), rounds = 0;
    unsigned first_seed = seed = knob_seed("KL_CRASH_SEED");
    time_t from = time(NULL);

    say(first_seed, from);
    while (all_kills() < want) {
        unsigned left = want - all_kills();
        round_of(rounds++, left < ROUND_KILLS ? left : ROUND_KILLS);
        say(first_seed, from);
    }
    ck_assert_uint_ge(loads, TERMINALS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crash_matrix");
    TCase *tcase = tcase_create("random");
    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 90 + 3 * (double)knob("KL_CRASH_KILLS", 20));
    tcase_add_test(tcase, test_random_kills);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
