#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Holds what the programs say of themselves, what their sources take, and what the man pages say
# against each other, in both directions: commands, the options of each, exit statuses, configuration
# keys, shell completion.
#
#   tests/man.sh [BUILD]       after make all man; a line for each difference, status 1 if there is one
set -u
cd "$(dirname "$0")/.." || exit 70
export LC_ALL=C
build=${1:-${KL_BUILD:-build}}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kl-man.XXXXXX") || exit 70
trap 'rm -rf "$scratch"' EXIT
bad=0

same() { # WHAT LEFT RIGHT: files of lines; says which has what the other has not
    sort -u "$2" > "$scratch/left"
    sort -u "$3" > "$scratch/right"
    if [[ ! -s $scratch/left ]]; then
        echo "$1: nothing was found in ${2##*/}"
        bad=1
    fi
    if ! diff "$scratch/left" "$scratch/right" > "$scratch/diff"; then
        bad=1
        sed -nE "s|^< (.*)|$1: \"\1\" is only in ${2##*/}|p; s|^> (.*)|$1: \"\1\" is only in ${3##*/}|p" \
            "$scratch/diff"
    fi
}

# "COMMAND" and "COMMAND --option" lines of a help. A command is one or two words in keyloaderctl's,
# whose synopses are indented by two; one word in the others', whose blocks begin after an empty line.
# What belongs to no command is a line "--option".
of_help() {
    awk -v ctl="$1" '
        function options(line) {
            while (match(line, /--[a-z][a-z0-9-]*/)) {
                print command substr(line, RSTART, RLENGTH)
                line = substr(line, RSTART + RLENGTH)
            }
        }
        ctl && /^  [a-z]/ {
            command = $1 ($2 ~ /^[a-z][a-z-]*$/ ? " " $2 : "")
            print command
            command = command " "
        }
        !ctl && /^[a-z][a-z-]* / && before == "" { command = $1; print command; command = command " " }
        (ctl && /^[A-Z]/) || (!ctl && $0 == "") { command = "" }
        command != "" || /^ +(-[a-zA-Z], |    )?--/ || /^Usage:|^       [a-z-]+ --|^--json, / {
            options($0)
        }
        { before = $0 }'
}

# The same of a page: a command is what stands in .Cm after .It Xo.
of_page() {
    awk -v ctl="$1" '
        /^\.Sh / { command = ""; on = /SYNOPSIS|DESCRIPTION|COMMANDS/ }
        !on { next }
        heading && /^\.Cm / { command = $2 (ctl && $3 != "" ? " " $3 : ""); print command; command = command " " }
        { heading = /^\.It Xo$/ }
        /^\.Ss / { command = "" }
        {
            line = $0
            while (match(line, /Fl -[a-z][a-z0-9-]*/)) {
                print command "-" substr(line, RSTART + 3, RLENGTH - 3)
                line = substr(line, RSTART + RLENGTH)
            }
        }'
}

of_sources() { # FILE...: every option that a table or kl_options_take knows
    grep -ohE '"--[a-z][a-z0-9-]*"|kl_options_take\([^"]*"[a-z-]+"|^ *\{"(json|help|help-config)", ' "$@" |
        sed -E 's/.*"(--)?([a-z0-9-]+)".*/--\2/'
    grep -q 'kl_options_wants_help' "$@" && printf '%s\n' --help --version --json
}

statuses_of_page() { awk '/^\.Sh / { on = /EXIT STATUS/ } on && /^\.It [0-9]+$/ { print $2 }'; }

compare() { # PROGRAM SECTION SOURCE...
    local program=$1 page=docs/man/$1.$2 ctl=''
    [[ $program != keyloaderctl ]] || ctl=1
    "$build/bin/$program" --help > "$scratch/text"
    of_help "$ctl" < "$scratch/text" > "$scratch/$program --help"
    of_page "$ctl" < "$page" > "$scratch/$page_name"
    same "$program" "$scratch/$program --help" "$scratch/$page_name"
    of_sources "${@:3}" > "$scratch/the sources"
    sed -nE 's/.*(--[a-z0-9-]+)$/\1/p' "$scratch/$program --help" > "$scratch/its help"
    same "$program" "$scratch/the sources" "$scratch/its help"
    cat "$scratch/its help" >> "$scratch/every help"
    statuses_of_page < "$page" > "$scratch/statuses of its page"
}

