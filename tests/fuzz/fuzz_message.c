/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever decodes must encode to the same bytes. Only Error.text is cleaned on the way in: there
 * the cleaned message must survive another round unchanged.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cleaned(const struct kl_error_msg *error, const uint8_t *der, size_t len)
{
    struct kl_err err = KL_ERR_INIT;
    struct kl_msg back;

    if (kl_msg_decode(der, len, &back, &err) != KL_OK || back.type != KL_MSG_ERROR ||
        back.u.error.code != error->code || back.u.error.retry_after != error->retry_after ||
        strcmp(back.u.error.text, error->text) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_err err = KL_ERR_INIT;
    uint8_t again[KL_MSG_MAX];
    struct kl_msg msg;
    size_t len = 0;

    if (kl_msg_decode(data, size, &msg, &err) != KL_OK) {
        if ((err.rc != KL_ERR_PROTOCOL && err.rc != KL_ERR_MEMORY) || err.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (kl_msg_encode(&msg, again, &len, &err) != KL_OK) {
        abort();
    }
    if (msg.type == KL_MSG_ERROR) {
        check_cleaned(&msg.u.error, again, len);
    } else if (len != size || memcmp(again, data, len) != 0) {
        abort();
    }
    return 0;
}
