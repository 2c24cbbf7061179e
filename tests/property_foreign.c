// SPDX-License-Identifier: Apache-2.0
// Foreign connections: one in this process, one in a child that knows nothing of the library.
#include "tests/property.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct {
    pid_t pid;
    int to, from;
} child;

static sqlite3 *connect_to(const char *path)
{
    sqlite3 *db;
    if (sqlite3_open(path, &db) != SQLITE_OK)
        bail("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 5000);
    sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    return db;
}

// False when a statement was no SQL: the generator's fault. Refused ones (constraints) are counted.
bool foreign_exec(sqlite3 *db, const char *statements, size_t len, uint64_t *refused,
                  char fault[256])
{
    for (const char *s = statements; s < statements + len; s += strlen(s) + 1) {
        char *why = NULL;
        const int rc = sqlite3_exec(db, s, NULL, NULL, &why);
        if (rc == SQLITE_OK)
            continue;
        ++*refused;
        const bool mine = rc == SQLITE_ERROR && strstr(why, "no such savepoint") == NULL &&
                          strstr(why, "transaction is active") == NULL &&
                          strstr(why, "within a transaction") == NULL &&
                          strstr(why, "FOREIGN KEY mismatch") == NULL;
        if (mine || (rc != SQLITE_ERROR && rc != SQLITE_CONSTRAINT && rc != SQLITE_MISMATCH &&
                     rc != SQLITE_TOOBIG && rc != SQLITE_BUSY)) {
            snprintf(fault, 256, "%d %.150s: %.90s", rc, why, s);
            sqlite3_free(why);
            return false;
        }
        sqlite3_free(why);
    }
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return true;
}

static bool put_all(int fd, const void *p, size_t n)
{
    for (const char *at = p; n > 0;) {
        const ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static bool get_all(int fd, void *p, size_t n)
{
    for (char *at = p; n > 0;) {
        const ssize_t done = read(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

typedef struct answer {
    uint64_t refused;
    bool good;
    char fault[256];
} answer;

int foreign_child_main(const char *path)
{
    sqlite3 *db = connect_to(path);
    uint64_t len;
    while (get_all(0, &len, sizeof len)) {
        char *p = malloc(len + 1);
        answer a = {0};
        if (p == NULL || !get_all(0, p, len))
            return 1;
        p[len] = 0;
        a.good = foreign_exec(db, p, len, &a.refused, a.fault);
        free(p);
        if (!put_all(1, &a, sizeof a))
            return 1;
    }
    sqlite3_close(db);
    return 0;
}

void foreign_open(void)
{
    int to[2], from[2];
    char self[512];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    g.foreign = connect_to(g.path);
    if (n <= 0 || pipe(to) != 0 || pipe(from) != 0)
        bail("no child: %s", strerror(errno));
    self[n] = 0;
    char arg[] = "--foreign";
    char *argv[] = {self, arg, g.path, NULL};
    posix_spawn_file_actions_t act;
    posix_spawn_file_actions_init(&act);
    posix_spawn_file_actions_adddup2(&act, to[0], 0);
    posix_spawn_file_actions_adddup2(&act, from[1], 1);
    for (int i = 0; i < 2; i++) {
        posix_spawn_file_actions_addclose(&act, to[i]);
        posix_spawn_file_actions_addclose(&act, from[i]);
    }
    if (posix_spawn(&child.pid, self, &act, NULL, argv, environ) != 0)
        bail("no child");
    posix_spawn_file_actions_destroy(&act);
    close(to[0]);
    close(from[1]);
    child.to = to[1];
    child.from = from[0];
}

void foreign_close(void)
{
    sqlite3_close(g.foreign);
    g.foreign = NULL;
    if (child.pid <= 0)
        return;
    close(child.to);
    close(child.from);
    int status = 0;
    waitpid(child.pid, &status, 0);
    child.pid = 0;
}

void foreign_run(const char *statements, size_t len, bool in_child)
{
    answer a = {0};
    if (in_child) {
        const uint64_t n = len;
        if (!put_all(child.to, &n, sizeof n) || !put_all(child.to, statements, len) ||
            !get_all(child.from, &a, sizeof a))
            bail("the child is gone");
        g.cover.child++;
    } else {
        a.good = foreign_exec(g.foreign, statements, len, &a.refused, a.fault);
    }
    if (!a.good)
        bail("a foreign statement: %s", a.fault);
    g.cover.refused += a.refused;
}
