#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs a command that tests a build made with gcc's coverage, then prints lines for each file and
# each room and writes BUILD/html. A program tells of its lines when it ends by itself: what was killed has
# said nothing, so the figures are a lower bound.
#
#   tests/coverage.sh BUILD COMMAND
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
cd "$here/.." || exit 70
find "$build" -name '*.gcda' -delete
bash -c "$2"
status=$?
mkdir -p "$build/html"
gcovr --root . --object-directory "$build/obj" --exclude 'tests/' --gcov-ignore-parse-errors \
    --json-summary "$build/coverage.json" \
    --txt "$build/coverage.txt" --html-details "$build/html/index.html" "$build/obj" || exit 1
cat "$build/coverage.txt"
echo "room            lines    covered"
awk -F '"' '/"filename"/ { split($4, part, "/"); room = part[1] }
    /"line_covered"/ { gsub(/[^0-9]/, "", $3); covered[room] += $3 }
    /"line_total"/ { gsub(/[^0-9]/, "", $3); total[room] += $3; room = "" }
    END { for (r in total) if (r != "") printf "%-12s %8d %8.1f %%\n", r, total[r], 100 * covered[r] / total[r] }' \
    <(sed 's/, "/,\n"/g; s/{"/{\n"/g' "$build/coverage.json") | sort
echo "HTML: $build/html/index.html"
exit $status
