// SPDX-License-Identifier: Apache-2.0
// Tells people why a command stands still: another program holds SQLite's lock on the database.
//
// SQLite waits by itself and tells nobody, and our own look at its locks would drop them: closing
// any descriptor of a file ends all of a process's locks on it. So the kernel's list is read.
#include "api/cli/cli.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define NOTE_AFTER_MS 1000
#define WAL_WRITER    120 // the byte of -shm that a writer locks

struct cli_lock_note {
    cli *c;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done; // guarded by lock
};

// The process that keeps others from writing to `path` at a byte (SIZE_MAX: at any); 0: none.
static long write_lock_of(const char *path, uint64_t byte)
{
    struct stat st;
    char line[256];
    long found = 0;
    FILE *f = stat(path, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    while (f && !found && fgets(line, sizeof line, f)) {
        char end[32];
        long pid;
        unsigned major, minor;
        unsigned long long inode, from;
        if (sscanf(line, "%*s POSIX %*s WRITE %ld %x:%x:%llu %llu %31s", &pid, &major, &minor,
                   &inode, &from, end) != 6)
            continue;
        const unsigned long long to =
            strcmp(end, "EOF") == 0 ? UINT64_MAX : strtoull(end, NULL, 10);
        if (inode == st.st_ino && major == major(st.st_dev) && minor == minor(st.st_dev) &&
            pid != getpid() && (byte == SIZE_MAX || (from <= byte && byte <= to)))
            found = pid;
    }
    if (f)
        fclose(f);
    return found;
}

long cli_lock_holder(const char *db_path)
{
    char *shm = NULL, *real = realpath(db_path, NULL);
    long pid = real ? write_lock_of(real, SIZE_MAX) : 0;
    if (!pid && real && asprintf(&shm, "%s-shm", real) >= 0) {
        pid = write_lock_of(shm, WAL_WRITER);
        free(shm);
    }
    free(real);
    return pid;
}

static void *watch(void *arg)
{
    cli_lock_note *n = arg;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += NOTE_AFTER_MS / 1000;
    pthread_mutex_lock(&n->lock);
    while (!n->done && pthread_cond_timedwait(&n->wake, &n->lock, &t) == 0)
        ;
    const long pid = n->done ? 0 : cli_lock_holder(n->c->db_path);
    if (pid)
        cli_note(n->c, "%s: waits for the lock of process %ld", n->c->db_path, pid);
    pthread_mutex_unlock(&n->lock);
    return NULL;
}

cli_lock_note *cli_lock_note_begin(cli *c)
{
    cli_lock_note *n = calloc(1, sizeof *n);
    pthread_condattr_t attr;
    if (!n)
        return NULL;
    n->c = c;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&n->thread, NULL, watch, n) == 0)
        return n;
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->lock);
    free(n);
    return NULL;
}

void cli_lock_note_end(cli_lock_note *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->done = true;
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->lock);
    free(n);
}
