// SPDX-License-Identifier: Apache-2.0
#include "api/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {"debug", "info", "warn", "error"};
static _Atomic int fd = STDERR_FILENO;
static int least = RQCI_INFO;
static const char *file;

static bool reopen(void)
{
    const int opened = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (opened < 0)
        return false;
    const int old = atomic_exchange(&fd, opened);
    if (old != STDERR_FILENO)
        close(old);
    return true;
}

bool dm_log_open(const char *path, const char *level)
{
    for (int i = 0; level && i < 4; i++)
        if (strcmp(level, names[i]) == 0) {
            least = i;
            level = NULL;
        }
    if (level) {
        fprintf(stderr, "reqcastd: log_level: %s is none of debug, info, warn, error\n", level);
        return false;
    }
    file = path;
    if (!path || reopen())
        return true;
    fprintf(stderr, "reqcastd: %s: %s\n", path, strerror(errno));
    return false;
}

void dm_log_reopen(void)
{
    if (file && !reopen())
        dm_log(RQCI_WARN, "log", "error=%s", dm_quoted(strerror(errno)));
}

const char *dm_quoted(const char *text)
{
    static _Thread_local char texts[4][1200];
    static _Thread_local unsigned turn;
    char *out = texts[turn++ % 4];
    size_t n = 0;
    out[n++] = '"';
    for (const unsigned char *p = (const unsigned char *)text; *p && n < sizeof texts[0] - 8; p++) {
        if (*p == '"' || *p == '\\')
            out[n++] = '\\';
        if (*p < 0x20 || *p == 0x7f)
            n += (size_t)snprintf(out + n, 5, "\\x%02x", *p);
        else
            out[n++] = (char)*p;
    }
    out[n++] = '"';
    out[n] = 0;
    return out;
}

void dm_log(rqci_level level, const char *event, const char *fmt, ...)
{
    char line[2048], when[32];
    struct timespec now;
    struct tm tm;
    if ((int)level < least)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    size_t n = (size_t)snprintf(line, sizeof line, "%s.%03ldZ level=%s event=%s ", when,
                                now.tv_nsec / 1000000, names[level], event);
    va_list ap;
    va_start(ap, fmt);
    const int more = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    n += more < 0 ? 0 : (size_t)more;
    n = n < sizeof line - 1 ? n : sizeof line - 2;
    line[n++] = '\n';
    // One call a line: lines of several threads do not mix.
    (void)!write(atomic_load(&fd), line, n);
}

void dm_log_library(void *ctx, int level, const char *text)
{
    (void)ctx;
    dm_log(level < 0 || level > 3 ? RQCI_INFO : (rqci_level)level, "library", "message=%s",
           dm_quoted(text));
}
