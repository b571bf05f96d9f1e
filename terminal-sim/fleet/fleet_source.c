/* SPDX-License-Identifier: BSD-2-Clause */
/* Source addresses: a range of the loopback net, or the addresses of interfaces in a net. */
#include "terminal-sim/fleet/fleet_source.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/cli.h"

#define LOOPBACK_BITS 8
#define TEXT_MAX 24

struct net { /* host byte order */
    uint32_t first, last;
    unsigned bits;
};

static enum kl_rc parse_net(const char *text, struct net *out, struct kl_err *err)
{
    char copy[TEXT_MAX], *slash;
    struct in_addr address;
    uint64_t bits = 32;
    uint32_t host;

    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy)) {
        goto malformed;
    }
    slash = strchr(copy, '/');
    if (slash) {
        *slash = '\0';
    }
    if (inet_pton(AF_INET, copy, &address) != 1 ||
        (slash && kl_parse_number(slash + 1, LOOPBACK_BITS, 32, &bits, err))) {
        goto malformed;
    }
    host = bits == 32 ? 0 : UINT32_MAX >> bits;
    out->first = ntohl(address.s_addr) & ~host;
    out->last = out->first | host;
    out->bits = (unsigned)bits;
    return KL_OK;

malformed:
    return kl_err_set(err, KL_ERR_INPUT, "'%.40s' is no IPv4 address or net like 127.0.0.0/8",
                      text);
}

static int is_loopback(uint32_t address)
{
    return address >> (32 - LOOPBACK_BITS) == 127;
}

/* The addresses of interfaces within the net. */
static enum kl_rc list_own(const struct net *net, struct kl_fleet_source *out, struct kl_err *err)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) != 0) {
        return kl_err_errno(err, "getifaddrs", "the addresses of this host");
    }
    out->list = calloc(KL_FLEET_SOURCES_MAX, sizeof(*out->list));
    for (const struct ifaddrs *at = all; out->list && at && out->listed < KL_FLEET_SOURCES_MAX;
         at = at->ifa_next) {
        uint32_t address;

        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET) {
            continue;
        }
        address = ntohl(((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr.s_addr);
        if (address >= net->first && address <= net->last && !is_loopback(address)) {
            out->list[out->listed++] = address;
        }
    }
    freeifaddrs(all);
    return out->list ? KL_OK : kl_err_set(err, KL_ERR_MEMORY, "no memory for addresses");
}

enum kl_rc kl_fleet_source_parse(const char *text, const struct sockaddr *to,
                                 struct kl_fleet_source *out, struct kl_err *err)
{
    struct kl_fleet_source source = {0};
    struct net net = {0};
    enum kl_rc rc = parse_net(text, &net, err);

    if (rc) {
        return rc;
    }
    if (to->sa_family != AF_INET) {
        return kl_err_set(err, KL_ERR_INPUT, "%s is IPv4, and the loader's address is not", text);
    }
    if (is_loopback(net.first)) {
        if (!is_loopback(ntohl(((const struct sockaddr_in *)(const void *)to)->sin_addr.s_addr))) {
            return kl_err_set(err, KL_ERR_INPUT, "%s reaches only loaders on loopback", text);
        }
        /* Neither the net's own address nor its broadcast address. */
        source.first = net.bits == 32 ? net.first : net.first + 1;
        source.count = net.bits >= 31 ? net.last - source.first + 1 : net.last - source.first;
        *out = source;
        return KL_OK;
    }
    rc = list_own(&net, &source, err);
    if (!rc && source.listed == 0) {
        rc = kl_err_set(err, KL_ERR_INPUT,
                        "this host has no address in %s; see `ip -4 address`, or give one of its "
                        "own",
                        text);
    }
    if (rc) {
        kl_fleet_source_wipe(&source);
    } else {
        *out = source;
    }
    return rc;
}

void kl_fleet_source_wipe(struct kl_fleet_source *source)
{
    free(source->list);
    memset(source, 0, sizeof(*source));
}

int kl_fleet_source_pick(const struct kl_fleet_source *source, uint64_t index,
                         struct sockaddr_in *out)
{
    uint32_t address;

    if (source->count) {
        address = source->first + (uint32_t)(index % source->count);
    } else if (source->list) {
        address = source->list[index % source->listed];
    } else {
        return 0;
    }
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    return 1;
}
