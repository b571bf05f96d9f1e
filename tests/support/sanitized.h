/* SPDX-License-Identifier: BSD-2-Clause */
/* SANITIZED: 1 in a build with AddressSanitizer or ThreadSanitizer, by gcc or clang; else 0. */
#ifndef KL_TESTS_SUPPORT_SANITIZED_H
#define KL_TESTS_SUPPORT_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
