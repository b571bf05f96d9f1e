/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads, again and again. */
#include "tests/support/lab_loads.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static void start(struct lab_loads *loads, int i)
{
    lab_arm(loads->lab, loads->terminals[i].serial, 1);
    lab_load_start(loads->lab, loads->terminals[i].serial, loads->lab->port, NULL,
                   &loads->terminals[i].proc);
}

void lab_loads_make(struct lab_loads *loads, struct lab *lab, const char *roots)
{
    memset(loads, 0, sizeof *loads);
    loads->lab = lab;
    for (int i = 0; i < LAB_LOADS; i++) {
        char *serial = loads->terminals[i].serial;
        snprintf(serial, sizeof loads->terminals[i].serial, "R%d", i);
        if (roots == NULL) {
            lab_terminal(lab, serial, "tdes2");
        } else {
            lab_register(lab, serial, "tdes2");
            lab_make_terminal(lab, serial, roots);
        }
    }
}

void lab_loads_begin(struct lab_loads *loads)
{
    for (int i = 0; i < LAB_LOADS; i++) {
        start(loads, i);
    }
}

int lab_loads_go_on(struct lab_loads *loads, int again)
{
    int busy = 0;

    for (int i = 0; i < LAB_LOADS; i++) {
        struct proc *proc = &loads->terminals[i].proc;
        int status = proc->pid == 0 ? -1 : proc_poll(proc);
        if (status != -1) {
            ck_assert_msg(status == 0, "load of %s: status %d: %s", loads->terminals[i].serial,
                          status, file_read(proc->err, NULL));
            loads->terminals[i].loads++;
            if (again) {
                start(loads, i);
            }
        }
        busy += proc->pid != 0;
    }
    return busy;
}

void lab_loads_end(struct lab_loads *loads, unsigned least)
{
    int busy = LAB_LOADS;

    for (int ms = 0; busy > 0 && ms < proc_seconds(LAB_LOAD_SECONDS) * 1000; ms += 20) {
        proc_sleep_ms(20);
        busy = lab_loads_go_on(loads, 0);
    }
    ck_assert_int_eq(busy, 0);
    for (int i = 0; i < LAB_LOADS; i++) {
        ck_assert_uint_ge(loads->terminals[i].loads, least);
        lab_agree(loads->lab, loads->terminals[i].serial);
    }
}
