/* SPDX-License-Identifier: BSD-2-Clause */
/* The status page, embedded by the Makefile, and its policy. */
#include "daemon/monitor/status_page.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "proto/digest.h"

const char kl_status_page[] = {
#include "status_page.inc"
};
const size_t kl_status_page_len = sizeof(kl_status_page);

#define SHA256_LEN 32
#define BASE64_LEN (4 * ((SHA256_LEN + 2) / 3) + 1)

/* The hash of what stands between two tags, as CSP writes it. */
static enum kl_rc hash_between(const char *open, const char *close, char out[BASE64_LEN],
                               struct kl_err *err)
{
    const char *end = kl_status_page + kl_status_page_len;
    const char *from = memmem(kl_status_page, kl_status_page_len, open, strlen(open)), *to;
    uint8_t digest[SHA256_LEN];

    if (from == NULL || (to = memmem(from, (size_t)(end - from), close, strlen(close))) == NULL) {
        return kl_err_set(err, KL_ERR_INTERNAL, "the status page has no %s", open);
    }
    from += strlen(open);
    if (kl_digest_of("SHA256", from, (size_t)(to - from), digest, NULL, err) != KL_OK) {
        return err->rc;
    }
    EVP_EncodeBlock((unsigned char *)out, digest, SHA256_LEN);
    return KL_OK;
}

enum kl_rc kl_status_page_policy(char out[KL_STATUS_PAGE_POLICY_MAX], struct kl_err *err)
{
    char script[BASE64_LEN], style[BASE64_LEN];

    if (hash_between("<script>", "</script>", script, err) != KL_OK ||
        hash_between("<style>", "</style>", style, err) != KL_OK) {
        return err->rc;
    }
    snprintf(out, KL_STATUS_PAGE_POLICY_MAX,
             "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src "
             "'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script, style);
    return KL_OK;
}
