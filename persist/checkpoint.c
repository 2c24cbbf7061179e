// SPDX-License-Identifier: Apache-2.0
// One checkpointer: the writer thread, between its transactions. No connection of ours checkpoints
// by itself. TRUNCATE takes the write lock, so no other connection writes meanwhile: versions of
// SQLite before 3.51.3 can damage the database when a checkpoint and the reset of the -wal meet.
#include "persist/internal.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#define WAL_LIMIT (UINT64_C(16) << 20)
#define RETRY_MS  5000 // after a reader was in the way
#define WAIT_MS   100  // how long writers wait for such a reader

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t wal_bytes(const rqci_store *s)
{
    struct stat st;
    return stat(s->wal_path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

bool rqci_checkpoint(rqci_store *s)
{
    sqlite3_busy_timeout(s->db, WAIT_MS);
    int frames = 0, done = 0;
    const int rc =
        sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, &frames, &done);
    sqlite3_busy_timeout(s->db, s->busy_ms);
    rqci_side_flush(s->side_fd);
    if (rc == SQLITE_OK) {
        s->ckpt_from = 0;
        pthread_mutex_lock(&s->mu);
        s->n_checkpoints++;
        pthread_mutex_unlock(&s->mu);
        return true;
    }
    const bool again = s->ckpt_from > 0;
    s->ckpt_from = wal_bytes(s);
    s->ckpt_at_ms = now_ms();
    if ((rc & 0xff) != SQLITE_BUSY) {
        rqci_errbuf err = {{0}};
        (void)rqci_sqlite_err(s->db, rc, "checkpoint", &err);
        rqci_logf(&s->log, again ? RQCI_DEBUG : RQCI_ERROR, "%s: %s", s->path, err.text);
    }
    return false;
}

// How large the -wal may become: no larger than what is free, or its content might not fit into the
// database's file and nothing could empty it any more.
static uint64_t limit(const rqci_store *s)
{
    struct statvfs fs;
    if (statvfs(s->path, &fs) != 0 || fs.f_blocks == 0) // some file systems do not say
        return WAL_LIMIT;
    const uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    return room < WAL_LIMIT ? room : WAL_LIMIT;
}

void rqci_checkpoint_maybe(rqci_store *s)
{
    const uint64_t bytes = wal_bytes(s);
    if (bytes == 0 || bytes < limit(s))
        return;
    if (s->ckpt_from > 0 && bytes < s->ckpt_from + WAL_LIMIT && now_ms() < s->ckpt_at_ms + RETRY_MS)
        return;
    rqci_checkpoint(s);
}
