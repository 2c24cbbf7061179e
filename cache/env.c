// SPDX-License-Identifier: Apache-2.0
// Opening environments: each at most once in a process, shared by reference count.
#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MAP_BYTES  (UINT64_C(256) << 30)
#define SMALLEST_MAP_BYTES (UINT64_C(1) << 20)
#define MAX_READERS        1022u
#define SIZE_TRIES         20 // a millisecond apart
#define LOCK_BYTES         65536u

const char *const rqci_db_names[RQCI_DB_COUNT] = {NULL,   "id",    "request", "http",
                                                  "kids", "delta", "method",  "seq",
                                                  "tomb", "ws",    "bucket"};

// All environments of this process. LMDB forbids to open one twice: closing one handle would drop
// the locks of the other.
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static rqci_env *registry;

static void before_fork(void)
{
    pthread_mutex_lock(&registry_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&registry_lock);
}

// The parent's environments are of no use to a child: it opens its own.
static void in_child(void)
{
    registry = NULL;
    pthread_mutex_unlock(&registry_lock);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, in_child);
}

static rqc_err open_dbis(rqci_env *e, bool create, rqci_errbuf *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(e->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (rc != 0)
        return rqci_lmdb_err(rc, "begin", err);
    for (int i = 0; i < RQCI_DB_COUNT; i++) {
        rc = mdb_dbi_open(txn, rqci_db_names[i], create ? MDB_CREATE : 0, &e->dbi[i]);
        if (rc != 0) {
            mdb_txn_abort(txn);
            return rc == MDB_NOTFOUND ? rqci_fail(err, RQC_UNAVAILABLE,
                                                  "view: database %s is missing", rqci_db_names[i])
                                      : rqci_lmdb_err(rc, rqci_db_names[i], err);
        }
    }
    return rqci_lmdb_err(mdb_txn_commit(txn), "open databases", err);
}

static int try_open(MDB_env **ret_env, const char *path, unsigned flags, uint64_t map_bytes)
{
    MDB_env *env = NULL;
    int rc = mdb_env_create(&env);
    if (rc != 0)
        return rc;
    rc = mdb_env_set_maxdbs(env, RQCI_DB_COUNT);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(env, MAX_READERS);
    if (rc == 0 && map_bytes != 0)
        rc = mdb_env_set_mapsize(env, (size_t)map_bytes);
    if (rc == 0)
        rc = mdb_env_open(env, path, flags, 0640);
    if (rc != 0) {
        mdb_env_close(env);
        return rc;
    }
    *ret_env = env;
    return 0;
}

// The file's size beside the size that the newest transaction gives it. A page that one
// transaction took and freed again is counted and was never written, so LMDB may leave the file
// shorter.
static rqc_err sizes(const rqci_env *e, int *ret_fd, uint64_t *ret_bytes, uint64_t *ret_wanted,
                     rqci_errbuf *err)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    int rc = mdb_env_info(e->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(e->env, &stat);
    if (rc == 0)
        rc = mdb_env_get_fd(e->env, ret_fd);
    if (rc != 0)
        return rqci_lmdb_err(rc, "size", err);
    if (fstat(*ret_fd, &st) != 0)
        return rqci_fail(err, RQC_IO, "view: size: %s", strerror(errno));
    *ret_bytes = (uint64_t)st.st_size;
    *ret_wanted = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    return RQC_OK;
}

rqc_err rqci_env_fill(const rqci_env *e, rqci_errbuf *err)
{
    int fd;
    uint64_t bytes, wanted;
    const rqc_err rc = sizes(e, &fd, &bytes, &wanted, err);
    if (rc != RQC_OK || bytes >= wanted)
        return rc;
    // Not a hole: to read one on a full tmpfs, as a copy does, is a SIGBUS.
    const int why = posix_fallocate(fd, (off_t)bytes, (off_t)(wanted - bytes));
    return why == 0 ? RQC_OK : rqci_lmdb_err(why, "size", err);
}

// A page behind the end of the file is a SIGBUS for whoever reads it. The owner fills the file
// right after each commit; one that stays short was cut.
static rqc_err check_size(const rqci_env *e, const char *path, rqci_errbuf *err)
{
    for (int i = 0; i < SIZE_TRIES; i++) {
        int fd;
        uint64_t bytes, wanted;
        const rqc_err rc = sizes(e, &fd, &bytes, &wanted, err);
        if (rc != RQC_OK || bytes >= wanted)
            return rc;
        const struct timespec t = {.tv_nsec = 1000000};
        nanosleep(&t, NULL);
    }
    return rqci_fail(err, RQC_UNAVAILABLE, "%s: data.mdb was cut", path);
}

// The lock file is memory that LMDB and every reader write to. LMDB only sets its size, and the
// first touch of a page that a full tmpfs cannot give kills the process; so its bytes are written
// before. They are as many as LMDB wants for MAX_READERS: it goes by the size that it finds.
// Readers of other processes register in it, so it is writable for the group; the data is not.
static rqc_err make_lock(const char *path, rqci_errbuf *err)
{
    static const uint8_t zeros[LOCK_BYTES];
    char lock[4096];
    const int n = snprintf(lock, sizeof lock, "%s/lock.mdb", path);
    if (n < 0 || (size_t)n >= sizeof lock)
        return rqci_fail(err, RQC_INVALID, "%s: path is too long", path);
    // One that is there has all of its bytes. To open it here would be to drop, at close, the locks
    // of this process on it.
    const int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0 && errno == EEXIST)
        return RQC_OK;
    ssize_t wrote = -1;
    if (fd >= 0 && fchmod(fd, 0660) == 0)
        wrote = write(fd, zeros, sizeof zeros);
    const int why = wrote < 0 ? errno : ENOSPC;
    if (fd >= 0)
        close(fd);
    if (wrote == (ssize_t)sizeof zeros)
        return RQC_OK;
    (void)unlink(lock);
    return rqci_lmdb_err(why, lock, err);
}

