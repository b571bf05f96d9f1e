/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers of the control socket. */
#include "tests/support/control.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX (2 * 1024 * 1024)

void control_begin(struct lab *lab, char socket[CONTROL_PATH])
{
    char dir[] = "/tmp/kl-control.XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
    snprintf(socket, CONTROL_PATH, "%s/socket", dir);
    lab_set(lab, "control", "socket", socket);
}

void control_end(const char *socket)
{
    char dir[CONTROL_PATH];

    snprintf(dir, sizeof dir, "%s", socket);
    *strrchr(dir, '/') = '\0';
    file_remove_tree(dir);
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)(const void *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int control_dial(const char *path)
{
    int fd = dial(path);

    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    return fd;
}

void control_say(int fd, const char *line)
{
    size_t len = strlen(line);

    while (len > 0) {
        ssize_t n = send(fd, line, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return; /* what the daemon says to it, is heard */
        }
        line += n;
        len -= (size_t)n;
    }
}

static char *hear_line(int fd)
{
    char *line = malloc(ANSWER_MAX);
    size_t used = 0;

    ck_assert_ptr_nonnull(line);
    while (used < ANSWER_MAX - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t n;

        ck_assert_msg(poll(&wait, 1, proc_seconds(30) * 1000) == 1, "the daemon does not answer");
        n = recv(fd, line + used, 1, 0);
        if (n <= 0) {
            free(line);
            return NULL;
        }
        if (line[used] == '\n') {
            line[used] = '\0';
            return line;
        }
        used++;
    }
    ck_abort_msg("the answer is endless");
    return NULL;
}

static json_t *parse(const char *line)
{
    json_error_t why;
    json_t *json = json_loads(line, 0, &why);

    ck_assert_msg(json != NULL, "%s: %s", why.text, line);
    return json;
}

json_t *control_hear(int fd)
{
    char *line = hear_line(fd);
    json_t *json = line != NULL ? parse(line) : NULL;

    free(line);
    return json;
}

int control_closes(int fd, int seconds)
{
    for (int ms = 0; ms < proc_seconds(seconds) * 1000; ms += 20) {
        char scratch[4096];
        ssize_t n = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return 1;
        }
        if (n < 0) {
            proc_sleep_ms(20);
        }
    }
    return 0;
}

/* In a child: becomes that user, asks, and hands the answer on. Never returns. */
static void ask_as(const char *socket, const struct control_who *who, const char *line, int out)
{
    char *answer;
    int fd;

    if (who != NULL && (setgroups(who->group_count, who->groups) != 0 ||
                        setresgid(who->gid, who->gid, who->gid) != 0 ||
                        setresuid(who->uid, who->uid, who->uid) != 0)) {
        _exit(2);
    }
    if ((fd = dial(socket)) < 0) {
        _exit(1);
    }
    control_say(fd, line);
    answer = hear_line(fd);
    for (const char *at = answer; at != NULL && *at != '\0';) {
        ssize_t n = write(out, at, strlen(at));
        if (n <= 0) {
            _exit(2);
        }
        at += n;
    }
    _exit(0);
}

json_t *control_ask(const char *socket, const struct control_who *who, const char *line)
{
    char *answer = calloc(1, ANSWER_MAX);
    size_t used = 0;
    ssize_t n;
    int pipes[2], status;
    pid_t pid;
    json_t *json;

    ck_assert(answer != NULL && pipe(pipes) == 0);
    if ((pid = fork()) == 0) {
        close(pipes[0]);
        ask_as(socket, who, line, pipes[1]);
    }
    ck_assert_int_gt(pid, 0);
    close(pipes[1]);
    while (used < ANSWER_MAX - 1 &&
           (n = read(pipes[0], answer + used, ANSWER_MAX - 1 - used)) > 0) {
        used += (size_t)n;
    }
    close(pipes[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) < 2, "the peer: status %d", status);
    json = used > 0 ? parse(answer) : NULL;
    free(answer);
    return json;
}

const char *control_rc(json_t *response)
{
    static char text[64];

    if (response == NULL) {
        return "none";
    }
    snprintf(text, sizeof text, "%s",
             json_is_true(json_object_get(response, "ok"))
                 ? "ok"
                 : json_string_value(json_object_get(response, "rc")));
    json_decref(response);
    return text;
}
