// SPDX-License-Identifier: Apache-2.0
// One table of options: --view-dir DIR on the command line is REQCAST_VIEW_DIR in the environment
// and view_dir = DIR in the file.
#include "api/daemon/daemon.h"

#include "base/version.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)

typedef struct row {
    const char *name, *value, *help; // value NULL: a flag
    size_t at;
} row;

#define TEXT(name, value, field, help)                 \
    {                                                  \
        name, value, help, offsetof(dm_options, field) \
    }
#define FLAG(name, field, help)                       \
    {                                                 \
        name, NULL, help, offsetof(dm_options, field) \
    }
static const row rows[] = {
    TEXT("config", "FILE", config, "read options from FILE: lines NAME = VALUE, # comments"),
    TEXT("db", "FILE", db, "the database; default ./reqcast.db"),
    FLAG("create", create, "make the database when it is missing"),
    TEXT("view-dir", "DIR", view_dir, "where the view goes; default shared memory"),
    TEXT("listen", "URL", listen, "where questions are answered, ipc://PATH; default chosen"),
    TEXT("socket-dir", "DIR", socket_dir,
         "where sockets go unless --listen says; default /dev/shm"),
    TEXT("socket-mode", "MODE", socket_mode, "permissions of the sockets, octal; default 0600"),
    TEXT("tcp", "HOST:PORT", tcp, "answer over tcp, too; the stream of all is at PORT + 1"),
    FLAG("allow-remote", allow_remote, "let --tcp name an address that is not loopback"),
    TEXT("threads", "N", threads, "threads that answer questions, 1 to 256; default 8"),
    TEXT("streams", "N", streams, "most streams of single workspaces; default 1000"),
    TEXT("retain", "N", retain, "positions of history kept, when the database is made"),
    TEXT("log-file", "FILE", log_file, "log there, not to standard error; SIGHUP opens it anew"),
    TEXT("log-level", "LEVEL", log_level, "debug, info, warn or error; default info"),
    TEXT("pid-file", "FILE", pid_file, "write the process's number there"),
    TEXT("ready-fd", "N", ready_fd, "write the URL to this descriptor when ready, and close it"),
    FLAG("background", background, "end when the daemon is ready, and leave it running"),
};
#define NROWS (sizeof rows / sizeof *rows)

static void help(void)
{
    puts("usage: reqcastd [OPTION]...\n\n"
         "Owns one reqcast database: streams every committed change, answers questions, and "
         "writes.\n");
    for (size_t i = 0; i < NROWS; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
                 rows[i].value ? rows[i].value : "");
        printf("  %-20s %s\n", left, rows[i].help);
    }
    puts("  --help, --version\n\n"
         "Every option is a variable of the environment, too (--view-dir: REQCAST_VIEW_DIR), and a "
         "line\nof the file (view_dir = DIR). The command line weighs most, then the "
         "environment.\n\n"
         "Signals: SIGTERM and SIGINT end it, SIGHUP opens the log file anew.\n"
         "Exit status: 0 ended or, with --background, ready; 1 no such database; 2 usage; 4 not "
         "available\n(another owner of the database, an address in use); 5 storage fault; 3 "
         "anything else that was "
         "refused.");
}

static void set(dm_options *o, const row *r, const char *value)
{
    char *at = (char *)o + r->at;
    if (r->value)
        memcpy(at, &value, sizeof value);
    else
        *(bool *)at =
            strcmp(value, "1") == 0 || strcmp(value, "true") == 0 || strcmp(value, "yes") == 0;
}

static const row *find(const char *name, size_t n)
{
    for (size_t i = 0; i < NROWS; i++) {
        size_t k = 0;
        while (k < n && rows[i].name[k] &&
               (rows[i].name[k] == name[k] || (rows[i].name[k] == '-' && name[k] == '_')))
            k++;
        if (k == n && !rows[i].name[k])
            return &rows[i];
    }
    return NULL;
}

