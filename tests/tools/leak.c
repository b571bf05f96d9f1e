/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What SoftHSM itself leaks: session keys are made and destroyed by nothing but PKCS#11 calls on a
 * scratch token, and memory is looked at meanwhile. docs/reliability.md holds it against what HSM
 * workers grow by.
 *
 *   leak [OBJECTS]     default 50000
 */
#include <err.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "tests/support/hsm.h"

#define STEPS 5

static void make_and_destroy(const struct test_token *token)
{
    CK_MECHANISM mechanism = {.mechanism = CKM_AES_KEY_GEN};
    CK_ULONG len = 32;
    CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_TOKEN, &no, sizeof(no)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},   {CKA_DECRYPT, &no, sizeof(no)},
        {CKA_WRAP, &no, sizeof(no)},        {CKA_UNWRAP, &no, sizeof(no)},
        {CKA_DERIVE, &no, sizeof(no)},      {CKA_SIGN, &no, sizeof(no)},
        {CKA_VERIFY, &no, sizeof(no)},
    };
    CK_OBJECT_HANDLE key;

    if (token->f->C_GenerateKey(token->s, &mechanism, template,
                                sizeof(template) / sizeof(template[0]), &key) != CKR_OK ||
        token->f->C_DestroyObject(token->s, key) != CKR_OK) {
        errx(EX_SOFTWARE, "the token failed");
    }
}

int main(int argc, char **argv)
{
    unsigned long objects = argc > 1 ? strtoul(argv[1], NULL, 10) : 50000;
    unsigned long each = objects / STEPS;
    struct test_token token;
    struct mallinfo2 before, after;

    if (argc > 2 || objects < STEPS) {
        errx(EX_USAGE, "usage: leak [OBJECTS]");
    }
    test_token_open(&token, NULL);
    for (unsigned i = 0; i < 1000; i++) { /* what is taken once */
        make_and_destroy(&token);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        before = mallinfo2();
        for (unsigned long i = 0; i < each; i++) {
            make_and_destroy(&token);
        }
        after = mallinfo2();
        printf("%lu session keys made and destroyed: %.0f bytes each stay allocated\n", each,
               ((double)after.uordblks - (double)before.uordblks) / (double)each);
    }
    test_token_close(&token);
    return 0;
}
