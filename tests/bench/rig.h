/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is measured: a daemon with one kind of work key in a lab of its own token (lab.h), fleets of
 * terminals against it, the bare loop on the same token, and what CPU each takes. Failures are the
 * group's own (ck_abort_msg).
 */
#ifndef KL_TESTS_BENCH_RIG_H
#define KL_TESTS_BENCH_RIG_H

#include <jansson.h>

#include "tests/support/fault.h"
#include "tests/support/lab.h"

/* A work key and the TMK that it carries. */
struct kind {
    const char *name;        /* of figures: "rsa2048" */
    const char *suite, *key; /* as keyloaderctl has them */
    const char *alg;
    int is_ec;
};

enum kind_id { KIND_RSA2048, KIND_CLASSIC, KIND_RSA3072, KIND_P256, KIND_P521, KIND_COUNT };
extern const struct kind kinds[KIND_COUNT];

/* The ceremony, once: a CA. */
void rig_found(struct lab *lab);

struct rig {
    struct lab lab;
    const struct kind *kind;
    unsigned workers;
    unsigned terminals; /* registered; and of a fleet, for which it may be lowered after that */
    unsigned used;      /* by fleets, from the first one on, since all were armed */
    const char *armed;  /* what serials begin with that are armed for a fleet: "" = all */
};

/* A copy of that lab with a store of its own in the directory `name`, so many terminals in it, and
 * no settings for speed's sake: what an operator has by default, but for the number of workers.
 * fault: NULL, or its workers reach the token through the fault-injecting module. Settings may
 * follow by lab_set, then rig_start. */
void rig_begin(struct rig *rig, struct fault *fault, const struct lab *founded, const char *name,
               const struct kind *kind, unsigned workers, unsigned terminals);
void rig_register(struct rig *rig); /* its terminals; before it starts. Of rig_begin's making */
void rig_start(struct rig *rig);    /* until all workers are ready */
void rig_wait(struct rig *rig);     /* the second half of that: it has been started */
void rig_end(struct rig *rig);

/* Fleets: each terminal has an address of its own; line: words with single spaces between. A report
 * is the caller's to release; a fleet whose exit status is not 0 fails. */

/* Arms all; the next fleet begins with the first terminal again. */
void rig_arm(struct rig *rig);
/* A fleet of so many terminals that none has had since rig_arm: started only. */
void rig_fleet_start(struct rig *rig, struct proc *proc, unsigned terminals, const char *line, ...)
    __attribute__((format(printf, 4, 5)));
json_t *rig_fleet_end(struct proc *proc); /* its report */
/* Both. */
json_t *rig_fleet_next(struct rig *rig, unsigned terminals, const char *line, ...)
    __attribute__((format(printf, 3, 4)));
/* rig_arm, then all of them. */
json_t *rig_fleet(struct rig *rig, const char *line, ...) __attribute__((format(printf, 2, 3)));

#define RIG_IN_FLIGHT 4 /* loads under way for each worker, in a closed loop */
/* Good loads a second of such a loop. */
double rig_rate(struct rig *rig, double seconds);

/* How many silent connections descriptors allow, and at most `wanted`: daemon and simulator both
 * raise their own limit as far as the system lets them. */
unsigned rig_idle_max(unsigned wanted);
/* Before it starts: silent connections are let in, and stay. */
void rig_keep_idle(struct rig *rig);
/* Starts a fleet that connects so many more and says nothing, and waits until the daemon has
 * `all`. proc_kill ends it. */
void rig_idle(struct rig *rig, struct proc *proc, unsigned more, unsigned all);

/* The number at a path of members ("loads/good"); 0 where there is none. */
double rig_number(const json_t *report, const char *path);

struct usage {
    double daemon, workers; /* CPU seconds since they started */
};
struct usage rig_usage(const struct rig *rig);
double rig_loop_cpu(const struct rig *rig); /* CPU seconds of the daemon's loop thread */
/* CPU seconds of the daemon and of all workers that it ever had. */
double rig_cpu_of_all(const struct rig *rig);
double rig_private(pid_t pid); /* bytes that are its own: Private_* of smaps_rollup */

struct bare {
    double rate, cpu_us; /* loads a second; CPU of a load */
    double calls;        /* PKCS#11 calls of a load */
    double not_carried;  /* of these, which were replaced or left out (record_move) */
};
struct bare rig_bare(const struct rig *rig, unsigned processes, double seconds);
/* The same calls through another module; env: more of it, may be NULL. */
struct bare rig_bare_through(const struct rig *rig, const char *module, const char *env,
                             unsigned processes, double seconds);
/* Here each load is one signature by CKM_RSA_PKCS with the rig's key, and nothing else. */
struct bare rig_sign(const struct rig *rig, const char *module, const char *env, unsigned processes,
                     double seconds);

#endif