static rqc_err open_env(rqci_env *e, const char *path, bool create, bool write, uint64_t map_bytes,
                        rqci_errbuf *err)
{
    const unsigned flags = MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD | (write ? 0 : MDB_RDONLY);
    uint64_t size = create && map_bytes == 0 ? DEFAULT_MAP_BYTES : map_bytes;
    const rqc_err made = write ? make_lock(path, err) : RQC_OK;
    if (made != RQC_OK)
        return made;
    if (create && size < SMALLEST_MAP_BYTES)
        size = SMALLEST_MAP_BYTES;
    int rc = try_open(&e->env, path, flags, size);
    while (create && rc == ENOMEM && size / 2 >= SMALLEST_MAP_BYTES) {
        size /= 2; // a limited address space: a smaller map grows by a new generation later
        rc = try_open(&e->env, path, flags, size);
    }
    // LMDB takes a lock that failed for another process, and the zeros of a new lock file for
    // damage.
    if (create && rc == MDB_INVALID)
        rc = EIO;
    if (rc != 0)
        return rqci_lmdb_err(rc, path, err);
    const rqc_err whole = write ? rqci_env_fill(e, err) : check_size(e, path, err);
    return whole != RQC_OK ? whole : open_dbis(e, create, err);
}

rqc_err rqci_env_open(const char *path, bool create, bool write, uint64_t map_bytes,
                      rqci_env **ret_env, rqci_errbuf *err)
{
    char data[4096];
    const int n = snprintf(data, sizeof data, "%s/data.mdb", path);
    if (n < 0 || (size_t)n >= sizeof data)
        return rqci_fail(err, RQC_INVALID, "%s: path is too long", path);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&registry_lock);
    rqc_err rc = RQC_OK;
    struct stat st;
    rqci_env *e = NULL;
    if (stat(data, &st) == 0) {
        for (e = registry; e != NULL; e = e->next)
            if (e->dev == st.st_dev && e->ino == st.st_ino)
                break;
        // LMDB would take an empty or short file for a new environment.
        if (e == NULL && !create && (!S_ISREG(st.st_mode) || st.st_size < 2 * 4096))
            rc = rqci_fail(err, RQC_UNAVAILABLE, "%s: not a view", data);
    } else if (errno != ENOENT) {
        rc = rqci_fail(err, errno == EACCES || errno == ENOTDIR ? RQC_UNAVAILABLE : RQC_IO,
                       "%s: %s", data, strerror(errno));
    } else if (!create) {
        rc = rqci_fail(err, RQC_UNAVAILABLE, "%s: no view", data);
    }
    if (rc == RQC_OK && e != NULL && write && !e->write) {
        rc = rqci_fail(err, RQC_UNAVAILABLE, "this process has it open for reading");
    } else if (rc == RQC_OK && e != NULL) {
        e->refs++;
        *ret_env = e;
    } else if (rc == RQC_OK) {
        e = calloc(1, sizeof *e);
        rc = e == NULL ? RQC_NO_MEMORY : open_env(e, path, create, write, map_bytes, err);
        if (rc == RQC_OK && stat(data, &st) != 0)
            rc = rqci_fail(err, errno == ENOENT ? RQC_UNAVAILABLE : RQC_IO, "%s: vanished: %s",
                           data, strerror(errno));
        if (rc == RQC_OK) {
            e->dev = st.st_dev;
            e->ino = st.st_ino;
            e->write = write;
            e->refs = 1;
            e->next = registry;
            registry = e;
            *ret_env = e;
        } else if (e != NULL) {
            if (e->env != NULL)
                mdb_env_close(e->env);
            free(e);
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return rc;
}

void rqci_env_close(rqci_env *e)
{
    if (e == NULL)
        return;
    pthread_mutex_lock(&registry_lock);
    if (--e->refs == 0) {
        for (rqci_env **p = &registry; *p != NULL; p = &(*p)->next)
            if (*p == e) {
                *p = e->next;
                break;
            }
        mdb_env_close(e->env);
        free(e);
    }
    pthread_mutex_unlock(&registry_lock);
}

static const char state_key[] = "state";

bool rqci_main_entry(const MDB_val *key)
{
    uint8_t numbers[RQCI_KEY_NUMBERS];
    rqci_key_numbers(numbers, 0);
    return *(const uint8_t *)key->mv_data == numbers[0] ||
           (key->mv_size == sizeof state_key - 1 &&
            memcmp(key->mv_data, state_key, sizeof state_key - 1) == 0);
}

rqc_err rqci_meta_get(MDB_txn *txn, const rqci_env *e, rqci_meta *ret_meta, rqci_errbuf *err)
{
    MDB_val key = {sizeof state_key - 1, (void *)(uintptr_t)state_key}, val;
    const int rc = mdb_get(txn, e->dbi[RQCI_DB_MAIN], &key, &val);
    if (rc == MDB_NOTFOUND || (rc == 0 && val.mv_size != RQCI_META_BYTES))
        return rqci_fail(err, RQC_UNAVAILABLE, "view: it has no state");
    if (rc != 0)
        return rqci_lmdb_err(rc, "state", err);
    const uint8_t *p = val.mv_data;
    memset(ret_meta, 0, sizeof *ret_meta);
    ret_meta->layout = rqci_get32(p);
    ret_meta->term = rqci_get32(p + 4);
    ret_meta->schema_hash = rqci_get64(p + 8);
    memcpy(ret_meta->store_id, p + 16, 16);
    ret_meta->seq = rqci_get64(p + 32);
    ret_meta->horizon = rqci_get64(p + 40);
    ret_meta->baseline = rqci_get64(p + 48);
    ret_meta->records = rqci_get64(p + 56);
    ret_meta->tombstones = rqci_get64(p + 64);
    ret_meta->workspaces = rqci_get32(p + 72);
    return RQC_OK;
}

rqc_err rqci_meta_put(MDB_txn *txn, const rqci_env *e, const rqci_meta *meta, rqci_errbuf *err)
{
    uint8_t p[RQCI_META_BYTES] = {0};
    rqci_put32(p, meta->layout);
    rqci_put32(p + 4, meta->term);
    rqci_put64(p + 8, meta->schema_hash);
    memcpy(p + 16, meta->store_id, 16);
    rqci_put64(p + 32, meta->seq);
    rqci_put64(p + 40, meta->horizon);
    rqci_put64(p + 48, meta->baseline);
    rqci_put64(p + 56, meta->records);
    rqci_put64(p + 64, meta->tombstones);
    rqci_put32(p + 72, meta->workspaces);
    MDB_val key = {sizeof state_key - 1, (void *)(uintptr_t)state_key}, val = {sizeof p, p};
    return rqci_lmdb_err(mdb_put(txn, e->dbi[RQCI_DB_MAIN], &key, &val, 0), "state", err);
}
