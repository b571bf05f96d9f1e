#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs libFuzzer targets, FUZZ_JOBS (1) at a time, each for SECONDS, over a corpus kept under BUILD,
# the seeds and regressions of tests/fuzz and what `make fuzz-seeds` has made; ends with
# "N passed, N failed".
#
#   tests/fuzz.sh BUILD SECONDS PROGRAM...
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
seconds=$2
shift 2
jobs=${FUZZ_JOBS:-1}
export KL_SUPPORT=$here/support
export LSAN_OPTIONS="suppressions=$here/support/lsan.supp:print_suppressions=0"
mkdir -p "$build/findings" "$build/log"

run_one() { # PROGRAM: its verdict is in NAME.rc, what it said in NAME.log
    local name=${1##*/} corpus=$build/corpus/${1##*/} more=() dirs
    mkdir -p "$corpus"
    dirs=("$corpus")
    for dir in "$here/fuzz/seeds/$name" "$here/fuzz/regressions/$name" "$build/seeds/$name"; do
        [[ -d $dir ]] && dirs+=("$dir")
    done
    # SoftHSM takes its random numbers from a library's, which keeps its state for each thread.
    [[ $name == fuzz_hsm ]] && more=(-detect_leaks=0)
    "$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/findings/$name-" "${more[@]}" "${dirs[@]}" \
        > "$build/log/$name.log" 2>&1
    echo $? > "$build/log/$name.rc"
}

passed=0
failed=0
report() { # PROGRAM
    local name=${1##*/} log=$build/log/${1##*/}.log
    if [[ $(cat "$build/log/$name.rc" 2> /dev/null) == 0 ]]; then
        passed=$((passed + 1))
        echo "$name: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs," \
            "$(sed -nE 's/.*(cov: [0-9]+ ft: [0-9]+).*/\1/p' "$log" | tail -n 1)"
    else
        failed=$((failed + 1))
        echo "$name: FAILED, input under $build/findings; $log"
        tail -n 40 "$log" | sed 's/^/    /'
    fi
}

for program; do rm -f "$build/log/${program##*/}.rc"; done
for program; do
    while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do wait -n; done
    run_one "$program" &
done
wait
for program; do report "$program"; done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
