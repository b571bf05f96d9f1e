/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: what operators and auditors ask of a running daemon, who is turned away, and
 * peers that are hostile or broken, while terminals go on being served.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/control/control.h"
#include "tests/support/control.h"
#include "tests/support/lab.h"
#include "tests/support/lab_keys.h"
#include "tests/support/suite.h"

#define OPERATORS 64001
#define AUDITORS 64002
#define STATUS "{\"do\":\"status\",\"params\":{}}\n"

static struct lab lab;
static char sock[CONTROL_PATH];

/* Users that need not be in the system's files. */
static const struct control_who alice = {7001, 7001, {OPERATORS}, 1},
                                bob = {7002, OPERATORS, {0}, 0},
                                audrey = {7003, 7003, {AUDITORS}, 1},
                                mallory = {7004, 7004, {7001, 7002}, 2};

static void found(void)
{
    lab_found(&lab, 2048);
}

static void abandon(void)
{
    lab_abandon(&lab);
}

/* A scratch folder's file system need not have them. */
static int no_access_lists(void)
{
    return lab_log_count(&lab, "event=control-no-access-list") > 0;
}

/* A daemon with a control socket; groups only where we may give files away. */
static void begin(const char *name)
{
    char number[16];

    lab_begin(&lab, name);
    control_begin(&lab, sock);
    if (geteuid() == 0) {
        snprintf(number, sizeof number, "%d", OPERATORS);
        lab_set(&lab, "control", "operators", number);
        snprintf(number, sizeof number, "%d", AUDITORS);
        lab_set(&lab, "control", "auditors", number);
    } else {
        lab_set(&lab, "control", "operators", "");
        lab_set(&lab, "control", "auditors", "");
    }
    lab_terminal(&lab, "T1", "tdes2");
    lab_arm(&lab, "T1", 50);
    lab_start(&lab);
    if (no_access_lists()) {
        ck_assert_int_eq(chmod(sock, 0666), 0);
    }
}

/* It still serves terminals. */
static void end(void)
{
    free(lab_ctl(&lab, "terminal", "arm", "T1", NULL));
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    lab_agree(&lab, "T1");
    lab_end(&lab);
    ck_assert_msg(access(sock, F_OK) != 0, "%s is left behind", sock);
    control_end(sock);
}

static json_t *ctl_json(const char *group, const char *name, const char *arg)
{
    char *text = name ? lab_ctl(&lab, "--json", group, name, arg, NULL)
                      : lab_ctl(&lab, "--json", group, NULL);
    json_error_t why;
    json_t *json = json_loads(text, 0, &why);

    ck_assert_msg(json != NULL, "%s: %s", why.text, text);
    free(text);
    return json;
}

/* How many audit records have that event (and, unless NULL, that text in them). */
static size_t recorded(const char *event, const char *text)
{
    json_t *records = ctl_json("audit", "list", NULL), *record;
    size_t i, count = 0;

    json_array_foreach(records, i, record)
    {
        const char *detail = json_string_value(json_object_get(record, "detail"));
        const char *actor = json_string_value(json_object_get(record, "actor"));

        count += strcmp(json_string_value(json_object_get(record, "event")), event) == 0 &&
                 (!text || strstr(detail, text) || strstr(actor, text));
    }
    json_decref(records);
    return count;
}

/* What the daemon itself records may come a moment after its answer. */
static void expect_recorded(const char *event, const char *text, size_t count)
{
    for (int i = 0; i < 250 && recorded(event, text) < count; i++) {
        proc_sleep_ms(20);
    }
    ck_assert_uint_eq(recorded(event, text), count);
}

/* ---- The daemon itself ---- */

