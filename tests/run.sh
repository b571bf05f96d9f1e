#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs test programs, CHECK_JOBS (2) at a time, each in a scratch directory of its own and within
# a time limit; prints the totals of each and its seconds (of CPU: user + system) and, last,
# "N passed, N failed". A script (*.sh) is one check, by its status.
#
#   tests/run.sh BUILD PROGRAM...      SAN=thread|address,... says how they were built
#   MIXED=DIR WHOLE='SUITE ...'        the daemon's and other programs are in DIR/bin, but for these suites
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
shift
mixed=${MIXED:+$(realpath -e "$MIXED")} || exit 70
jobs=${CHECK_JOBS:-2}
limit=${KL_SUITE_SECONDS:-900} # wall clock of one suite, whatever its own limits are
logs=$build/tests/log
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kl-check.XXXXXX") || exit 70
trap 'rm -rf "$scratch"' EXIT
trap 'trap - TERM; kill -- $(jobs -p) 2> /dev/null; exit 130' INT TERM
mkdir -p "$logs"

export KL_SUPPORT=$here/support
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-1}
export CK_DEFAULT_TIMEOUT=${CK_DEFAULT_TIMEOUT:-60} # seconds; check's own 4 are too few beside other work
under=()
case ${SAN:-} in
*thread*)
    CK_TIMEOUT_MULTIPLIER=8
    # ThreadSanitizer's shadow memory is at fixed places; some kernels randomise into them.
    if setarch -R true 2> /dev/null; then under=(setarch -R); fi
    ;;
?*) CK_TIMEOUT_MULTIPLIER=5 ;;
esac
if [[ -n ${SAN:-} ]]; then
    limit=$((limit * 3))
    export ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:${ASAN_OPTIONS:-}"
    export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
    export LSAN_OPTIONS="suppressions=$here/support/lsan.supp:print_suppressions=0:${LSAN_OPTIONS:-}"
    export TSAN_OPTIONS="suppressions=$here/support/tsan.supp:halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS:-}"
fi

run_one() { # PROGRAM: runs it; its verdict is in the log and in NAME.rc, its seconds in NAME.time
    local name=${1##*/} TIMEFORMAT='%0R s, %0U + %0S of CPU'
    export KL_BUILD=$build
    [[ -z $mixed || " ${WHOLE:-} " == *" $name "* ]] || KL_BUILD=$mixed
    mkdir "$scratch/$name"
    { time TMPDIR=$scratch/$name timeout --kill-after=10 "$limit" "${under[@]}" "$1" \
        > "$logs/$name.log" 2>&1 < /dev/null; } 2> "$logs/$name.time"
    echo $? > "$logs/$name.rc"
    rm -rf "${scratch:?}/$name"
}

passed=0
failed=0
report() { # PROGRAM: adds its totals up, prints them, and the log when something is wrong
    local name=${1##*/} rc checks=0 bad=0
    rc=$(cat "$logs/$name.rc" 2> /dev/null || echo 99)
    # check's summary, one for each runner: "95%: Checks: 20, Failures: 1, Errors: 0"
    while read -r c f e; do
        checks=$((checks + c))
        bad=$((bad + f + e))
    done < <(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$logs/$name.log")
    [[ $name != *.sh ]] || checks=1
    # A suite that ran nothing, or died, has failed, whatever it printed before.
    if [[ $bad -eq 0 && ($checks -eq 0 || $rc -ne 0) ]]; then
        bad=1
        [[ $name == *.sh ]] || checks=$((checks + 1))
    fi
    passed=$((passed + checks - bad))
    failed=$((failed + bad))
    printf '%-28s %4d passed, %d failed' "$name" $((checks - bad)) "$bad"
    if [[ $bad -ne 0 ]]; then
        printf ' (exit status %s; %s)\n' "$rc" "$logs/$name.log"
        tail -n 60 "$logs/$name.log" | sed 's/^/    /'
    else
        printf '  (%s)\n' "$(cat "$logs/$name.time")"
    fi
}

for program; do
    rm -f "$logs/${program##*/}.rc"
done
for program; do
    while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do wait -n; done
    run_one "$program" &
done
for job in $(jobs -p); do wait "$job"; done
for program; do
    report "$program"
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