static dm_parsed from_arguments(dm_options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            help();
            return DM_DONE;
        }
        if (strcmp(a, "--version") == 0) {
            printf("reqcastd %s\n", rqci_version());
            return DM_DONE;
        }
        const size_t n = strncmp(a, "--", 2) == 0 ? strcspn(a + 2, "=") : 0;
        const row *r = n > 0 ? find(a + 2, n) : NULL;
        if (!r) {
            fprintf(stderr, "reqcastd: no option %s; see reqcastd --help\n", a);
            return DM_USAGE;
        }
        const char *value = a[2 + n] ? a + 3 + n : NULL;
        if (r->value && !value && i + 1 < argc)
            value = argv[++i];
        if (!value && r->value) {
            fprintf(stderr, "reqcastd: option --%s needs a value\n", r->name);
            return DM_USAGE;
        }
        set(o, r, value ? value : "1");
    }
    return DM_RUN;
}

static void from_environment(dm_options *o)
{
    for (size_t i = 0; i < NROWS; i++) {
        char name[64] = "REQCAST_";
        size_t n = strlen(name);
        for (const char *p = rows[i].name; *p; p++)
            name[n++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        name[n] = 0;
        const char *value = getenv(name);
        if (value && *value)
            set(o, &rows[i], value);
    }
}

static char *trimmed(char *from, char *end)
{
    while (from < end && isspace((unsigned char)*from))
        from++;
    while (end > from && isspace((unsigned char)end[-1]))
        end--;
    *end = 0;
    return from;
}

static bool from_file(dm_options *o, const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = f ? calloc(1, FILE_MAX + 1) : NULL;
    if (!text) {
        fprintf(stderr, "reqcastd: %s: %s\n", path, strerror(errno));
        if (f)
            fclose(f);
        return false;
    }
    const size_t n = fread(text, 1, FILE_MAX, f);
    bool good = !ferror(f) && n < FILE_MAX && !memchr(text, 0, n);
    fclose(f);
    o->file = text;
    unsigned number = 0;
    for (char *line = text; good && line;) {
        char *next = strchr(line, '\n');
        char *end = next ? next : line + strlen(line);
        number++;
        *end = 0;
        char *name = trimmed(line, end);
        line = next ? next + 1 : NULL;
        if (!*name || *name == '#')
            continue;
        char *equals = strchr(name, '=');
        const char *key = equals ? trimmed(name, equals) : "";
        const row *r = equals ? find(key, strlen(key)) : NULL;
        good = r != NULL;
        if (good)
            set(o, r, trimmed(equals + 1, equals + 1 + strlen(equals + 1)));
    }
    if (!good)
        fprintf(stderr, "reqcastd: %s, line %u: no line NAME = VALUE of an option\n", path, number);
    return good;
}

dm_parsed dm_options_read(dm_options *o, int argc, char **argv)
{
    // The file's name may come from either of the others, and yet they weigh more.
    dm_options first = {0};
    from_environment(&first);
    const dm_parsed parsed = from_arguments(&first, argc, argv);
    if (parsed != DM_RUN)
        return parsed;
    memset(o, 0, sizeof *o);
    if (first.config && !from_file(o, first.config))
        return DM_USAGE;
    from_environment(o);
    (void)from_arguments(o, argc, argv);
    if (!o->db)
        o->db = "reqcast.db";
    return DM_RUN;
}

bool dm_number(const char *name, const char *text, int base, unsigned long least,
               unsigned long most, unsigned long *ret)
{
    char *end;
    errno = 0;
    const unsigned long n = strtoul(text, &end, base);
    if (errno == 0 && isdigit((unsigned char)*text) && !*end && n >= least && n <= most) {
        *ret = n;
        return true;
    }
    fprintf(stderr,
            base == 8 ? "reqcastd: %s: %s is no number from %lo to %lo\n"
                      : "reqcastd: %s: %s is no number from %lu to %lu\n",
            name, text, least, most);
    return false;
}