START_TEST(test_asked)
{
    json_t *json;
    begin("asked");

    json = ctl_json("status", NULL, NULL);
    ck_assert(json_is_string(json_object_get(json, "version")));
    json_decref(json);
    json = ctl_json("sessions", NULL, NULL);
    ck_assert_uint_eq(json_array_size(json), 0);
    json_decref(json);
    ck_assert_int_eq(lab_ctl_status(&lab, "log-level", "loud", NULL), 65);
    ck_assert_int_eq(lab_ctl_status(&lab, "status", "now", NULL), 64);
    free(lab_ctl(&lab, "log-level", "error", NULL));
    expect_recorded("log-level-set", "error", 1);
    json = ctl_json("hsm", "retry", NULL); /* it is up */
    ck_assert(json_is_false(json_object_get(json, "tried")));
    ck_assert_str_eq(json_string_value(json_object_get(json, "up_and_left_alone")), "hsm");
    json_decref(json);
    ck_assert_int_eq(lab_ctl_status(&lab, "hsm", "retry", "hsm-9", NULL), 66);
    end();
}
END_TEST

START_TEST(test_reload)
{
    json_t *json;
    begin("reload");

    lab_set(&lab, "limits", "connections", "77");
    lab_set(&lab, "hsm", "workers", "2"); /* needs a restart */
    json = ctl_json("reload", NULL, NULL);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(json, "needs_restart")), "workers"));
    json_decref(json);
    lab_set(&lab, "certificates", "root", "/nowhere");
    ck_assert_int_eq(lab_ctl_status(&lab, "reload", NULL), 66); /* and all is as it was */
    lab_set(&lab, "hsm", "workers", "1");
    end();
}
END_TEST

START_TEST(test_drain)
{
    int status;
    begin("drain");

    free(lab_ctl(&lab, "drain", NULL));
    status = proc_wait(&lab.daemon, 30);
    ck_assert_int_eq(status, 0);
    ck_assert_int_ne(access(sock, F_OK), 0);
    ck_assert_int_eq(lab_ctl_status(&lab, "status", NULL), 69);
    free(lab_ctl(&lab, "terminal", "list", NULL)); /* without a daemon: on the store itself */
    lab_start(&lab);
    end();
}
END_TEST

/* The same through the daemon as without it. */
START_TEST(test_commands)
{
    json_t *json;
    char serial[16];
    char *text;
    begin("commands");

    for (int i = 0; i < 3; i++) {
        snprintf(serial, sizeof serial, "C%d", i);
        free(lab_ctl(&lab, "terminal", "add", serial, NULL));
    }
    ck_assert_int_eq(lab_ctl_status(&lab, "terminal", "add", "C1", NULL), 73);
    ck_assert_int_eq(lab_ctl_status(&lab, "terminal", "arm", "C1", "NONE", NULL), 66);
    free(lab_ctl(&lab, "terminal", "arm", "C1", "C2", "--attempts", "7", NULL));
    json = ctl_json("terminal", "show", "C2");
    ck_assert_str_eq(json_string_value(json_object_get(json, "state")), "armed");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "attempts_left")), 7);
    json_decref(json);
    ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    json = ctl_json("terminal", "show", "T1");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "tmks")), 1);
    json_decref(json);
    text = lab_ctl(&lab, "terminal", "arm-all", "--json", NULL);
    ck_assert_ptr_nonnull(strstr(text, "2")); /* C0, T1 */
    free(text);
    free(lab_ctl(&lab, "tmk", "revoke", "T1", "--reason", "test", NULL));
    free(lab_ctl(&lab, "report", "unique", NULL));
    free(lab_ctl(&lab, "tmk", "waiting", NULL));
    end();
}
END_TEST

/* Many pages, and none of them lost or twice. */
START_TEST(test_pages)
{
    char csv[PATH_MAX];
    json_t *json;
    FILE *file;
    begin("pages");

    file = fopen(file_path(csv, lab.run, "in.csv"), "we");
    ck_assert_ptr_nonnull(file);
    fputs("serial,algorithm,pinpad\n", file);
    for (int i = 0; i < 1234; i++) {
        fprintf(file, "S%05d,aes128,\n", i);
    }
    ck_assert_int_eq(fclose(file), 0);
    free(lab_ctl(&lab, "terminal", "import", csv, NULL));
    json = ctl_json("terminal", "list", NULL);
    ck_assert_uint_eq(json_array_size(json), 1235);
    for (size_t i = 0; i + 1 < json_array_size(json); i++) {
        ck_assert_str_lt(json_string_value(json_object_get(json_array_get(json, i), "serial")),
                         json_string_value(json_object_get(json_array_get(json, i + 1), "serial")));
    }
    json_decref(json);
    free(lab_ctl(&lab, "terminal", "arm-all", "--algorithm", "aes128", "--prefix", "S0001", NULL));
    expect_recorded("terminal-armed", NULL, 1 + 10);
    json = ctl_json("audit", "list", "--last=450");
    ck_assert_uint_eq(json_array_size(json), 450);
    json_decref(json);
    end();
}
END_TEST

