# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Completion for keyloaderctl, keyloaderd, acquire-ca and terminal-sim: commands and options are what
# the program itself says in --help. Installed under each program's name.

# "COMMAND" lines, and "COMMAND --option" lines; what belongs to no command begins with "--".
_keyloader_words() { # PROGRAM
    "$1" --help 2> /dev/null | awk '
        function options(line) {
            while (match(line, /--[a-z][a-z0-9-]*/)) {
                print command substr(line, RSTART, RLENGTH)
                line = substr(line, RSTART + RLENGTH)
            }
        }
        NR > 1 && /^(  )?[a-z][a-z-]*( |$)/ && (before == "" || /^  /) {
            command = $1 (/^  / && $2 ~ /^[a-z]/ ? " " $2 : "")
            print command
            command = command " "
        }
        /^[A-Z]/ { command = "" }
        { options($0); before = $0 }'
}

# Serial numbers that begin so: only if the program can tell at once.
_keyloader_serials() { # PREFIX
    timeout 1 keyloaderctl --json terminal list 2> /dev/null |
        sed -nE 's/.*"serial": "([^"]+)".*/\1/p' | grep -F -- "$1" | head -n 200
}

_keyloader() {
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} command='' line next i
    # Asked once in a shell.
    if [[ ${_keyloader_program-} != "$program" ]]; then
        _keyloader_program=$program
        mapfile -t _keyloader_known < <(_keyloader_words "$program")
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} != -* ]] || continue
        for line in "${_keyloader_known[@]}"; do
            if [[ "$line " == "$command${COMP_WORDS[i]} "* ]]; then
                command+="${COMP_WORDS[i]} "
                break
            fi
        done
    done
    # Options if one is begun, else commands. What several lines begin with stands there once.
    COMPREPLY=()
    for line in "${_keyloader_known[@]}"; do
        case $line in
        "$command"*) next=${line#"$command"} ;;
        --*) next=$line ;;
        *) continue ;;
        esac
        next=${next%% *}
        if [[ $next == "$word"* && ($word == -* || $next != -*) &&
            " ${COMPREPLY[*]} " != *" $next "* ]]; then
            COMPREPLY+=("$next")
        fi
    done
    [[ $word != -* ]] || return 0
    case ${program##*/}:$command in
    keyloaderctl:terminal\ *\ | keyloaderctl:tmk\ *\ )
        mapfile -t COMPREPLY < <(compgen -W "$(_keyloader_serials "$word")" -- "$word")
        ;;
    esac
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _keyloader keyloaderctl keyloaderd acquire-ca terminal-sim
