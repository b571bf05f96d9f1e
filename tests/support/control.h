/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers of the control socket, of any user and group. Failures are the test's own (ck_abort_msg).
 */
#ifndef KL_TESTS_SUPPORT_CONTROL_H
#define KL_TESTS_SUPPORT_CONTROL_H

#include <jansson.h>
#include <sys/types.h>

#include "tests/support/lab.h"

/* Who a peer is. groups: supplementary ones. */
struct control_who {
    uid_t uid;
    gid_t gid, groups[4];
    size_t group_count;
};

/* A place for sockets that every user can reach; control_end removes it. Sets [control] socket to
 * SOCKET there. */
#define CONTROL_PATH 100
void control_begin(struct lab *lab, char socket[CONTROL_PATH]);
void control_end(const char *socket);

/* Connected, as ourselves. */
int control_dial(const char *socket);
void control_say(int fd, const char *line); /* with its newline */
/* The next line as JSON; NULL if the daemon closes first. */
json_t *control_hear(int fd);
/* 1 if the daemon closes within seconds; whatever it says before is passed over. */
int control_closes(int fd, int seconds);

/* One request line as that user: the response. NULL: could not connect. who NULL: ourselves. */
json_t *control_ask(const char *socket, const struct control_who *who, const char *line);
/* The response's "rc", "ok" if it is good, "none" if there is none; frees it. Static storage. */
const char *control_rc(json_t *response);

#endif