/* ---- Who ---- */

START_TEST(test_roles)
{
    static const char arm[] = "{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\"]}}\n",
                      list[] = "{\"do\":\"terminal-list\",\"params\":{}}\n",
                      drain[] = "{\"do\":\"drain\",\"params\":{}}\n";
    if (geteuid() != 0) {
        return;
    }
    begin("roles");

    ck_assert_str_eq(control_rc(control_ask(sock, &alice, arm)), "ok");
    ck_assert_str_eq(control_rc(control_ask(sock, &bob, arm)), "ok");
    expect_recorded("terminal-armed", "(7001)", 1);
    expect_recorded("terminal-armed", "(7002)", 1);
    ck_assert_str_eq(control_rc(control_ask(sock, &audrey, STATUS)), "ok");
    ck_assert_str_eq(control_rc(control_ask(sock, &audrey, list)), "ok");
    ck_assert_str_eq(control_rc(control_ask(sock, &audrey, arm)), "permission");
    ck_assert_str_eq(control_rc(control_ask(sock, &audrey, drain)), "permission");
    expect_recorded("control-refused", "(7003)", 2);
    /* The file system lets her not even connect; and if it did, the daemon would not serve her. */
    if (!no_access_lists()) {
        ck_assert_str_eq(control_rc(control_ask(sock, &mallory, STATUS)), "none");
    }
    ck_assert_int_eq(chmod(sock, 0666), 0);
    ck_assert_str_eq(control_rc(control_ask(sock, &mallory, STATUS)), "permission");
    for (int i = 0; i < 40; i++) {
        ck_assert_str_eq(control_rc(control_ask(sock, &mallory, STATUS)), "permission");
    }
    ck_assert_uint_le(recorded("control-refused", NULL), 20); /* within a budget */
    end();
}
END_TEST

/* ---- Hostile peers ---- */

static const struct {
    const char *line, *rc;
} bad_lines[] = {
    {"\n", "bad-input"},
    {"status\n", "bad-input"},
    {"\xff\xfe\x80\n", "bad-input"},
    {"[]\n", "bad-input"},
    {"{}\n", "bad-input"},
    {"{\"do\":\"status\"}\n", "bad-input"},
    {"{\"do\":1,\"params\":{}}\n", "bad-input"},
    {"{\"do\":\"status\",\"params\":[]}\n", "bad-input"},
    {"{\"do\":\"status\",\"params\":{},\"uid\":0}\n", "bad-input"},
    {"{\"do\":\"status\",\"do\":\"drain\",\"params\":{}}\n", "bad-input"},
    {"{\"do\":\"status\",\"params\":{\"x\":1}}\n", "bad-input"},
    {"{\"do\":\"nothing\",\"params\":{}}\n", "bad-input"},
    {"{\"do\":\"status\",\"params\":{}} x\n", "bad-input"},
    {"{\"do\":\"stat\\u0000us\",\"params\":{}}\n", "bad-input"},
    {"[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":\"T1\"}}\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[]}}\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\",7]}}\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\"],\"attempts\":\"3\"}}\n",
     "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\"],\"attempts\":3.5}}\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\"],\"attempts\":101}}\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\"],\"for\":59}}\n", "bad-input"},
    {"{\"do\":\"terminal-arm\",\"params\":{\"serials\":[\"T1\"],\"until\":1}}\n", "bad-input"},
    {"{\"do\":\"terminal-show\",\"params\":{\"serial\":\"T1'; DROP TABLE tmk; --\"}}\n",
     "bad-input"},
    {"{\"do\":\"terminal-show\",\"params\":{}}\n", "bad-input"},
    {"{\"do\":\"request-approve\",\"params\":{\"id\":0}}\n", "bad-input"},
    {"{\"do\":\"request-approve\",\"params\":{\"id\":9}}\n", "not-found"},
};

