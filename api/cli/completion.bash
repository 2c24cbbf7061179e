# SPDX-License-Identifier: Apache-2.0
_reqcast()
{
    local command= first= n=0 value= rest= kind words i cur=${COMP_WORDS[COMP_CWORD]}
    local -a line=()
    # Bash makes a word of each = as well.
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == = ]] || line+=("${COMP_WORDS[i]}")
    done
    [[ $cur != = ]] || cur=
    _reqcast_parse "${line[@]}"
    COMPREPLY=()
    if [[ -z $value && -z $rest && $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_reqcast_options "$command")" -- "$cur")
        return
    fi
    kind=$(_reqcast_kind)
    case $kind in
    FILE)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        ;;
    *)
        [[ $kind != *=* ]] || compopt -o nospace 2>/dev/null
        words=$(_reqcast_words "$kind" "$first")
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        ;;
    esac
}
complete -F _reqcast reqcast
