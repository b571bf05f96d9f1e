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
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} known command='' i
    # Asked once in a shell.
    if [[ ${_keyloader_program-} != "$program" ]]; then
        _keyloader_program=$program
        _keyloader_known=$(_keyloader_words "$program")
    fi
    known=$_keyloader_known
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} != -* ]] || continue
        if grep -qE -- "^$command${COMP_WORDS[i]}( |$)" <<< "$known"; then
            command+="${COMP_WORDS[i]} "
        fi
    done
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$({
            sed -n "s/^$command\(--.*\)/\1/p" <<< "$known"
            grep -E '^--' <<< "$known"
        } | sort -u)" -- "$word")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$(sed -nE "s/^$command([a-z][a-z-]*).*/\1/p" <<< "$known" |
        sort -u)" -- "$word")
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
