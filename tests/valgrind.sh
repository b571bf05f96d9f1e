#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Unit tests under valgrind's memcheck, CHECK_JOBS (2) suites at a time, with a leak check at the end
# of each test's process. An error or a definite leak is a failed test. Prints each suite's totals and
# processor time and, last, "N passed, N failed", counting suites.
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
trap 'trap - TERM; kill -- $(jobs -p) 2> /dev/null; exit 130' INT TERM
mkdir -p "$logs"
export KL_BUILD=$build KL_SUPPORT=$here/support CK_TIMEOUT_MULTIPLIER=30

run_one() { # SUITE: its verdict is its status, kept in the scratch folder
    local log=$logs/valgrind-$1.log rc TIMEFORMAT='%U s'
    mkdir "$scratch/$1"
    {
        time TMPDIR=$scratch/$1 timeout --kill-after=10 "${KL_SUITE_SECONDS:-900}" valgrind -q \
            --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
            --error-exitcode=99 --suppressions="$here/support/valgrind.supp" \
            "$build/tests/unit/test_$1" > "$log" 2>&1 < /dev/null
    } 2> "$scratch/$1.time"
    rc=$?
    if [[ $rc -ne 0 ]]; then # a test's own process ended with 99, or this one did
        echo "$1: exit status $rc after $(cat "$scratch/$1.time"); see $log"
        grep '^==' "$log" | head -20
    else
        echo "$1: $(grep 'Checks:' "$log"), $(cat "$scratch/$1.time")"
    fi
    rm -rf "${scratch:?}/$1"
    echo "$rc" > "$scratch/$1.rc"
}

for suite; do
    while [[ $(jobs -rp | wc -l) -ge ${CHECK_JOBS:-2} ]]; do wait -n; done
    run_one "$suite" &
done
wait
passed=$(grep -lx 0 "$scratch"/*.rc | wc -l)
echo "$passed passed, $(($# - passed)) failed"
[[ $passed -eq $# && $# -gt 0 ]]
