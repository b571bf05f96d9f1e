/* SPDX-License-Identifier: BSD-2-Clause */
/* What the unit tests of the pkcs11 room share: checks of calls, and the token of the test. */
#ifndef KL_TESTS_SUPPORT_P11_H
#define KL_TESTS_SUPPORT_P11_H

#include <check.h>
#include <string.h>

#include "pkcs11/binding.h"
#include "pkcs11/loader.h"
#include "tests/support/hsm.h"

/* A call returns that code, or KL_OK; the last failure's text contains `what`. All three look at
 * `err`, the struct kl_err of the file that uses them. */
#define ck_rc(call, expected) \
    do { \
        enum kl_rc rc_ = (call); \
        ck_assert_msg(rc_ == (expected), "%s: %s, not %s: %s", #call, kl_rc_name(rc_), \
                      kl_rc_name(expected), err.text); \
    } while (0)
#define ck_ok(call) ck_rc(call, KL_OK)
#define ck_says(what) \
    ck_assert_msg(strstr(err.text, what) != NULL, "\"%s\" is not in: %s", what, err.text)

/* The test's token, a SoftHSM behind fake_p11.h. The two functions are a checked fixture, or the
 * first and last step of one. */
extern struct test_token hsm;
void p11_open(void);
void p11_close(void);

/* A loader's keys on that token, the work key of so many bits, and the loader that uses them. */
extern const struct kl_loader_config p11_config;
void p11_make_keys(unsigned bits);

/* Its storage key and binding key only. */
void p11_make_store_keys(void);

/* A key under the storage key, with a KCV of 4 bytes, and bound; value NULL: a fresh one. And the
 * binding alone, for who changed something. */
struct kl_stored_key p11_stored_key(enum kl_alg alg, const uint8_t *value,
                                    enum kl_binding_kind kind, const char *serial,
                                    uint32_t version);
void p11_bind(struct kl_stored_key *key, enum kl_binding_kind kind, const char *serial,
              uint32_t version);

/* An object's boolean attribute, and which usage flags a secret key has, as KL_CAN_ bits. */
int p11_flag(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
unsigned p11_uses(CK_OBJECT_HANDLE object);

/* The object can neither be copied nor changed: not what it is called, nor what it may do. */
void p11_check_sealed(CK_OBJECT_HANDLE object);

#endif