for row in "keyloaderd 8 daemon/keyloaderd.c" "keyloaderctl 8 daemon/keyloaderctl.c daemon/ctl/*.[ch]" \
    "acquire-ca 1 ca/*.[ch]" "terminal-sim 1 terminal-sim/*.[ch] terminal-sim/*/*.[ch]"; do
    read -r program section sources <<< "$row"
    page_name=$program.$section
    # shellcheck disable=SC2086 # patterns
    compare "$program" "$section" $sources
    case $program in
    keyloaderd)
        sed -n '/^Exit status/,$p' "$scratch/text" | grep -oE '\b(0|[67][0-9])\b' > "$scratch/statuses of its help"
        ;;
    keyloaderctl)
        sed -nE '/^Exit status/,$s/^ +([0-9]+)  .*/\1/p' "$scratch/text" > "$scratch/statuses of its help"
        ;;
    *) continue ;;
    esac
    same "$program" "$scratch/statuses of its help" "$scratch/statuses of its page"
done

# Examples and prose too name only what there is, of whichever program.
sort -u "$scratch/every help" > "$scratch/known"
for page in docs/man/*.[1-9] docs/man/*.in; do
    grep -oE -- '(Fl -|--)[a-z][a-z0-9-]*' "$page" | sed 's/^Fl -/--/' | sort -u |
        comm -23 - "$scratch/known" > "$scratch/diff"
    if [[ -s $scratch/diff ]]; then
        sed "s|^|$page: there is no |" "$scratch/diff"
        bad=1
    fi
done

# ---- Shell completion: what it offers is every command, and every option of each ----

# shellcheck source=conf/completion/keyloader.bash
. conf/completion/keyloader.bash
offered() { # WORD...: completes the last one
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _keyloader "$build/bin/$1" "$1"
}
offers() { [[ " ${COMPREPLY[*]} " == *" $1 "* ]]; }
for program in keyloaderd keyloaderctl acquire-ca terminal-sim; do
    : > "$scratch/completion"
    while read -r first second third; do
        case $third$second$first in
        *--*) words=("${first/#--*/}" "${second/#--*/}") ;;
        *) continue ;;
        esac
        # Without the empty ones.
        read -ra words <<< "${words[*]}"
        option=${third:-${second:-$first}}
        offered "$program" "${words[@]}" "$option"
        offers "$option" || echo "$program ${words[*]} $option"
    done < "$scratch/$program --help" >> "$scratch/completion"
    while read -r first second _; do
        [[ $first != --* ]] || continue
        offered "$program" "$first"
        offers "$first" || echo "$program $first"
        [[ -n $second && $second != --* ]] || continue
        offered "$program" "$first" "$second"
        offers "$second" || echo "$program $first $second"
    done < "$scratch/$program --help" >> "$scratch/completion"
    if [[ -s $scratch/completion ]]; then
        sed 's/^/completion does not offer: /' "$scratch/completion"
        bad=1
    fi
done

# ---- Attacks: the table in docs/simulator.md is what --list says ----

"$build/bin/terminal-sim" attack --list | awk '
    /^[a-z]/ { name = $1; cheats = $4; needs = $0; sub(/;$/, "", cheats); sub(/.*needs /, "", needs); sub(/\)$/, "", needs) }
    sub(/^    expected: /, "") { printf "| `%s` | %s | %s | %s | %s |\n", name, cheats, tries, $0, needs; next }
    sub(/^    /, "") { tries = $0 }' > "$scratch/terminal-sim attack --list"
sed -n '/attacks:begin/,/attacks:end/p' docs/simulator.md | grep '^| `' > "$scratch/simulator.md"
same attacks "$scratch/terminal-sim attack --list" "$scratch/simulator.md"

# ---- Configuration ----

keys_of_help() {
    awk '/^\[/ { section = $0 } /^#?[a-z0-9-]+ =/ { sub(/^#/, ""); print section " " $1 }'
}
"$build/bin/keyloaderd" --help-config > "$scratch/text"
keys_of_help < "$scratch/text" > "$scratch/keyloaderd --help-config"
keys_of_help < conf/keyloaderd.conf > "$scratch/conf:keyloaderd.conf"
awk '/^\.Ss \[/ { section = $2 } /^\.Sh/ { section = "" } section && /^\.It Cm / { print section " " $3 }' \
    "$build/man/keyloaderd.conf.5" > "$scratch/keyloaderd.conf.5"
same configuration "$scratch/keyloaderd --help-config" "$scratch/keyloaderd.conf.5"
same configuration "$scratch/keyloaderd --help-config" "$scratch/conf:keyloaderd.conf"
"$build/bin/keyloaderctl" --help-config | cmp -s - "$scratch/text" || {
    echo "keyloaderctl --help-config is another one than keyloaderd's"
    bad=1
}

[[ $bad -eq 0 ]] && echo "programs, sources and man pages agree"
exit "$bad"
