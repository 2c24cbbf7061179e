// SPDX-License-Identifier: Apache-2.0
// The program `reqcast`: finds the command, gives it its arguments, ends with its status.
#include "api/cli/args.h"
#include "api/cli/cli.h"
#include "base/version.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const cli_command *const groups[] = {
    cli_store_commands,   cli_attach_commands,    cli_backup_commands, cli_import_commands,
    cli_export_commands,  cli_workspace_commands, cli_read_commands,   cli_time_commands,
    cli_resolve_commands, cli_write_commands,     cli_prune_commands,  cli_completion_commands,
    cli_watch_commands,
};
#define NGROUPS (sizeof groups / sizeof *groups)

enum { COMMON_DB, COMMON_JSON, COMMON_VERBOSE, COMMON_HELP, COMMON_VERSION };
const cli_option cli_common[] = {
    {"db", 0, "FILE"},   {"json", 0, NULL},    {"verbose", 'v', NULL},
    {"help", 'h', NULL}, {"version", 0, NULL}, {NULL, 0, NULL},
};

const cli_command *cli_command_at(size_t place)
{
    for (size_t g = 0; g < NGROUPS; g++)
        for (const cli_command *k = groups[g]; k->name; k++)
            if (place-- == 0)
                return k;
    return NULL;
}

// ---- Messages -----------------------------------------------------------------------------------

// Messages also come from threads: of the library's log, and of a wait for a lock.
static pthread_mutex_t screen = PTHREAD_MUTEX_INITIALIZER;

static void take_bar_away(cli *c)
{
    if (c->bar)
        fputs("\r\033[K", stderr);
    c->bar = false;
}

// One line: what the messages hold may come from files and other programs.
__attribute__((format(printf, 2, 0))) static void say(cli *c, const char *fmt, va_list ap)
{
    char text[2048];
    rqci_buf line = {0};
    vsnprintf(text, sizeof text, fmt, ap);
    cli_visible(&line, text, strlen(text));
    pthread_mutex_lock(&screen);
    take_bar_away(c);
    if (line.len > 0)
        fprintf(stderr, "reqcast: %.*s\n", (int)line.len, (const char *)line.data);
    pthread_mutex_unlock(&screen);
    rqci_buf_free(&line);
}

int cli_fail(cli *c, rqc_err code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
    return rqci_err_exit_status(code);
}

int cli_usage(cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
    return CLI_USAGE;
}

void cli_note(cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
}

static void draw_bar(cli *c, const char *what, uint64_t done, uint64_t total)
{
    static const char full[] = "##############################";
    const int width = (int)sizeof full - 1;
    if (c->bar_ms < 0 || !isatty(STDERR_FILENO))
        return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (done < total && now - c->bar_ms < 100)
        return;
    c->bar_ms = now;
    if (done >= total) {
        take_bar_away(c);
        return;
    }
    const int filled = (int)((double)done / (double)total * width);
    fprintf(stderr, "\r\033[K%s [%.*s%*s] %3d %%", what, filled, full, width - filled, "",
            (int)((double)done / (double)total * 100));
    fflush(stderr);
    c->bar = true;
}

void cli_progress(cli *c, const char *what, uint64_t done, uint64_t total)
{
    pthread_mutex_lock(&screen);
    draw_bar(c, what, done, total);
    pthread_mutex_unlock(&screen);
}

// ---- Help ---------------------------------------------------------------------------------------

static const cli_command *find_command(const char *name)
{
    for (size_t g = 0; g < NGROUPS; g++)
        for (const cli_command *k = groups[g]; k->name; k++)
            if (strcmp(k->name, name) == 0)
                return k;
    return NULL;
}

static void help_of(const cli_command *k)
{
    printf("usage: reqcast [--db FILE] [--json] %s%s%s\n\n%s\n", k->name, *k->usage ? " " : "",
           k->usage, k->help);
}

static void help(void)
{
    puts("usage: reqcast [--db FILE] [--json] COMMAND ...\n\n"
         "An in-memory cache of HTTP request records, with SQLite as the durable truth.\n");
    for (size_t g = 0; g < NGROUPS; g++)
        for (const cli_command *k = groups[g]; k->name; k++)
            printf("  %-11s %.*s\n", k->name, (int)strcspn(k->help, "\n"), k->help);
    puts("  help        this list, or help for one command: help COMMAND\n\n"
         "  --db FILE   the database; default $REQCAST_DB, else ./reqcast.db\n"
         "  --json      one JSON object a line on standard output\n"
         "  --verbose   more messages on standard error\n"
         "  --version\n\n"
         "Exit status: 0 done, 1 a negative answer (not found, a difference), 2 usage, 3 bad input "
         "(nothing\n"
         "was written), 4 not available (busy, timeout, too old), 5 storage fault.");
}

// ---- Dispatch -----------------------------------------------------------------------------------

typedef struct parsed {
    const cli_command *command;
    cli_args args;
    bool help, version;
} parsed;

