/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyloaderd.conf, the whole of it: loaded or refused with a text that names the file. What was
 * loaded is within the bounds that the rest of the daemon takes for granted.
 */
#include <string.h>

#include "daemon/config.h"
#include "daemon/monitor/monitor_where.h"
#include "pkcs11/uri.h"
#include "proto/message.h"
#include "tests/fuzz/input.h"

static void check_hsms(const struct kl_config *config)
{
    size_t count = kl_config_hsm_count(config);

    require(count >= 1 && count <= KL_HSM_MAX && kl_config_workers(config) >= count);
    for (size_t i = 0; i < count; i++) {
        struct kl_hsm_where where = kl_config_hsm(config, i);
        struct kl_err err = KL_ERR_INIT;
        struct kl_uri *uri = NULL;

        require(where.token[0] != '\0' && kl_uri_parse(where.token, &uri, &err) == KL_OK);
        kl_uri_free(uri);
        require(config->hsm[i].workers >= 1 && config->hsm[i].workers <= 64);
    }
}

static void check(const struct kl_config *config)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_monitor_where where;

    check_hsms(config);
    require(config->port <= 65535 && config->kcv_length >= 3 && config->kcv_length <= 4);
    require(config->suites.count >= 1 && config->job_timeout >= 1 && config->idle_timeout >= 1);
    require(config->message_size >= 1024 && config->message_size <= KL_MSG_MAX);
    require(config->handshake_timeout >= 1 && config->queue >= 1 && config->connections >= 1);
    require(config->root[0] == '/' && config->work[0] == '/' && config->store[0] == '/');
    require(config->terminal_auth != KL_TERMINAL_CERTIFICATE || config->terminal_root[0] == '/');
    require(config->allow.count <= KL_ALLOW_MAX);
    require(kl_monitor_parse(config->monitor_listen, &where, &err) == KL_OK);
    if (kl_config_servable(config, &err) != KL_OK) {
        fuzz_failed_well(err.rc, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    struct kl_err err = KL_ERR_INIT;
    const struct kl_config *config = NULL, *again = NULL;
    struct kl_config_kept kept = {0};

    if (kl_config_new(path, &config, &err) != KL_OK) {
        require(err.rc == KL_ERR_CONFIG && strncmp(err.text, path, strlen(path)) == 0);
        fuzz_failed_well(err.rc, &err);
        return 0;
    }
    check(config);
    /* Nothing in the file has changed. */
    require(kl_config_again(path, config, &again, &kept, &err) == KL_OK && kept.count == 0);
    kl_config_unref(again);
    kl_config_unref(config);
    return 0;
}
