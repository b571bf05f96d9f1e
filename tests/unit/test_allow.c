/* SPDX-License-Identifier: BSD-2-Clause */
/* Networks that may connect: what parses, what does not, and who is in. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <string.h>

#include "daemon/loader/allow.h"
#include "tests/support/suite.h"

static struct kl_allow allow;
static struct kl_err err;

static int has(const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        return kl_allow_has(&allow, (struct sockaddr *)&v4);
    }
    ck_assert_int_eq(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return kl_allow_has(&allow, (struct sockaddr *)&v6);
}

static const struct {
    const char *nets, *in[4], *out[4];
} rows[] = {
    {"", {"1.2.3.4", "::1"}, {NULL}},
    {"10.0.0.0/8",
     {"10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"},
     {"11.0.0.0", "9.255.255.255", "::a00:1"}},
    {"10.1.2.3", {"10.1.2.3"}, {"10.1.2.2", "10.1.2.4"}},
    {" 192.168.4.0/23 ,\t10.0.0.1/32",
     {"192.168.5.255", "10.0.0.1"},
     {"192.168.6.0", "192.168.3.255"}},
    {"0.0.0.0/0", {"1.2.3.4", "::ffff:1.2.3.4"}, {"::1", "fd00::1"}},
    {"::/0", {"1.2.3.4", "fd00::1"}, {NULL}},
    {"fd00:1:2::/48, 172.16.0.0/12",
     {"fd00:1:2:ffff::1", "172.31.255.255"},
     {"fd00:1:3::1", "172.32.0.0"}},
    {"fd00::1", {"fd00::1"}, {"fd00::2"}},
    {"fe80::/10", {"fe80::1", "febf::1"}, {"fec0::1", "fe7f::1"}},
    {"::ffff:10.0.0.0/104", {"10.9.9.9"}, {"11.0.0.1"}},
};

START_TEST(members)
{
    ck_assert_msg(kl_allow_parse(rows[_i].nets, &allow, &err) == KL_OK, "%s", err.text);
    for (int i = 0; i < 4 && rows[_i].in[i] != NULL; i++) {
        ck_assert_msg(has(rows[_i].in[i]), "%s must be in %s", rows[_i].in[i], rows[_i].nets);
    }
    for (int i = 0; i < 4 && rows[_i].out[i] != NULL; i++) {
        ck_assert_msg(!has(rows[_i].out[i]), "%s must not be in %s", rows[_i].out[i],
                      rows[_i].nets);
    }
}
END_TEST

static const struct {
    const char *nets, *says;
} faults[] = {
    {"10.0.0.0/33", "0 to 32"},
    {"fd00::/129", "0 to 128"},
    {"10.0.0.0/", "0 to 32"},
    {"10.0.0.0/+8", "0 to 32"},
    {"10.0.0.0/8/8", "0 to 32"},
    {"10.0.0.1/8", "beyond the first 8"},
    {"fd00::1/64", "beyond the first 64"},
    {"10.0.0/8", "no numeric address"},
    {"10.0.0.0/8,", "no numeric address"},
    {",", "no numeric address"},
    {" ", "no numeric address"},
    {"10.0.0.0/8 10.1.0.0/16", "0 to 32"},
    {"localhost", "no numeric address"},
    {"fe80::1%eth0", "no numeric address"},
    {"0123456789012345678901234567890123456789012345678901234567890123456789", "is no network"},
};

START_TEST(fault)
{
    memset(&allow, 0x5a, sizeof(allow));
    ck_assert_int_eq(kl_allow_parse(faults[_i].nets, &allow, &err), KL_ERR_CONFIG);
    ck_assert_msg(strstr(err.text, faults[_i].says) != NULL, "%s", err.text);
    ck_assert_uint_eq(allow.net[0].address[0], 0x5a);
}
END_TEST

/* KL_ALLOW_MAX networks are taken, one more is not. */
START_TEST(bounded)
{
    char text[(KL_ALLOW_MAX + 1) * 4] = "::1";

    for (int i = 1; i < KL_ALLOW_MAX; i++) {
        strcat(text, ",::1");
    }
    ck_assert_msg(kl_allow_parse(text, &allow, &err) == KL_OK, "%s", err.text);
    ck_assert_uint_eq(allow.count, KL_ALLOW_MAX);
    strcat(text, ",::");
    ck_assert_int_eq(kl_allow_parse(text, &allow, &err), KL_ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "more than 64"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("allow");
    TCase *tcase = tcase_create("allow");

    tcase_add_loop_test(tcase, members, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_loop_test(tcase, fault, 0, (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_test(tcase, bounded);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
