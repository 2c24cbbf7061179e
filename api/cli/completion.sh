# SPDX-License-Identifier: Apache-2.0
# What bash and zsh share. Both show a function the local variables of its caller.
_reqcast_parse() # the words before the one to complete: sets command, first, n, value, rest
{
    local word
    for word in "$@"; do
        if [[ -n $value ]]; then
            value=
        elif [[ -z $rest && $word == -- ]]; then
            rest=yes
        elif [[ -z $rest && $word == -[!0-9]* ]]; then
            [[ $word == *=* ]] || value=$(_reqcast_value "$command" "$word")
        elif [[ -z $command ]]; then
            command=$word
        else
            ((n += 1))
            ((n > 1)) || first=$word
        fi
    done
}
_reqcast_kind() # what the word to complete is
{
    local each last= i=0
    if [[ -n $value || -z $command ]]; then
        echo "${value:-COMMAND}"
        return
    fi
    for each in $(_reqcast_arguments "$command"); do
        last=$each
        if ((i == n)); then
            break
        fi
        ((i += 1))
    done
    if ((i == n)) || [[ $last == *... ]]; then
        echo "${last%...}"
    fi
}
