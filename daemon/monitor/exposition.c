/* SPDX-License-Identifier: BSD-2-Clause */
/* Prometheus' text format. */
#include "daemon/monitor/exposition.h"

void kl_expo_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void kl_expo_value(FILE *out, const char *name, const char *labels, double value)
{
    if (labels != NULL) {
        fprintf(out, "%s{%s} %.16g\n", name, labels, value);
    } else {
        fprintf(out, "%s %.16g\n", name, value);
    }
}

void kl_expo_label(FILE *out, const char *name, const char *label, const char *text, double value)
{
    fprintf(out, "%s{%s=\"%s\"} %.16g\n", name, label, text, value);
}

void kl_expo_histogram(FILE *out, const char *name, const char *labels,
                       const struct kl_histogram *histogram, enum kl_histogram_of of)
{
    const char *before = labels != NULL ? labels : "", *comma = labels != NULL ? "," : "";
    const char *open = labels != NULL ? "{" : "", *close = labels != NULL ? "}" : "";
    double unit = of == KL_HISTOGRAM_TIME ? 1e-6 : 1;
    uint64_t below = 0;
    size_t count;
    const uint64_t *bounds = kl_histogram_bounds(of, &count);

    for (size_t i = 0; i < count; i++) {
        below += histogram->bucket[i];
        fprintf(out, "%s_bucket{%s%sle=\"%.10g\"} %llu\n", name, before, comma,
                (double)bounds[i] * unit, (unsigned long long)below);
    }
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, before, comma,
            (unsigned long long)histogram->count);
    fprintf(out, "%s_sum%s%s%s %.16g\n", name, open, before, close, (double)histogram->sum * unit);
    fprintf(out, "%s_count%s%s%s %llu\n", name, open, before, close,
            (unsigned long long)histogram->count);
}

void kl_expo_one(FILE *out, const char *name, const char *type, const char *help, double value)
{
    kl_expo_head(out, name, type, help);
    kl_expo_value(out, name, NULL, value);
}
