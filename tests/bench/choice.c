/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups and names of figures: see choice.h. */
#include "tests/bench/choice.h"

#include <string.h>

#include "tests/bench/bench.h"

#define KIND_WORD "KIND"
#define EC_VS_RSA "ec_vs_rsa"
#define SEPARATORS " ,"
#define LINE 96 /* columns of choice_print's */
#define INDENT 4

const struct bench_group bench_groups[BENCH_GROUPS] = {
    {"load_vs_bare", "whole loads over the bare PKCS#11 loop, and CPU; EC over RSA",
     "load_vs_bare_KIND cpu_per_load_vs_bare_KIND loads_KIND bare_loads_KIND cpu_bare_KIND "
     "cpu_workers_KIND cpu_daemon_KIND cpu_simulator_KIND "
     "load_vs_bare_KIND_full cpu_per_load_vs_bare_KIND_full loads_KIND_full bare_loads_KIND_full "
     "cpu_bare_KIND_full cpu_workers_KIND_full cpu_daemon_KIND_full cpu_simulator_KIND_full "
     "ec_vs_rsa ec_vs_rsa_bare",
     12, 14, 4, group_load_vs_bare},
    {"overload", "five times more terminals than there is room for; latency at 70 %",
     "overload_goodput overload_busy overload_busy_p50 overload_hung overload_offered "
     "overload_peak latency_alone_p50 latency_at_70_percent_p99 latency_at_70_percent_vs_alone",
     3, 6, 6, group_overload},
    {"idle_sessions", "20,000 silent connections: memory, and loads beside them",
     "idle_sessions idle_session_bytes idle_sessions_loads_ratio", 18, 2, 1, group_idle},
    {"registry_scale", "a million registered terminals against a thousand",
     "registry_scale start_up_1k start_up_1m import_rate registry_memory_ratio", 40, 0, 8,
     group_scale},
    {"slow_hsm", "64 sessions of an HSM that takes 10 ms for every call",
     "slow_hsm slow_hsm_loop_cpu slow_hsm_loads slow_hsm_ideal", 30, 4, 2, group_slow_hsm},
    {"store_commit", "loads for each fsync; group commit against one at a time",
     "loads_per_fsync store_single store_grouped store_group_vs_single", 2, 3, 4, group_commit},
    {"leak", "memory by load, and what it costs to replace workers",
     "leak_daemon leak_daemon_recycling leak_workers leak_recycled_vs_bound leak_loads "
     "recycle_cost",
     10, 4, 1, group_leak},
    {"peers", "p11-kit server and openssl s_server with the same key",
     "ops_ours ops_module ops_workers ops_p11_kit ops_s_server ours_vs_p11_kit_ops "
     "ours_vs_p11_kit_loads ours_vs_p11_kit ours_vs_s_server peer_loads_p11_kit "
     "peer_calls_p11_kit peer_calls_replaced_p11_kit",
     4, 6, 3, group_peers},
    {"growth", "plots: workers, loads at once, connections, keys", "", 90, 0, 0, group_growth},
};

/* A figure's name with a kind in the place of KIND, if that is in it. */
static void with_kind(const char *name, size_t len, const char *kind, char out[FIGURE_NAME_MAX])
{
    const char *at = memmem(name, len, KIND_WORD, strlen(KIND_WORD));

    snprintf(out, FIGURE_NAME_MAX, "%.*s", (int)len, name);
    if (at) {
        snprintf(out, FIGURE_NAME_MAX, "%.*s%s%.*s", (int)(at - name), name, kind,
                 (int)(name + len - at) - (int)strlen(KIND_WORD), at + strlen(KIND_WORD));
    }
}

/* 1 if the word is the name, or, unless `whole`, what it begins with before a '_'. */
static int means(const char *word, size_t len, const char *name, int whole)
{
    return strncmp(word, name, len) == 0 && (name[len] == '\0' || (!whole && name[len] == '_'));
}

int choice_both(enum kind_id kind)
{
    return kind == KIND_P256 || kind == KIND_RSA2048;
}

/* Whether a figure, its KIND replaced, is one of that kind of key. */
static int is_of(const char *name, enum kind_id kind)
{
    size_t len = strlen(name), full = strlen(BENCH_FULL);
    int ends_full = len > full && strcmp(name + len - full, BENCH_FULL) == 0;

    return choice_both(kind) || (!ends_full && strncmp(name, EC_VS_RSA, strlen(EC_VS_RSA)) != 0);
}