// How many characters must be put in, left out, replaced or exchanged with their neighbour to make
// one word of another; at least NEAREST_MAX where one of them is longer than any command.
#define NEAREST_MAX  3u
#define NEAREST_WORD 16u
static unsigned distance(const char *a, const char *b)
{
    unsigned d[NEAREST_WORD + 1][NEAREST_WORD + 1];
    const size_t n = strlen(a), m = strlen(b);
    if (n > NEAREST_WORD || m > NEAREST_WORD)
        return NEAREST_MAX;
    for (unsigned i = 0; i <= n; i++)
        for (unsigned k = 0; k <= m; k++) {
            if (i == 0 || k == 0) {
                d[i][k] = i + k;
                continue;
            }
            const unsigned replaced = d[i - 1][k - 1] + (a[i - 1] != b[k - 1]);
            const unsigned one = 1 + (d[i - 1][k] < d[i][k - 1] ? d[i - 1][k] : d[i][k - 1]);
            d[i][k] = replaced < one ? replaced : one;
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
                d[i - 2][k - 2] + 1 < d[i][k])
                d[i][k] = d[i - 2][k - 2] + 1;
        }
    return d[n][m];
}

static int no_command(cli *c, const char *name)
{
    const char *nearest = NULL;
    unsigned least = NEAREST_MAX;
    for (size_t i = 0; cli_command_at(i); i++) {
        const char *other = cli_command_at(i)->name;
        const unsigned d = distance(name, other);
        // Of a short word half is nothing alike.
        if (d < least && d * 2 < strlen(other)) {
            least = d;
            nearest = other;
        }
    }
    return nearest ? cli_usage(c, "no command %s; did you mean %s? reqcast help lists them", name,
                               nearest)
                   : cli_usage(c, "no command %s; reqcast help lists them", cli_shown(name));
}

// An option may stand anywhere, so the command is looked for first: an option's value cannot be
// taken for it before it is known which options there are.
static int parse(cli *c, int argc, char **argv, parsed *p)
{
    cli_arg_reader r = {.argc = argc, .at = 1, .argv = argv};
    const char *name = NULL;
    for (;;) {
        const cli_arg a = cli_next_arg(&r, cli_common, p->command ? p->command->options : NULL);
        switch (a.kind) {
        case CLI_ARG_END: return CLI_OK;
        case CLI_ARG_UNKNOWN:
            return name ? cli_usage(c, "no option %s of %s; see reqcast %s --help", a.text, name,
                                    name)
                        : cli_usage(c,
                                    "no option %s before the command, where those of all commands "
                                    "may stand; see reqcast --help",
                                    a.text);
        case CLI_ARG_MISSING: return cli_usage(c, "option %s needs a value", a.text);
        case CLI_ARG_UNWANTED: return cli_usage(c, "option %s takes no value", a.text);
        case CLI_ARG_COMMON:
            c->db_path = a.option == COMMON_DB ? a.value : c->db_path;
            if (a.option == COMMON_DB && cli_parse_file(c, "--db", a.value) != CLI_OK)
                return CLI_USAGE;
            c->json = c->json || a.option == COMMON_JSON;
            c->verbose = c->verbose || a.option == COMMON_VERBOSE;
            p->help = p->help || a.option == COMMON_HELP;
            p->version = p->version || a.option == COMMON_VERSION;
            break;
        case CLI_ARG_OWN:
            if (p->args.ngiven == CLI_GIVEN_MAX)
                return cli_usage(c, "more than %d options", CLI_GIVEN_MAX);
            p->args.given[p->args.ngiven].option = a.option;
            p->args.given[p->args.ngiven++].value = a.value;
            break;
        case CLI_ARG_WORD:
            if (name) {
                p->args.words[p->args.n++] = a.text;
                break;
            }
            name = a.text;
            p->command = find_command(name);
            if (!p->command && strcmp(name, "help") != 0)
                return no_command(c, name);
            p->help = p->help || !p->command;
            break;
        }
    }
}

static int run(cli *c, const parsed *p)
{
    const cli_command *k = p->command;
    if (p->version) {
        printf("reqcast %s\n", rqci_version());
        return CLI_OK;
    }
    if (p->help && !k && p->args.n > 0 && strcmp(p->args.words[0], "help") != 0) {
        k = find_command(p->args.words[0]);
        if (!k)
            return no_command(c, p->args.words[0]);
    }
    if (p->help) {
        if (k)
            help_of(k);
        else
            help();
        return CLI_OK;
    }
    if (!k)
        return cli_usage(c, "no command; reqcast help lists them");
    if (p->args.n < k->least || p->args.n > k->most)
        return cli_usage(c, "%s arguments; usage: reqcast %s%s%s",
                         p->args.n < k->least ? "too few" : "too many", k->name,
                         *k->usage ? " " : "", k->usage);
    return k->run(c, &p->args);
}

// A standard stream that was closed would become the next file that is opened: messages would be
// written into the database's. It stays closed for its own purpose.
static bool keep_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!keep_streams())
        return rqci_err_exit_status(RQC_IO);
    // A reader that goes away is an error of writing, to be reported like a full disk.
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "");
    const char *from_env = getenv("REQCAST_DB");
    cli c = {.db_path = from_env && *from_env ? from_env : "reqcast.db"};
    parsed p = {.command = NULL};
    p.args.words = calloc((size_t)argc + 1, sizeof *p.args.words);
    int status =
        p.args.words ? parse(&c, argc, argv, &p) : cli_fail(&c, RQC_NO_MEMORY, "out of memory");
    if (status == CLI_OK)
        status = run(&c, &p);
    cli_close(&c);
    const int written = cli_finish(&c);
    take_bar_away(&c);
    rqci_buf_free(&c.line);
    free(p.args.words);
    return status ? status : written;
}
