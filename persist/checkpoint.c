// SPDX-License-Identifier: Apache-2.0
// One checkpointer: the writer thread, in turns of its own. No connection of ours checkpoints
// by itself. TRUNCATE takes the write lock, so no other connection writes meanwhile: versions of
// SQLite before 3.51.3 can damage the database when a checkpoint and the reset of the -wal meet.
//
// Between checkpoints of a busy writer the -wal keeps its size, as it does where SQLite restarts
// it: a commit that writes over old frames waits half as long for the disk as one that makes the
// file longer (265 us instead of 475 for 13 frames on ext4), because the file system has nothing to
// note.
#include "base/clock.h"
#include "persist/internal.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#define WAL_LIMIT (UINT64_C(16) << 20)
#define WAL_MORE  (UINT64_C(4) << 20) // a transaction may end so far behind it
#define RETRY_MS  5000                // after a reader was in the way
#define WAIT_MS   100                 // how long writers wait for such a reader

static uint64_t free_bytes(const rqci_store *s)
{
    struct statvfs fs;
    // Some file systems do not say.
    return statvfs(s->path, &fs) != 0 || fs.f_blocks == 0 ? UINT64_MAX
                                                          : (uint64_t)fs.f_bavail * fs.f_frsize;
}

int rqci_wal_noted(void *store, sqlite3 *db, const char *name, int frames)
{
    (void)db;
    (void)name;
    rqci_store *s = store;
    s->wal_frames = (uint64_t)frames;
    s->wal_foreign = false;
    return SQLITE_OK;
}

static uint64_t file_bytes(const rqci_store *s)
{
    struct stat st;
    return stat(s->wal_path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

// Of the file no more counts than what the last commit of ours left behind, unless others committed
// since, or made it longer.
static uint64_t wal_bytes(const rqci_store *s)
{
    const uint64_t size = file_bytes(s), used = s->wal_frames * s->frame_bytes;
    return size > used && !s->wal_foreign && size < WAL_LIMIT + WAL_MORE ? used : size;
}

// The methods of the -wal's file, with a truncation of ours.
typedef struct log_methods {
    sqlite3_io_methods m; // first: a file's pMethods point here
    const sqlite3_io_methods *real;
    bool keep;
} log_methods;

// The log begins anew at this moment, and nobody else may use it yet: the index in shared memory
// says so already. What stands in the file is of older salts than the next frames; without a header
// nothing of it is looked at. That must be on the disk before anybody writes: a program with
// synchronous=OFF does not wait, and after a power cut the old header, with old frames between
// new ones, would be taken for a log that was complete, and damage the database.
static int begin_anew(sqlite3_file *f, sqlite3_int64 size)
{
    static const uint8_t no_header[32];
    const log_methods *k = (const log_methods *)(const void *)f->pMethods;
    const int rc = k->keep && size == 0 ? k->real->xWrite(f, no_header, sizeof no_header, 0)
                                        : k->real->xTruncate(f, size);
    return rc == SQLITE_OK ? k->real->xSync(f, SQLITE_SYNC_NORMAL) : rc;
}

static int truncate_log(rqci_store *s, bool keep)
{
    sqlite3_file *f = NULL;
    log_methods k = {.keep = keep};
    int frames = 0, done = 0;
    int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f);
    if (rc == SQLITE_OK && f && f->pMethods) {
        // Those of a newer SQLite may be longer than what we know.
        k.real = f->pMethods;
        k.m = *k.real;
        k.m.iVersion = k.m.iVersion < 3 ? k.m.iVersion : 3;
        k.m.xTruncate = begin_anew;
        f->pMethods = &k.m;
    }
    rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, &frames, &done);
    if (k.real)
        f->pMethods = k.real;
    return rc;
}

bool rqci_checkpoint(rqci_store *s, bool keep)
{
    sqlite3_busy_timeout(s->db, WAIT_MS);
    const int rc = truncate_log(s, keep && !s->wal_foreign && free_bytes(s) >= 4 * WAL_LIMIT &&
                                       file_bytes(s) < WAL_LIMIT + WAL_MORE);
    sqlite3_busy_timeout(s->db, s->busy_ms);
    rqci_side_flush(s->side_fd);
    if (rc == SQLITE_OK) {
        s->ckpt_from = 0;
        s->wal_frames = 0;
        s->wal_foreign = false;
        pthread_mutex_lock(&s->mu);
        s->n_checkpoints++;
        pthread_mutex_unlock(&s->mu);
        return true;
    }
    const bool again = s->ckpt_from > 0;
    s->ckpt_from = wal_bytes(s);
    s->ckpt_at_ms = (uint64_t)rqci_now_ms();
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
    const uint64_t room = free_bytes(s);
    return room < WAL_LIMIT ? room : WAL_LIMIT;
}

bool rqci_checkpoint_due(const rqci_store *s)
{
    const uint64_t bytes = wal_bytes(s);
    return bytes > 0 && bytes >= limit(s) &&
           (s->ckpt_from == 0 || bytes >= s->ckpt_from + WAL_LIMIT ||
            (uint64_t)rqci_now_ms() >= s->ckpt_at_ms + RETRY_MS);
}
