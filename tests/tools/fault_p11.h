/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PKCS#11 module that passes every call on to another one, unless its rules say otherwise: what
 * an HSM does when it is ill, for tests and for QA. docs/fault-injection.md shows its use.
 *
 *   KL_FAULT_MODULE=PATH   the real module
 *   KL_FAULT_RULES=PATH    the rules; read again whenever the file changes, also in a process that
 *                          has it loaded already. No file: no rules
 *   KL_FAULT_LOG=PATH      a line "C_Sign 0x0" is appended for each call that `log` is asked for,
 *                          and "C_Sign begins" before one that is made to wait
 *   KL_FAULT_COUNT=PATH    calls are counted there, over all processes; without it each counts
 *                          its own
 *
 * Two HSMs of one daemon are two sections with different init-reserved, which this module reads:
 * "rules=PATH softhsm2=PATH", each of which may be left out: rules instead of KL_FAULT_RULES, and
 * SOFTHSM2_CONF for the real module. The paths have no spaces. What follows them is passed on.
 *
 * A rule is a line of three words; '#' begins a comment. The first that applies counts (`log` does
 * not end the search).
 *
 *   FUNCTION  C_Sign or another of the PKCS#11 v2.40 functions, or * for all
 *   WHEN      always, nth:N (the Nth call of FUNCTION), from:N, every:N, chance:PERCENT
 *   WHAT      rv:CKR_DEVICE_ERROR, rv:0x30   returns that, and does nothing
 *             delay:MS, delay:MS-MS          waits so long (or some time between), then goes on
 *             hang                           never returns
 *             crash                          the process dies of SIGSEGV
 *             absent                         the token is not there: no slot has one, sessions are
 *                                            gone (CKR_DEVICE_REMOVED); only with *
 *             lost                           C_CloseAllSessions behind the caller's back, which
 *                                            logs out, then goes on
 *             log                            writes to KL_FAULT_LOG
 *
 * A file that is no such rules ends the process, with a line on stderr that says which and why: a
 * test with a wrong rule must not pass.
 */
#ifndef KL_TESTS_TOOLS_FAULT_P11_H
#define KL_TESTS_TOOLS_FAULT_P11_H

#define FAULT_RULES_MAX 64

#endif
