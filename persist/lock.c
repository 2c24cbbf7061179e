// SPDX-License-Identifier: Apache-2.0
// FILE.rqc-lock: one owner at a time. An open file description lock, so that two owners within one
// process exclude each other too; the file's text says who holds it. Only its holder removes it;
// whoever locked it just before that sees that its name is gone, and makes another one.
//
// A forked child has the same open file description, and would keep the lock alive after its
// parent's death. So the child closes its descriptor, and its copy of the store says RQC_CLOSED
// from then on.
#include "persist/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HOLDER_BYTES   128
#define HOLDER_WAIT_MS 50

static pthread_mutex_t list_mu = PTHREAD_MUTEX_INITIALIZER;
static rqci_lock *list;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&list_mu);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&list_mu);
}

static void after_fork_child(void)
{
    for (rqci_lock *l = list; l; l = l->next) {
        close(l->fd);
        l->fd = -1;
        atomic_store(&l->forked, true);
    }
    list = NULL;
    pthread_mutex_unlock(&list_mu);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

// Who says to hold the lock: text of ours, but from a file that others may write. Its length.
static size_t read_holder(int fd, char who[HOLDER_BYTES])
{
    ssize_t n = pread(fd, who, HOLDER_BYTES - 1, 0);
    n = n < 0 ? 0 : n;
    for (ssize_t i = 0; i < n; i++) {
        if (who[i] == '\n')
            n = i;
        else if (who[i] < 0x20 || who[i] > 0x7e)
            who[i] = '?';
    }
    who[n] = '\0';
    return (size_t)n;
}

// The new holder may not have written its name yet: then there is none, or that of the last one,
// which is gone.
static rqc_err held(int fd, const char *db_path, rqci_errbuf *err)
{
    char who[HOLDER_BYTES];
    size_t n = read_holder(fd, who);
    for (int i = 0; i < HOLDER_WAIT_MS; i++) {
        const long pid = strtol(who, NULL, 10);
        if (n > 0 && pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH))
            break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        n = read_holder(fd, who);
    }
    return rqci_fail(err, RQC_BUSY, "%s is in use by process %s", db_path, n ? who : "unknown");
}

static rqc_err take(int fd, const char *db_path, const char *path, bool *ret_gone, rqci_errbuf *err)
{
    struct stat st, db, now;
    *ret_gone = false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return rqci_fail(err, RQC_IO, "%s.rqc-lock is not a regular file", db_path);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &fl) != 0) {
        if (errno == EAGAIN || errno == EACCES)
            return held(fd, db_path, err);
        return rqci_fail(err, RQC_IO, "%s.rqc-lock: %s", db_path, strerror(errno));
    }
    if (lstat(path, &now) != 0 || now.st_ino != st.st_ino || now.st_dev != st.st_dev) {
        *ret_gone = true;
        return RQC_OK;
    }
    // Whoever may write the database may own it.
    if (stat(db_path, &db) == 0)
        (void)fchmod(fd, db.st_mode & 0666);
    char who[HOLDER_BYTES];
    const int n =
        snprintf(who, sizeof who, "%ld (%.64s)\n", (long)getpid(), program_invocation_short_name);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, who, (size_t)n, 0) != n) {
        const int e = errno;
        return rqci_fail(err, e == ENOSPC || e == EDQUOT ? RQC_NO_SPACE : RQC_IO, "%s.rqc-lock: %s",
                         db_path, strerror(e));
    }
    return RQC_OK;
}

rqc_err rqci_lock_take(const char *db_path, rqci_lock *l, rqci_errbuf *err)
{
    pthread_once(&once, watch_forks);
    char *path;
    // Before there is a lock file with the database's permissions, which would outlast them.
    const rqc_err allowed = rqci_file_allowed(db_path, R_OK | W_OK, err);
    if (allowed != RQC_OK)
        return allowed;
    if (asprintf(&path, "%s.rqc-lock", db_path) < 0)
        return RQC_NO_MEMORY;
    // Not inherited by a program that is started meanwhile, nor by a child that is forked before
    // the lock is in the list.
    pthread_mutex_lock(&list_mu);
    int fd;
    rqc_err e;
    bool gone = false;
    do {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0660);
        if (fd < 0)
            e = rqci_fail(err,
                          errno == ENOSPC  ? RQC_NO_SPACE
                          : errno == EROFS ? RQC_READ_ONLY
                                           : RQC_IO,
                          "%s: %s", path, strerror(errno));
        else
            e = take(fd, db_path, path, &gone, err);
        if (!e && gone)
            close(fd);
    } while (!e && gone);
    if (!e) {
        l->fd = fd;
        l->next = list;
        list = l;
    } else if (fd >= 0) {
        close(fd);
    }
    pthread_mutex_unlock(&list_mu);
    free(path);
    return e;
}

void rqci_lock_remove(const char *db_path, const rqci_lock *l)
{
    char *path;
    if (l->fd < 0 || asprintf(&path, "%s.rqc-lock", db_path) < 0)
        return;
    (void)unlink(path);
    free(path);
}

void rqci_lock_release(rqci_lock *l)
{
    pthread_mutex_lock(&list_mu);
    for (rqci_lock **at = &list; *at; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    pthread_mutex_unlock(&list_mu);
}
