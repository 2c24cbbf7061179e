// SPDX-License-Identifier: Apache-2.0
// Options and words of a command line, one by one. Options may stand before and behind words; "--"
// ends them.
#ifndef RQCI_CLI_ARGS_H
#define RQCI_CLI_ARGS_H

#include "api/cli/cli.h"

typedef struct cli_arg_reader {
    int argc, at;
    char **argv;
    bool words_only;
} cli_arg_reader;

typedef enum cli_arg_kind {
    CLI_ARG_END,
    CLI_ARG_WORD,
    CLI_ARG_COMMON,   // an option of every command
    CLI_ARG_OWN,      // one of this command
    CLI_ARG_UNKNOWN,  // no such option
    CLI_ARG_MISSING,  // its value is missing
    CLI_ARG_UNWANTED, // a value for an option that takes none
} cli_arg_kind;

typedef struct cli_arg {
    cli_arg_kind kind;
    const char *text;
    int option; // place in its list
    const char *value;
} cli_arg;

// A negative number is a word, not an option. Lists may be NULL.
cli_arg cli_next_arg(cli_arg_reader *r, const cli_option *common, const cli_option *own);

#endif
