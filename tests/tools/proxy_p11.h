/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PKCS#11 proxy of the tests, told what to do by the environment:
 *
 *   KL_PROXY_MODULE=PATH  the real module; everything goes there
 *   KL_PROXY_FIXED=1      generated TMKs and Rnd1 get the values below, so that a test can look
 *                         for them where they must not be; token keys are left alone
 */
#ifndef KL_TESTS_TOOLS_PROXY_P11_H
#define KL_TESTS_TOOLS_PROXY_P11_H

#include <stdint.h>

static const uint8_t proxy_rnd1[32] = {0x9b, 0x1f, 0xd2, 0x47, 0xe8, 0x03, 0x6c, 0xb5,
                                       0x7a, 0xee, 0x31, 0x90, 0xc4, 0x5d, 0x28, 0xf6,
                                       0x11, 0xa7, 0x84, 0x3e, 0xdb, 0x62, 0x0f, 0xc9,
                                       0x95, 0x4a, 0xf3, 0x76, 0x2d, 0xb8, 0xe1, 0x50};
/* Its first 16 bytes are a 2-key TDES TMK or an AES-128 one, 24 and 32 the longer ones; odd parity
 * in every byte, as DES keys have. */
static const uint8_t proxy_tmk[32] = {0xd5, 0x2a, 0x8f, 0x61, 0xb3, 0x1c, 0xe9, 0x46,
                                      0x7f, 0x04, 0xa8, 0xf2, 0x57, 0xcb, 0x31, 0x9e,
                                      0x25, 0xdc, 0x4a, 0x97, 0xe6, 0x0b, 0x73, 0xf8,
                                      0xc1, 0x5e, 0x38, 0xad, 0x92, 0x67, 0xef, 0x10};

#endif
