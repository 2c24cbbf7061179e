// SPDX-License-Identifier: Apache-2.0
// Completion for shells, made from the tables of commands and options: a new command needs nothing
// here. What an argument is, its name in the usage says: FILE, ENTITY, FIELD, COMMAND,
// one|of|these.
#include "api/cli/cli.h"
#include "api/cli/completion_bash.h"
#include "api/cli/completion_sh.h"
#include "api/cli/completion_zsh.h"

#include <stdarg.h>
#include <string.h>

typedef struct script {
    rqci_buf text;
    rqc_err rc;
} script;

static void add(script *s, const char *p, size_t n)
{
    if (s->rc == RQC_OK)
        s->rc = rqci_buf_add(&s->text, p, n);
}

static void say(script *s, const char *first, ...)
{
    va_list more;
    va_start(more, first);
    for (const char *p = first; p; p = va_arg(more, const char *))
        add(s, p, strlen(p));
    va_end(more);
}

// In single quotes, for fish.
static void quoted(script *s, const char *p, size_t n)
{
    add(s, "'", 1);
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\'' || p[i] == '\\')
            add(s, "\\", 1);
        add(s, p + i, 1);
    }
    add(s, "'", 1);
}

static const cli_option *option_named(const cli_option *list, const char *name, size_t n)
{
    for (; list && list->name; list++)
        if ((strlen(list->name) == n && memcmp(list->name, name, n) == 0) ||
            (n == 1 && list->letter == *name))
            return list;
    return NULL;
}

// The arguments of a command that are no options, separated by blanks: what its usage names
// outside of them.
static void arguments(script *s, const cli_command *k)
{
    bool value = false, any = false;
    for (const char *p = k->usage; *p;) {
        p += strspn(p, " []");
        const size_t n = strcspn(p, " []");
        const size_t dashes = strspn(p, "-");
        if (dashes > 0) {
            const cli_option *o = option_named(k->options, p + dashes, n - dashes);
            value = o && o->value;
        } else if (n > 0 && !value && !(n == 2 && memcmp(p, "or", 2) == 0)) {
            say(s, any ? " " : "", NULL);
            add(s, p, n);
            any = true;
        } else {
            value = false;
        }
        p += n;
    }
}

static void names(script *s, const char *(*name)(int place, rqc_entity of), rqc_entity of,
                  int first, const char *suffix)
{
    for (int i = first; name(i, of); i++)
        say(s, i > first ? " " : "", name(i, of), suffix, NULL);
}

static const char *entity_name(int place, rqc_entity of)
{
    (void)of;
    return rqc_entity_name((rqc_entity)place);
}

static const char *column_name(int place, rqc_entity of)
{
    return rqc_field_name(of, place);
}

static const char *command_name(int place, rqc_entity of)
{
    (void)of;
    const cli_command *k = cli_command_at((size_t)place);
    return k ? k->name : NULL;
}

// ---- bash and zsh -------------------------------------------------------------------------------

static void sh_options(script *s, const cli_option *list)
{
    const char *blank = "";
    for (; list && list->name; list++, blank = " ") {
        const char letter[] = {list->letter, 0};
        say(s, blank, "--", list->name, list->letter ? " -" : "", letter, NULL);
    }
}

static void sh_values(script *s, const char *command, const cli_option *list)
{
    for (; list && list->name; list++) {
        const char letter[] = {list->letter, 0};
        if (!list->value)
            continue;
        say(s, "    ", command, "' --", list->name, "'", NULL);
        if (list->letter)
            say(s, " | ", command, "' -", letter, "'", NULL);
        say(s, ") echo '", list->value, "' ;;\n", NULL);
    }
}

static void sh_words(script *s)
{
    say(s,
        "_reqcast_words() # that an argument may be, for the first argument $2\n{\n"
        "    case \"$1 $2\" in\n    'COMMAND '*) echo '",
        NULL);
    names(s, command_name, 0, 0, "");
    say(s, " help' ;;\n    'ENTITY '*) echo '", NULL);
    names(s, entity_name, 0, 1, "");
    say(s, "' ;;\n", NULL);
    for (int e = 1; rqc_entity_name((rqc_entity)e); e++) {
        const char *entity = rqc_entity_name((rqc_entity)e);
        say(s, "    'FIELD ", entity, "') echo '", NULL);
        names(s, column_name, (rqc_entity)e, 1, "");
        say(s, "' ;;\n    'FIELD=VALUE ", entity, "') echo '", NULL);
        names(s, column_name, (rqc_entity)e, 1, "=");
        say(s, "' ;;\n", NULL);
    }
    say(s, "    *'|'*) echo \"${1//'|'/ }\" ;;\n    esac\n}\n", NULL);
}

// What both shells ask: functions that print words.
static void sh_tables(script *s)
{
    say(s, "_reqcast_options() # of a command\n{\n    case $1 in\n", NULL);
    for (size_t i = 0; cli_command_at(i); i++) {
        if (!cli_command_at(i)->options)
            continue;
        say(s, "    ", cli_command_at(i)->name, ") echo '", NULL);
        sh_options(s, cli_command_at(i)->options);
        say(s, "' ;;\n", NULL);
    }
    say(s, "    esac\n    echo '", NULL);
    sh_options(s, cli_common);
    say(s, "'\n}\n_reqcast_value() # what an option of a command takes\n{\n    case \"$1 $2\" in\n",
        NULL);
    sh_values(s, "*", cli_common);
    for (size_t i = 0; cli_command_at(i); i++)
        sh_values(s, cli_command_at(i)->name, cli_command_at(i)->options);
    say(s, "    esac\n}\n_reqcast_arguments() # of a command\n{\n    case $1 in\n", NULL);
    for (size_t i = 0; cli_command_at(i); i++) {
        say(s, "    ", cli_command_at(i)->name, ") echo '", NULL);
        arguments(s, cli_command_at(i));
        say(s, "' ;;\n", NULL);
    }
    say(s, "    help) echo COMMAND ;;\n    esac\n}\n", NULL);
    sh_words(s);
}

