#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Walks docs/operations.md: types its ```sh blocks, in order and in one shell, with the built programs
# and a SoftHSM of its own in a scratch folder. The first command that fails ends it, with the block's
# line and the log's end.
#
#   tests/operations.sh [BUILD]        KEEP=1 leaves the folder
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "${1:-${KL_BUILD:-build}}")
document=$here/../docs/operations.md
export PATH=$build/bin:$build/tests/tools:$PATH LC_ALL=C
ROOT=$(mktemp -d "${TMPDIR:-/tmp}/keyloader-operations.XXXXXX")
PORT=$((20000 + $$ % 20000))
MONITOR=$((PORT + 20000))
export ROOT PORT MONITOR
started=$SECONDS

finish() {
    local status=$?
    if [[ $status -ne 0 ]]; then
        tail -n 20 "$ROOT/out" | sed 's/^/    /'
        echo "docs/operations.md:$(cat "$ROOT/line" 2> /dev/null): the block that begins there failed" \
            "(status $status); the daemon's log ends with:"
        tail -n 10 "$ROOT/var/log/keyloader.log" 2> /dev/null | sed 's/^/    /' || true
    fi
    if [[ -n ${KEEP:-} ]]; then echo "left in $ROOT"; else rm -rf "$ROOT"; fi
    exit "$status"
}
trap finish EXIT

# The blocks as one script. What it has started in the background ends with it.
awk -v root="$ROOT" '
    BEGIN {
        print "set -euo pipefail"
        print "trap '\''status=$?; kill $(jobs -p) 2> /dev/null; wait; exit $status'\'' EXIT"
    }
    /^```sh$/ { inside = 1; blocks++; print "echo " NR " > " root "/line"; next }
    /^```/ { inside = 0; next }
    inside { print }
    END { print "echo " blocks " > " root "/blocks" }' "$document" > "$ROOT/script"
status=0
timeout --foreground --kill-after=20 "${KL_OPERATIONS_SECONDS:-600}" bash "$ROOT/script" \
    > "$ROOT/out" 2>&1 < /dev/null || status=$?
[[ $status -eq 0 ]] || exit "$status"
echo "docs/operations.md: $(cat "$ROOT/blocks") blocks walked in $((SECONDS - started)) s"
