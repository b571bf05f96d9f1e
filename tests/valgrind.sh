#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Unit tests under valgrind's memcheck, with a leak check at the end of each test's process. An error
# or a definite leak is a failed test.
#
#   tests/valgrind.sh BUILD SUITE...     SUITE like uri: BUILD/tests/unit/test_uri
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
shift
command -v valgrind > /dev/null || { echo "valgrind is not installed" >&2 && exit 69; }
logs=$build/tests/log
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kl-valgrind.XXXXXX") || exit 70
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$logs"
export KL_BUILD=$build KL_SUPPORT=$here/support CK_TIMEOUT_MULTIPLIER=30

failed=0
for suite; do
    log=$logs/valgrind-$suite.log
    TMPDIR=$scratch timeout "${KL_SUITE_SECONDS:-900}" valgrind -q --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=99 \
        --suppressions="$here/support/valgrind.supp" "$build/tests/unit/test_$suite" \
        > "$log" 2>&1 < /dev/null
    rc=$?
    if [[ $rc -ne 0 ]]; then # a test's own process ended with 99, or this one did
        echo "$suite: exit status $rc; see $log"
        grep '^==' "$log" | head -20
        failed=1
    else
        echo "$suite: $(grep 'Checks:' "$log")"
    fi
done
exit "$failed"
