// SPDX-License-Identifier: Apache-2.0
// Commits of other programs in the SQLite file: its directory is watched, and now and then looked
// at all the same, since not every file system tells. What is told is that the log is written to;
// the commit counts only when that is on the disk, and nothing tells then. So after each word of it
// there are more looks, at growing distances.
#include "api/daemon/daemon.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS  250
#define SOON_MS  1 // first look after a word, then twice as long each
#define PAUSE_MS 5

static int watch_directory(const char *path)
{
    char dir[RQCI_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        return -1;
    slash[slash == dir] = 0;
    const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0 && inotify_add_watch(fd, dir, IN_MODIFY) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

// Takes what there is; true when the database's log was written to.
static bool was_written(int fd, const char *name)
{
    char wal[300];
    bool found = false;
    snprintf(wal, sizeof wal, "%s-wal", name);
    for (;;) {
        _Alignas(struct inotify_event) char bytes[8192];
        const ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0)
            return found;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e =
                (const struct inotify_event *)(const void *)(bytes + at);
            found = found || (e->len > 0 && strcmp(e->name, wal) == 0);
            at += (ssize_t)sizeof *e + e->len;
        }
    }
}

static void *watch(void *arg)
{
    dm_watch *w = arg;
    const char *slash = strrchr(w->db->path, '/');
    const char *name = slash ? slash + 1 : w->db->path;
    rqc_err last = RQC_OK;
    int wait = POLL_MS;
    for (;;) {
        struct pollfd fds[2] = {{.fd = w->stop, .events = POLLIN},
                                {.fd = w->inotify, .events = POLLIN}};
        const int n = poll(fds, 2, wait);
        if (fds[0].revents)
            return NULL;
        if (n > 0 && !was_written(w->inotify, name))
            continue;
        wait = n > 0 ? SOON_MS : 2 * wait < POLL_MS ? 2 * wait : POLL_MS;
        const uint64_t before = rqc_position_now(w->db).seq;
        rqc_error e = {RQC_OK, ""};
        const rqc_err rc = rqc_sync(w->db, &e);
        if (rc != RQC_OK && rc != last)
            dm_log(RQCI_WARN, "sync", "error=%s", dm_quoted(e.text));
        last = rc;
        // A program that writes without a pause shall not keep the writer busy with looking.
        const long ms = rqc_position_now(w->db).seq != before ? PAUSE_MS : n > 0 ? SOON_MS : 0;
        const struct timespec pause = {0, ms * 1000000L};
        nanosleep(&pause, NULL);
    }
}

bool dm_watch_start(dm_watch *w, rqc_db *db)
{
    w->db = db;
    w->stop = eventfd(0, EFD_CLOEXEC);
    w->inotify = watch_directory(db->path);
    if (w->inotify < 0)
        dm_log(RQCI_WARN, "watch", "message=\"the directory cannot be watched, it is polled\"");
    w->runs = w->stop >= 0 && pthread_create(&w->thread, NULL, watch, w) == 0;
    return w->runs;
}

void dm_watch_stop(dm_watch *w)
{
    if (w->runs) {
        (void)eventfd_write(w->stop, 1);
        pthread_join(w->thread, NULL);
    }
    if (w->stop >= 0)
        close(w->stop);
    if (w->inotify >= 0)
        close(w->inotify);
}
