// SPDX-License-Identifier: Apache-2.0
#include "api/cli/args.h"

#include <string.h>

const char *cli_value(const cli_args *a, int option)
{
    for (size_t i = a->ngiven; i-- > 0;)
        if (a->given[i].option == option)
            return a->given[i].value;
    return NULL;
}

bool cli_has(const cli_args *a, int option)
{
    for (size_t i = 0; i < a->ngiven; i++)
        if (a->given[i].option == option)
            return true;
    return false;
}

// Place of an option in a list, -1 when it is not there. `arg` begins with a dash.
static int find(const cli_option *list, const char *arg, const char **ret_value)
{
    *ret_value = NULL;
    for (int i = 0; list && list[i].name; i++) {
        if (arg[1] != '-') {
            if (arg[1] != list[i].letter || arg[1] == 0)
                continue;
            if (arg[2])
                *ret_value = arg + 2;
            return i;
        }
        const size_t n = strlen(list[i].name);
        if (strncmp(arg + 2, list[i].name, n) != 0 || (arg[2 + n] && arg[2 + n] != '='))
            continue;
        if (arg[2 + n])
            *ret_value = arg + 3 + n;
        return i;
    }
    return -1;
}

static bool is_number(const char *p)
{
    p += *p == '-';
    return *p >= '0' && *p <= '9';
}

cli_arg cli_next_arg(cli_arg_reader *r, const cli_option *common, const cli_option *own)
{
    cli_arg out = {.kind = CLI_ARG_END};
    if (r->at >= r->argc)
        return out;
    const char *arg = r->argv[r->at++];
    out.text = arg;
    if (r->words_only || arg[0] != '-' || arg[1] == 0 || is_number(arg)) {
        out.kind = CLI_ARG_WORD;
        return out;
    }
    if (strcmp(arg, "--") == 0) {
        r->words_only = true;
        return cli_next_arg(r, common, own);
    }
    const cli_option *list = common;
    out.kind = CLI_ARG_COMMON;
    out.option = find(common, arg, &out.value);
    if (out.option < 0) {
        list = own;
        out.kind = CLI_ARG_OWN;
        out.option = find(own, arg, &out.value);
    }
    if (out.option < 0) {
        out.kind = CLI_ARG_UNKNOWN;
    } else if (!list[out.option].value) {
        if (out.value)
            out.kind = CLI_ARG_UNWANTED;
    } else if (!out.value) {
        if (r->at < r->argc)
            out.value = r->argv[r->at++];
        else
            out.kind = CLI_ARG_MISSING;
    }
    return out;
}
