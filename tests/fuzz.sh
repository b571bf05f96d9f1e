#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs libFuzzer targets, each for SECONDS, over a corpus kept under BUILD and the seeds in
# tests/fuzz/seeds/NAME; ends with "N passed, N failed".
#
#   tests/fuzz.sh BUILD SECONDS PROGRAM...
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
seconds=$2
shift 2
export LSAN_OPTIONS="suppressions=$here/support/lsan.supp:print_suppressions=0"
passed=0
failed=0
for program; do
    name=${program##*/}
    corpus=$build/corpus/$name
    mkdir -p "$corpus" "$build/findings" "$build/tests/log"
    dirs=("$corpus")
    [[ -d $here/fuzz/seeds/$name ]] && dirs+=("$here/fuzz/seeds/$name")
    log=$build/tests/log/$name.log
    if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/findings/$name-" "${dirs[@]}" > "$log" 2>&1; then
        passed=$((passed + 1))
        echo "$name: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
    else
        failed=$((failed + 1))
        echo "$name: FAILED, input under $build/findings; $log"
        tail -n 40 "$log" | sed 's/^/    /'
    fi
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
