/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CK_RV in words and in our terms: one table names every return value of PKCS#11 v2.40 and says
 * what it means, in general and for a call whose input came from a peer.
 */
#include "pkcs11/rv.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* X(return value, what it means, what it means when a peer's bytes were the input). The last column
 * is broad, since modules differ: SoftHSM 2.6 answers CKR_MECHANISM_INVALID when a key that a peer
 * sent has a length that AES does not have. What a token really lacks, the self-test has found. */
#define RV_LIST(X) \
    X(CKR_CANCEL, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_HOST_MEMORY, KL_ERR_MEMORY, KL_ERR_MEMORY) \
    X(CKR_SLOT_ID_INVALID, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_GENERAL_ERROR, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_FUNCTION_FAILED, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_ARGUMENTS_BAD, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_NO_EVENT, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_NEED_TO_CREATE_THREADS, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_CANT_LOCK, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_ATTRIBUTE_READ_ONLY, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_ATTRIBUTE_SENSITIVE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_ATTRIBUTE_TYPE_INVALID, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_ATTRIBUTE_VALUE_INVALID, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_ACTION_PROHIBITED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_DATA_INVALID, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_DATA_LEN_RANGE, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_DEVICE_ERROR, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_DEVICE_MEMORY, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_DEVICE_REMOVED, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_ENCRYPTED_DATA_INVALID, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_ENCRYPTED_DATA_LEN_RANGE, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_FUNCTION_CANCELED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_FUNCTION_NOT_PARALLEL, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_FUNCTION_NOT_SUPPORTED, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_KEY_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_SIZE_RANGE, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_KEY_TYPE_INCONSISTENT, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_KEY_NOT_NEEDED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_CHANGED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_NEEDED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_INDIGESTIBLE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_FUNCTION_NOT_PERMITTED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_NOT_WRAPPABLE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_KEY_UNEXTRACTABLE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_MECHANISM_INVALID, KL_ERR_HSM_LACKS, KL_ERR_VERIFY) \
    X(CKR_MECHANISM_PARAM_INVALID, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_OBJECT_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_OPERATION_ACTIVE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_OPERATION_NOT_INITIALIZED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_PIN_INCORRECT, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_PIN_INVALID, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_PIN_LEN_RANGE, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_PIN_EXPIRED, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_PIN_LOCKED, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_SESSION_CLOSED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_COUNT, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_PARALLEL_NOT_SUPPORTED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_READ_ONLY, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_EXISTS, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_READ_ONLY_EXISTS, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SESSION_READ_WRITE_SO_EXISTS, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SIGNATURE_INVALID, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_SIGNATURE_LEN_RANGE, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_TEMPLATE_INCOMPLETE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_TEMPLATE_INCONSISTENT, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_TOKEN_NOT_PRESENT, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_TOKEN_NOT_RECOGNIZED, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_TOKEN_WRITE_PROTECTED, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_UNWRAPPING_KEY_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_UNWRAPPING_KEY_SIZE_RANGE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_USER_ALREADY_LOGGED_IN, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_USER_NOT_LOGGED_IN, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_USER_PIN_NOT_INITIALIZED, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_USER_TYPE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, KL_ERR_TOKEN, KL_ERR_TOKEN) \
    X(CKR_USER_TOO_MANY_TYPES, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_WRAPPED_KEY_INVALID, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_WRAPPED_KEY_LEN_RANGE, KL_ERR_VERIFY, KL_ERR_VERIFY) \
    X(CKR_WRAPPING_KEY_HANDLE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_WRAPPING_KEY_SIZE_RANGE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_RANDOM_SEED_NOT_SUPPORTED, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_RANDOM_NO_RNG, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_DOMAIN_PARAMS_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_CURVE_NOT_SUPPORTED, KL_ERR_HSM_LACKS, KL_ERR_HSM_LACKS) \
    X(CKR_BUFFER_TOO_SMALL, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_SAVED_STATE_INVALID, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_INFORMATION_SENSITIVE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_STATE_UNSAVEABLE, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_CRYPTOKI_NOT_INITIALIZED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_CRYPTOKI_ALREADY_INITIALIZED, KL_ERR_MODULE, KL_ERR_MODULE) \
    X(CKR_MUTEX_BAD, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_MUTEX_NOT_LOCKED, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_NEW_PIN_MODE, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_NEXT_OTP, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_EXCEEDED_MAX_ITERATIONS, KL_ERR_HSM, KL_ERR_HSM) \
    X(CKR_FIPS_SELF_TEST_FAILED, KL_ERR_MODULE, KL_ERR_MODULE) \
    X(CKR_LIBRARY_LOAD_FAILED, KL_ERR_MODULE, KL_ERR_MODULE) \
    X(CKR_PIN_TOO_WEAK, KL_ERR_PIN, KL_ERR_PIN) \
    X(CKR_PUBLIC_KEY_INVALID, KL_ERR_HSM, KL_ERR_VERIFY) \
    X(CKR_FUNCTION_REJECTED, KL_ERR_HSM, KL_ERR_HSM)

static const struct rv_entry {
    CK_RV rv;
    enum kl_rc rc;
    enum kl_rc peer_rc;
    const char *name;
} rv_table[] = {
#define RV_ENTRY(rv, rc, peer_rc) {rv, rc, peer_rc, #rv},
    RV_LIST(RV_ENTRY)
#undef RV_ENTRY
};

static const struct rv_entry *rv_find(CK_RV rv)
{
    static const struct rv_entry unknown = {CKR_VENDOR_DEFINED, KL_ERR_HSM, KL_ERR_HSM, "CKR_?"};

    for (size_t i = 0; i < sizeof(rv_table) / sizeof(rv_table[0]); i++) {
        if (rv_table[i].rv == rv) {
            return &rv_table[i];
        }
    }
    return &unknown;
}

__attribute__((format(printf, 5, 0))) static enum kl_rc fill(struct kl_err *err, enum kl_rc rc,
                                                             CK_RV rv, const char *op,
                                                             const char *fmt, va_list args)
{
    char what[sizeof(err->text)];

    if (vsnprintf(what, sizeof(what), fmt, args) < 0) {
        what[0] = '\0';
    }
    return kl_err_native(err, rc, KL_ERR_SOURCE_PKCS11, rv, op, "%s: %s: %s (0x%lx)", what, op,
                         rv_find(rv)->name, rv);
}

enum kl_rc kl_rv_err(struct kl_err *err, CK_RV rv, const char *op, const char *fmt, ...)
{
    va_list args;
    enum kl_rc rc;

    va_start(args, fmt);
    rc = fill(err, rv_find(rv)->rc, rv, op, fmt, args);
    va_end(args);
    return rc;
}

enum kl_rc kl_rv_err_peer(struct kl_err *err, CK_RV rv, const char *op, const char *fmt, ...)
{
    va_list args;
    enum kl_rc rc;

    va_start(args, fmt);
    rc = fill(err, rv_find(rv)->peer_rc, rv, op, fmt, args);
    va_end(args);
    return rc;
}

int kl_rv_is_loss(unsigned long rv)
{
    switch (rv) {
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
        return 1;
    default:
        return 0;
    }
}

int kl_rc_is_hsm_trouble(enum kl_rc rc)
{
    switch (rc) {
    case KL_ERR_HSM:
    case KL_ERR_HSM_LACKS:
    case KL_ERR_TOKEN:
    case KL_ERR_MODULE:
    case KL_ERR_KEY:
    case KL_ERR_PIN:
        return 1;
    default:
        return 0;
    }
}
