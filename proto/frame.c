/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Framing of messages on a stream.
 */
#include "proto/frame.h"

enum kl_rc kl_frame_length(const uint8_t header[KL_FRAME_HEADER], size_t max, size_t *out,
                           struct kl_err *err)
{
    size_t len = (size_t)header[0] << 8 | header[1];

    if (max > KL_MSG_MAX) {
        max = KL_MSG_MAX;
    }
    if (len == 0) {
        return kl_err_set(err, KL_ERR_PROTOCOL, "frame announces an empty message");
    }
    if (len > max) {
        return kl_err_set(err, KL_ERR_PROTOCOL,
                          "frame announces a message of %zu bytes: at most %zu are accepted", len,
                          max);
    }
    *out = len;
    return KL_OK;
}

void kl_frame_header(size_t len, uint8_t out[KL_FRAME_HEADER])
{
    out[0] = (uint8_t)(len >> 8);
    out[1] = (uint8_t)len;
}

enum kl_rc kl_frame_encode(const struct kl_msg *msg, uint8_t out[KL_FRAME_MAX], size_t *out_len,
                           struct kl_err *err)
{
    enum kl_rc rc;
    size_t len;

    rc = kl_msg_encode(msg, out + KL_FRAME_HEADER, &len, err);
    if (rc != KL_OK) {
        return rc;
    }
    kl_frame_header(len, out);
    *out_len = KL_FRAME_HEADER + len;
    return KL_OK;
}
