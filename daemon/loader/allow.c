/* SPDX-License-Identifier: BSD-2-Clause */
/* Networks: parsed strictly, compared bit by bit. */
#include "daemon/loader/allow.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "conf/cli.h"

#define NET_TEXT (INET6_ADDRSTRLEN + 8)

static void map(const void *v4, uint8_t out[16])
{
    memset(out, 0, 16);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, v4, 4);
}

void kl_allow_address(const struct sockaddr *peer, uint8_t out[16])
{
    if (peer->sa_family == AF_INET) {
        map(&((const struct sockaddr_in *)(const void *)peer)->sin_addr, out);
        return;
    }
    memcpy(out, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
}

static int starts_with(const uint8_t *address, const uint8_t *net, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    uint8_t mask = (uint8_t)(0xff00 >> rest);

    return memcmp(address, net, whole) == 0 &&
           (rest == 0 || ((address[whole] ^ net[whole]) & mask) == 0);
}

int kl_allow_has(const struct kl_allow *allow, const struct sockaddr *peer)
{
    uint8_t address[16];

    kl_allow_address(peer, address);
    for (size_t i = 0; i < allow->count; i++) {
        if (starts_with(address, allow->net[i].address, allow->net[i].bits)) {
            return 1;
        }
    }
    return allow->count == 0;
}

/* Nothing of the address beyond the network: 10.1.2.3/8 is a mistake, of one kind or another. */
static int ends_with_zeros(const uint8_t *address, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++) {
        if (address[i / 8] & (0x80 >> i % 8)) {
            return 0;
        }
    }
    return 1;
}

static enum kl_rc parse_one(char *text, uint8_t address[16], unsigned *bits, struct kl_err *err)
{
    char *slash = strchr(text, '/');
    struct in_addr v4;
    uint64_t number, max = 128;

    if (slash != NULL) {
        *slash = '\0';
    }
    if (inet_pton(AF_INET, text, &v4) == 1) {
        map(&v4, address);
        max = 32;
    } else if (inet_pton(AF_INET6, text, address) != 1) {
        return kl_err_set(err, KL_ERR_CONFIG, "'%s' is no numeric address", text);
    }
    number = max;
    if (slash != NULL && kl_parse_number(slash + 1, 0, max, &number, err) != KL_OK) {
        err->rc = KL_ERR_CONFIG;
        return kl_err_context(err, "%s/", text);
    }
    *bits = (unsigned)(number + (128 - max));
    if (!ends_with_zeros(address, *bits)) {
        return kl_err_set(err, KL_ERR_CONFIG, "%s/%u has bits set beyond the first %u", text,
                          (unsigned)number, (unsigned)number);
    }
    return KL_OK;
}

enum kl_rc kl_allow_parse(const char *text, struct kl_allow *out, struct kl_err *err)
{
    struct kl_allow allow = {0};
    const char *at = text, *stop;
    char one[NET_TEXT];

    for (; *text != '\0'; at = stop + 1) {
        size_t len;

        at += strspn(at, " \t");
        stop = at + strcspn(at, ",");
        for (len = (size_t)(stop - at); len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t');) {
            len--;
        }
        if (allow.count == KL_ALLOW_MAX) {
            return kl_err_set(err, KL_ERR_CONFIG, "there are more than %d networks", KL_ALLOW_MAX);
        }
        if (snprintf(one, sizeof(one), "%.*s", (int)len, at) >= (int)sizeof(one)) {
            return kl_err_set(err, KL_ERR_CONFIG, "'%s...' is no network", one);
        }
        if (parse_one(one, allow.net[allow.count].address, &allow.net[allow.count].bits, err) !=
            KL_OK) {
            return err->rc;
        }
        allow.count++;
        if (*stop == '\0') {
            break;
        }
    }
    *out = allow;
    return KL_OK;
}
