/* SPDX-License-Identifier: BSD-2-Clause */
/* See results.h. TAP is version 13 (YAML blocks, SKIP), JUnit what CI servers agree on. */
#include "terminal-sim/attack/results.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "conf/markup.h"
#include "conf/report.h"

enum kl_rc kl_results_add(struct kl_results *results, const struct kl_attack_result *result,
                          struct kl_err *err)
{
    struct kl_attack_result *grown;

    if (results->count == results->room) {
        grown = realloc(results->of, (results->room + 64) * sizeof(*grown));
        if (!grown) {
            return kl_err_set(err, KL_ERR_MEMORY, "no memory for results");
        }
        results->of = grown;
        results->room += 64;
    }
    results->of[results->count++] = *result;
    return KL_OK;
}

void kl_results_wipe(struct kl_results *results)
{
    free(results->of);
    memset(results, 0, sizeof(*results));
}

static size_t count_of(const struct kl_results *results, enum kl_attack_outcome outcome)
{
    size_t count = 0;

    for (size_t i = 0; i < results->count; i++) {
        count += results->of[i].outcome == outcome;
    }
    return count;
}

int kl_results_status(const struct kl_results *results)
{
    size_t held = count_of(results, KL_ATTACK_HELD);

    if (count_of(results, KL_ATTACK_BROKEN)) {
        return KL_RESULTS_BROKEN;
    }
    return held == 0 || (results->strict &&
                         held + count_of(results, KL_ATTACK_NOT_TRIED) < results->count)
               ? KL_RESULTS_INCONCLUSIVE
               : KL_RESULTS_HELD;
}

/* ---- Text ---- */

void kl_results_text(FILE *out, const struct kl_attack_result *r)
{
    if (r->outcome == KL_ATTACK_NOT_TRIED) {
        return; /* one line for all, in the end */
    }
    fprintf(out, "%-12s %-32s %s\n", kl_attack_outcome_name(r->outcome), r->name, r->detail);
}

void kl_results_text_end(FILE *out, const struct kl_results *results)
{
    size_t not_tried = count_of(results, KL_ATTACK_NOT_TRIED);

    if (not_tried) {
        fprintf(out, "not tried: %zu need a loader (--loader)\n", not_tried);
    }
    fprintf(out, "%zu held, %zu broken, %zu inconclusive\n", count_of(results, KL_ATTACK_HELD),
            count_of(results, KL_ATTACK_BROKEN), count_of(results, KL_ATTACK_INCONCLUSIVE));
}

/* ---- TAP ---- */

void kl_results_tap_begin(FILE *out, size_t count)
{
    fprintf(out, "TAP version 13\n1..%zu\n", count);
}

/* A quoted scalar of YAML. */
static void put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
    }
    fputc('"', out);
}

void kl_results_tap(FILE *out, const struct kl_results *results, size_t number)
{
    const struct kl_attack_result *r = &results->of[number];
    int skipped = r->outcome == KL_ATTACK_NOT_TRIED ||
                  (r->outcome == KL_ATTACK_INCONCLUSIVE && !results->strict);

    fprintf(out, "%s %zu - %s%s%s\n", r->outcome == KL_ATTACK_HELD || skipped ? "ok" : "not ok",
            number + 1, r->name, skipped ? " # SKIP " : "",
            skipped ? kl_attack_outcome_name(r->outcome) : "");
    fprintf(out, "  ---\n  outcome: %s\n  tries: ", kl_attack_outcome_name(r->outcome));
    put_quoted(out, r->tries);
    fputs("\n  message: ", out);
    put_quoted(out, r->detail);
    fprintf(out, "\n  variants: %u\n  duration_ms: %.0f\n  ...\n", r->variants, r->seconds * 1000);
}

/* ---- JSON ---- */

enum kl_rc kl_results_json(const struct kl_results *results, struct kl_err *err)
{
    json_t *list = json_array(), *root;

    for (size_t i = 0; i < results->count; i++) {
        const struct kl_attack_result *r = &results->of[i];

        if (json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s, s:i, s:f}", "name", r->name,
                                            "outcome", kl_attack_outcome_name(r->outcome), "tries",
                                            r->tries, "detail", r->detail, "variants",
                                            (int)r->variants, "seconds", r->seconds))) {
            json_decref(list);
            return kl_err_set(err, KL_ERR_MEMORY, "the report of the attacks");
        }
    }
    root = json_pack("{s:I, s:I, s:I, s:I, s:o}", "held",
                     (json_int_t)count_of(results, KL_ATTACK_HELD), "broken",
                     (json_int_t)count_of(results, KL_ATTACK_BROKEN), "inconclusive",
                     (json_int_t)count_of(results, KL_ATTACK_INCONCLUSIVE), "not-tried",
                     (json_int_t)count_of(results, KL_ATTACK_NOT_TRIED), "attacks", list);
    return kl_report_print(root, 1, err);
}

/* ---- JUnit ---- */

static void put_attribute(FILE *out, const char *name, const char *value)
{
    fprintf(out, " %s=\"", name);
    kl_markup_text(out, value);
    fputc('"', out);
}

static void put_case(FILE *out, const struct kl_attack_result *r, int strict)
{
    int failed = r->outcome == KL_ATTACK_BROKEN || (strict && r->outcome == KL_ATTACK_INCONCLUSIVE);

    fputs("  <testcase classname=\"terminal-sim.attack\"", out);
    put_attribute(out, "name", r->name);
    fprintf(out, " time=\"%.3f\">\n", r->seconds);
    if (r->outcome != KL_ATTACK_HELD) {
        fprintf(out, "    <%s", failed ? "failure" : "skipped");
        put_attribute(out, "message", r->detail);
        if (failed) {
            put_attribute(out, "type", kl_attack_outcome_name(r->outcome));
        }
        fputs("/>\n", out);
    }
    fputs("    <system-out>", out);
    kl_markup_text(out, r->tries);
    fputs(": ", out);
    kl_markup_text(out, r->detail);
    fputs("</system-out>\n  </testcase>\n", out);
}

void kl_results_junit(FILE *out, const struct kl_results *results)
{
    size_t inconclusive = count_of(results, KL_ATTACK_INCONCLUSIVE);
    double seconds = 0;

    for (size_t i = 0; i < results->count; i++) {
        seconds += results->of[i].seconds;
    }
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"terminal-sim attack\" "
            "tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"%.3f\">\n",
            results->count,
            count_of(results, KL_ATTACK_BROKEN) + (results->strict ? inconclusive : 0),
            (results->strict ? 0 : inconclusive) + count_of(results, KL_ATTACK_NOT_TRIED), seconds);
    for (size_t i = 0; i < results->count; i++) {
        put_case(out, &results->of[i], results->strict);
    }
    fputs("</testsuite>\n", out);
}