START_TEST(test_bad_lines)
{
    begin("lines");

    for (size_t i = 0; i < sizeof bad_lines / sizeof bad_lines[0]; i++) {
        const char *rc = control_rc(control_ask(sock, NULL, bad_lines[i].line));

        ck_assert_msg(strcmp(rc, bad_lines[i].rc) == 0, "%s: %s", bad_lines[i].line, rc);
    }
    end();
}
END_TEST

START_TEST(test_huge)
{
    size_t len = 3 * KL_CONTROL_LINE_MAX;
    char *huge = malloc(len + 1);
    int fd;
    begin("huge");

    ck_assert_ptr_nonnull(huge);
    memset(huge, 'x', len);
    huge[len] = '\0';
    control_say(fd = control_dial(sock), huge); /* no end of a line in sight */
    ck_assert(control_closes(fd, 5));
    close(fd);
    memset(huge, '[', KL_CONTROL_LINE_MAX - 1);
    huge[KL_CONTROL_LINE_MAX - 1] = '\n';
    huge[KL_CONTROL_LINE_MAX] = '\0';
    ck_assert_str_eq(control_rc(control_ask(sock, NULL, huge)), "bad-input");
    free(huge);
    end();
}
END_TEST

/* A peer that says half a line, one that says nothing more, one that never reads. */
START_TEST(test_slow)
{
    int half, byte, deaf, gone;
    begin("slow");

    control_say(half = control_dial(sock), "{\"do\":");
    byte = control_dial(sock);
    deaf = control_dial(sock);
    for (int i = 0; i < 5000; i++) {
        if (send(deaf, STATUS, strlen(STATUS), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    gone = control_dial(sock);
    control_say(gone, STATUS);
    close(gone);
    for (int i = 0; i < 8; i++) {
        (void)(send(byte, "{", 1, MSG_NOSIGNAL) == 1);
        proc_sleep_ms(700);
        free(lab_ctl(&lab, "terminal", "arm", "T1", NULL));
        ck_assert_int_eq(lab_load(&lab, "T1", lab.port), 0);
    }
    ck_assert_msg(control_closes(half, 3), "half a line is waited for for ever");
    ck_assert_msg(control_closes(byte, 3), "a byte now and then is enough");
    ck_assert_str_eq(control_rc(control_ask(sock, NULL, STATUS)), "ok");
    close(half);
    close(byte);
    close(deaf);
    end();
}
END_TEST

/* Who has closed its side is answered still. */
START_TEST(test_half_closed)
{
    int fd;
    begin("half-closed");

    fd = control_dial(sock);
    control_say(fd, STATUS STATUS);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    ck_assert_str_eq(control_rc(control_hear(fd)), "ok");
    ck_assert_str_eq(control_rc(control_hear(fd)), "ok");
    ck_assert(control_closes(fd, 5));
    close(fd);
    fd = control_dial(sock);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    ck_assert(control_closes(fd, 5));
    close(fd);
    end();
}
END_TEST

/* More connections of one user than it may have; those of others are not its business. */
START_TEST(test_crowd)
{
    int fds[KL_CONTROL_PEERS_USER + 1];
    begin("crowd");

    for (int i = 0; i < KL_CONTROL_PEERS_USER; i++) {
        fds[i] = control_dial(sock);
        control_say(fds[i], STATUS);
        ck_assert_str_eq(control_rc(control_hear(fds[i])), "ok");
    }
    fds[KL_CONTROL_PEERS_USER] = control_dial(sock);
    ck_assert_str_eq(control_rc(control_hear(fds[KL_CONTROL_PEERS_USER])), "busy");
    if (geteuid() == 0) {
        ck_assert_str_eq(control_rc(control_ask(sock, &alice, STATUS)), "ok");
    }
    for (int i = 0; i <= KL_CONTROL_PEERS_USER; i++) {
        close(fds[i]);
    }
    proc_sleep_ms(200);
    end();
}
END_TEST

/* ---- The file ---- */

START_TEST(test_socket_file)
{
    struct stat st;
    char dir[CONTROL_PATH];
    begin("file");

    ck_assert_int_eq(lstat(sock, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_int_eq(st.st_mode & 07007 & (no_access_lists() ? 0 : 07007), 0);
    if (geteuid() == 0) {
        ck_assert_uint_eq(st.st_gid, OPERATORS);
    }
    lab_kill(&lab); /* it stays behind, and makes way */
    ck_assert_int_eq(access(sock, F_OK), 0);
    lab_start(&lab);
    ck_assert_str_eq(control_rc(control_ask(sock, NULL, STATUS)), "ok");
    lab_stop(&lab);

    file_write(sock, "mine", 4, 0600); /* no socket */
    ck_assert_int_eq(lab_start_fails(&lab), 73);
    ck_assert_int_eq(unlink(sock), 0);
    snprintf(dir, sizeof dir, "%s", sock);
    *strrchr(dir, '/') = '\0';
    ck_assert_int_eq(chmod(dir, 0777), 0); /* others could put theirs there */
    ck_assert_int_eq(lab_start_fails(&lab), 77);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    lab_set(&lab, "control", "operators", "no-such-group-here");
    ck_assert_int_eq(lab_start_fails(&lab), 78);
    lab_set(&lab, "control", "operators", "");
    lab_start(&lab);
    end();
}
END_TEST

/* A configuration that has been broken since the start does not keep operators from the daemon. */
START_TEST(test_without_configuration)
{
    char *text;

    begin("broken");
    free(lab_ctl(&lab, "status", NULL));
    lab_set(&lab, "limits", "connections", "many");
    lab_ctl_ends(&lab, 78, "many", "status", NULL);
    text = lab_ctl(&lab, "--json", "status", "--control", sock, NULL);
    ck_assert_ptr_nonnull(strstr(text, "uptime"));
    free(text);
    free(lab_ctl(&lab, "--control", sock, "request", "list", NULL));
    lab_ctl_ends(&lab, 78, "many", "reload", "--control", sock, NULL); /* by the daemon */
    lab_ctl_ends(&lab, 64, "--control", "terminal", "list", "--control", sock, NULL);
    lab_ctl_ends(&lab, 64, "--control", "status", "--control=", NULL);
    lab_ctl_ends(&lab, 64, "--control", "status", "--hsm", "2", "--control", sock, NULL);
    lab_ctl_ends(&lab, 69, "no daemon listens", "status", "--control", "/nowhere", NULL);
    lab_ctl_ends(&lab, 69, "no daemon listens", "request", "list", "--control", "/nowhere", NULL);
    lab_set(&lab, "limits", "connections", "64");
    end();
}
END_TEST

/* A live daemon's socket is never taken away. */
START_TEST(test_live_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    lab_begin(&lab, "live");
    control_begin(&lab, sock);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", sock);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)(const void *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(lab_start_fails(&lab), 75);
    ck_assert_int_eq(access(sock, F_OK), 0);
    close(fd);
    control_end(sock);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tcase = tcase_create("control");

    tcase_add_unchecked_fixture(tcase, found, abandon);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, test_asked);
    tcase_add_test(tcase, test_reload);
    tcase_add_test(tcase, test_drain);
    tcase_add_test(tcase, test_commands);
    tcase_add_test(tcase, test_pages);
    tcase_add_test(tcase, test_roles);
    tcase_add_test(tcase, test_bad_lines);
    tcase_add_test(tcase, test_huge);
    tcase_add_test(tcase, test_slow);
    tcase_add_test(tcase, test_half_closed);
    tcase_add_test(tcase, test_crowd);
    tcase_add_test(tcase, test_socket_file);
    tcase_add_test(tcase, test_without_configuration);
    tcase_add_test(tcase, test_live_socket);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
