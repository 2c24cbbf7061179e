# SPDX-License-Identifier: Apache-2.0
_reqcast()
{
    emulate -L zsh
    local command= first= n=0 value= rest= kind cur=${words[CURRENT]}
    _reqcast_parse "${(@)words[2,CURRENT-1]}"
    if [[ -z $value && -z $rest && $cur == --*=* ]]; then
        value=$(_reqcast_value "$command" "${cur%%=*}")
        compset -P '*='
    elif [[ -z $value && -z $rest && $cur == -* ]]; then
        compadd -- $(_reqcast_options "$command")
        return
    fi
    kind=$(_reqcast_kind)
    case $kind in
    FILE) _files ;;
    *=*) compadd -S '' -- $(_reqcast_words "$kind" "$first") ;;
    *) compadd -- $(_reqcast_words "$kind" "$first") ;;
    esac
}
# Read by a shell, or loaded by its name from a folder of $fpath.
if [[ ${funcstack[1]} == _reqcast ]]; then
    _reqcast "$@"
else
    compdef _reqcast reqcast
fi
