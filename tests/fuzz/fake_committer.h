/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In the place of the store thread (daemon/store/committer.c): units wait until the script has one
 * done, at once or not at all, on a store of this process whose transaction is undone at the end of
 * each input. One thread.
 */
#ifndef KL_TESTS_FUZZ_FAKE_COMMITTER_H
#define KL_TESTS_FUZZ_FAKE_COMMITTER_H

#include "daemon/store/committer.h"

/* The store of this process; begun by begin, as it was before once ended. */
struct kl_store *fake_store_begin(void);
void fake_store_end(void);

/* Does the unit that came first. disk 0: it takes no more, and the unit comes back with KL_ERR_IO.
 * 0: none waits. */
int fake_committer_do(int disk);
/* What may wait is refused from now on (1), or taken again (0). */
void fake_committer_full(int full);

#endif
