/* SPDX-License-Identifier: BSD-2-Clause */
/* Line plots as SVG, and text for HTML. */
#ifndef KL_TERMINAL_SIM_FLEET_FLEET_PLOT_H
#define KL_TERMINAL_SIM_FLEET_FLEET_PLOT_H

#include <stddef.h>
#include <stdio.h>

#define KL_PLOT_LINES_MAX 3
struct kl_plot_line {
    const char *label;
    const double *y; /* borrowed, as many as there are points */
};
struct kl_plot {
    const char *title, *x_label;
    int log_y;       /* what is not above 0 is not drawn then */
    const double *x; /* borrowed, never falling */
    size_t points, lines;
    struct kl_plot_line line[KL_PLOT_LINES_MAX];
};

/* One <svg> element with a heading. A plot without points says so. */
void kl_plot(const struct kl_plot *plot, FILE *out);

#endif