// ---- fish ---------------------------------------------------------------------------------------

static void fish_options(script *s, const char *command, const cli_option *list)
{
    for (; list && list->name; list++) {
        const char letter[] = {list->letter, 0};
        const bool file = list->value && strcmp(list->value, "FILE") == 0;
        say(s, "complete -c reqcast", NULL);
        if (command)
            say(s, " -n '__fish_seen_subcommand_from ", command, "'", NULL);
        say(s, " -l ", list->name, list->letter ? " -s " : "", letter, NULL);
        if (list->value)
            say(s, file ? " -r -F" : " -x", " -d ", list->value, NULL);
        if (list->value && strcmp(list->value, "FIELD") == 0)
            say(s, " -a '(_reqcast_columns)'", NULL);
        say(s, "\n", NULL);
    }
}

// Of a command's arguments the first says what can be offered.
static void fish_arguments(script *s, const cli_command *k)
{
    script kinds = {.rc = RQC_OK};
    arguments(&kinds, k);
    add(&kinds, "", 1);
    const char *first = kinds.rc == RQC_OK ? (const char *)kinds.text.data : "";
    const size_t n = strcspn(first, " .");
    const bool file = n == 4 && memcmp(first, "FILE", 4) == 0;
    const bool entity = n == 6 && memcmp(first, "ENTITY", 6) == 0;
    if (file || entity || memchr(first, '|', n)) {
        say(s, "complete -c reqcast -n '__fish_seen_subcommand_from ", k->name,
            file ? "' -F" : "' -a '", NULL);
        if (entity)
            names(s, entity_name, 0, 1, "");
        for (size_t i = 0; !file && !entity && i < n; i++)
            add(s, first[i] == '|' ? " " : first + i, 1);
        say(s, file ? "\n" : "'\n", NULL);
    }
    s->rc = s->rc == RQC_OK ? kinds.rc : s->rc;
    rqci_buf_free(&kinds.text);
}

static void fish(script *s)
{
    say(s, "function _reqcast_columns\n    for word in (commandline -opc)\n        switch $word\n",
        NULL);
    for (int e = 1; rqc_entity_name((rqc_entity)e); e++) {
        say(s, "            case ", rqc_entity_name((rqc_entity)e),
            "\n                string split ' ' '", NULL);
        names(s, column_name, (rqc_entity)e, 1, "");
        say(s, "'\n", NULL);
    }
    say(s, "        end\n    end\nend\ncomplete -c reqcast -f\n", NULL);
    fish_options(s, NULL, cli_common);
    for (size_t i = 0; cli_command_at(i); i++) {
        const cli_command *k = cli_command_at(i);
        say(s, "complete -c reqcast -n __fish_use_subcommand -a ", k->name, " -d ", NULL);
        quoted(s, k->help, strcspn(k->help, "\n"));
        say(s, "\n", NULL);
        fish_options(s, k->name, k->options);
        fish_arguments(s, k);
    }
    say(s,
        "complete -c reqcast -n __fish_use_subcommand -a help\n"
        "complete -c reqcast -n '__fish_seen_subcommand_from help' -a '",
        NULL);
    names(s, command_name, 0, 0, "");
    say(s, "'\n", NULL);
}

// ---- The command --------------------------------------------------------------------------------

static int completion(cli *c, const cli_args *a)
{
    const char *shell = a->words[0];
    script s = {.rc = RQC_OK};
    const bool zsh = strcmp(shell, "zsh") == 0;
    if (!zsh && strcmp(shell, "bash") != 0 && strcmp(shell, "fish") != 0)
        return cli_usage(c, "no completion for %s; there is one for bash, zsh and fish",
                         cli_shown(shell));
    say(&s, zsh ? "#compdef reqcast\n" : "", "# Made by: reqcast completion ", shell, "\n", NULL);
    if (strcmp(shell, "fish") == 0) {
        fish(&s);
    } else {
        sh_tables(&s);
        say(&s, cli_completion_sh, zsh ? cli_completion_zsh : cli_completion_bash, NULL);
    }
    if (c->json) {
        add(&s, "", 1);
        cli_json_begin(c);
        cli_json_text(c, "shell", shell);
        cli_json_text(c, "script", s.rc == RQC_OK ? (const char *)s.text.data : "");
        cli_json_end(c);
    } else if (s.rc == RQC_OK) {
        fwrite(s.text.data, 1, s.text.len, stdout);
    }
    c->lost = c->lost || s.rc != RQC_OK;
    rqci_buf_free(&s.text);
    return CLI_OK;
}

const cli_command cli_completion_commands[] = {
    {"completion", "bash|zsh|fish",
     "what a shell needs to complete commands, options and arguments\n\n"
     "For bash: source <(reqcast completion bash), in ~/.bashrc. For zsh the same behind compinit, "
     "or a file _reqcast in a folder of $fpath. For fish: reqcast completion fish | source.\n\n"
     "Example: reqcast completion bash > /usr/share/bash-completion/completions/reqcast",
     NULL, 1, 1, completion},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};
