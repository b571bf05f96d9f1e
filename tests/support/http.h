/* SPDX-License-Identifier: BSD-2-Clause */
/* A client of HTTP over loopback that sends whatever it is told. */
#ifndef KL_TESTS_SUPPORT_HTTP_H
#define KL_TESTS_SUPPORT_HTTP_H

#include <stdint.h>

#define HTTP_SECONDS 20 /* that a read waits at most */

/* A connection; -1 if there is none to be had. */
int http_connect(uint16_t port);
/* Sends text as it is; 0 if the other side takes no more. */
int http_send(int fd, const char *text);
/* All that comes until the end, malloc'ed, NUL-terminated; closes fd. */
char *http_rest(int fd);

/* One request, as it is, and all of the answer ("" if there is none); malloc'ed. */
char *http_ask(uint16_t port, const char *request);
/* GET by a client that is as it should be. */
char *http_get(uint16_t port, const char *path);
int http_status(const char *answer);       /* 200, ...; 0 if it is no answer */
const char *http_body(const char *answer); /* borrowed; "" if there is none */

#endif