/* The next word from *rest on, and its length; NULL if there is none. */
static const char *next(const char **rest, size_t *len)
{
    const char *word = *rest ? *rest + strspn(*rest, SEPARATORS) : "";

    *len = strcspn(word, SEPARATORS);
    *rest = word + *len;
    return *len > 0 ? word : NULL;
}

/* Marks the kinds of what the word means in that group, if it is given; 1 if it means any. */
static int mark(const struct bench_group *group, const char *word, size_t len, int whole, int *kind)
{
    const char *rest = group->figures, *at;
    size_t at_len;
    int any = 0;

    while ((at = next(&rest, &at_len)) != NULL) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            char name[FIGURE_NAME_MAX];

            with_kind(at, at_len, kinds[k].name, name);
            if (means(word, len, name, whole) && is_of(name, (enum kind_id)k)) {
                any = 1;
                if (kind) {
                    kind[k] = 1;
                }
            }
        }
    }
    return any;
}

static int choose(const char *word, size_t len, struct choice *out)
{
    int known = 0;

    for (size_t i = 0; i < BENCH_GROUPS; i++) {
        const struct bench_group *group = &bench_groups[i];
        int *kind = group->run == group_load_vs_bare ? out->kind : NULL;

        if (means(word, len, group->name, 1)) {
            for (size_t k = 0; kind && k < KIND_COUNT; k++) {
                kind[k] = 1;
            }
            return out->group[i] = 1;
        }
        if (mark(group, word, len, 0, kind)) {
            out->group[i] = known = 1;
        }
    }
    return known;
}

static int choose_kind(const char *word, size_t len, int kind[KIND_COUNT])
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (means(word, len, kinds[i].name, 1)) {
            return kind[i] = 1;
        }
    }
    return 0;
}

int choice_make(const char *words, const char *kind_words, struct choice *out, char unknown[64])
{
    int only[KIND_COUNT] = {0}, some = 0, some_kinds = 0;
    const char *word;
    size_t len;

    *out = (struct choice){0};
    unknown[0] = '\0';
    while ((word = next(&words, &len)) != NULL && (some = choose(word, len, out)) != 0) {
    }
    if (!word) {
        while ((word = next(&kind_words, &len)) != NULL &&
               (some_kinds = choose_kind(word, len, only)) != 0) {
        }
    }
    if (word) {
        snprintf(unknown, 64, "%.*s", (int)(len < 63 ? len : 63), word);
        return 0;
    }
    for (size_t i = 0; !some && i < BENCH_GROUPS; i++) {
        out->group[i] = 1;
    }
    for (size_t i = 0; i < KIND_COUNT; i++) {
        out->kind[i] = (!some || out->kind[i]) && (!some_kinds || only[i]);
    }
    return 1;
}

int choice_has(const char *figure)
{
    for (size_t i = 0; i < BENCH_GROUPS; i++) {
        if (mark(&bench_groups[i], figure, strlen(figure), 1, NULL)) {
            return 1;
        }
    }
    return 0;
}

void choice_print(FILE *out)
{
    for (size_t i = 0; i < BENCH_GROUPS; i++) {
        const char *rest = bench_groups[i].figures, *word;
        size_t len, column = LINE;

        fprintf(out, "%-16s %s", bench_groups[i].name, bench_groups[i].about);
        while ((word = next(&rest, &len)) != NULL) {
            int full = column + 1 + len > LINE;

            column = full ? INDENT + len : column + 1 + len;
            fprintf(out, full ? "\n    %.*s" : " %.*s", (int)len, word);
        }
        fputc('\n', out);
    }
    fputs("KIND is one of", out);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        fprintf(out, " %s", kinds[i].name);
    }
    fputc('\n', out);
}

double choice_seconds(const struct choice *choice, size_t i, double seconds, unsigned repeats)
{
    const struct bench_group *group = &bench_groups[i];
    double share = 1;

    if (!choice->group[i]) {
        return 0;
    }
    if (group->run == group_load_vs_bare) {
        share = 0;
        for (size_t k = 0; k < KIND_COUNT; k++) {
            share += (double)choice->kind[k] / KIND_COUNT;
        }
    }
    return share * (group->set_up + repeats * (group->measured * seconds + group->between));
}
