/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prometheus' text format, version 0.0.4. Names and labels are ours alone and need no escaping;
 * nothing that a peer can choose is ever a label.
 */
#ifndef KL_DAEMON_MONITOR_EXPOSITION_H
#define KL_DAEMON_MONITOR_EXPOSITION_H

#include <stdio.h>

#include "daemon/monitor/histogram.h"

#define KL_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Begins a metric; its values follow. type: "counter", "gauge" or "histogram". */
void kl_expo_head(FILE *out, const char *name, const char *type, const char *help);

/* One value. labels: NULL or like a="b",c="d". */
void kl_expo_value(FILE *out, const char *name, const char *labels, double value);
/* The same with one label. */
void kl_expo_label(FILE *out, const char *name, const char *label, const char *text, double value);
/* Buckets, sum and count, in seconds if it is of times. */
void kl_expo_histogram(FILE *out, const char *name, const char *labels,
                       const struct kl_histogram *histogram, enum kl_histogram_of of);
/* A metric of one value. */
void kl_expo_one(FILE *out, const char *name, const char *type, const char *help, double value);

#endif
