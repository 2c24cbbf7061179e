// SPDX-License-Identifier: Apache-2.0
// SQLite's side of faults.h: a VFS that hands everything to the one below, unless it is to fail,
// and the calls that compile and run statements. What gives something up (a lock, a file) never
// fails.
#include "tests/faults.h"

#include <dlfcn.h>
#include <sqlite3.h>
#include <stddef.h>
#include <string.h>

// ---- Statements ---------------------------------------------------------------------------------
// SQLite calls these itself, for its own tables; what it would answer then is not what we say.

static _Thread_local unsigned inside;

int sqlite3_step(sqlite3_stmt *st)
{
    static int (*_Atomic found)(sqlite3_stmt *);
    int code;
    if (!found)
        found = (int (*)(sqlite3_stmt *))dlsym(RTLD_NEXT, "sqlite3_step");
    if (inside == 0 && faults_now(FAULTS_STEP, &code))
        return code;
    inside++;
    const int rc = found(st);
    inside--;
    return rc;
}

// Counts as one step: a fault inside would not be noticed by it.
int sqlite3_exec(sqlite3 *db, const char *text, int (*row)(void *, int, char **, char **),
                 void *arg, char **message)
{
    static int (*_Atomic found)(sqlite3 *, const char *, int (*)(void *, int, char **, char **),
                                void *, char **);
    int code;
    if (!found)
        found = (int (*)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *,
                         char **))dlsym(RTLD_NEXT, "sqlite3_exec");
    if (inside == 0 && faults_now(FAULTS_STEP, &code))
        return code;
    inside++;
    const int rc = found(db, text, row, arg, message);
    inside--;
    return rc;
}

int sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n, sqlite3_stmt **ret, const char **tail)
{
    static int (*_Atomic found)(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
    int code;
    if (!found)
        found = (int (*)(sqlite3 *, const char *, int, sqlite3_stmt **,
                         const char **))dlsym(RTLD_NEXT, "sqlite3_prepare_v2");
    *ret = NULL;
    if (inside == 0 && faults_now(FAULTS_PREPARE, &code))
        return code;
    inside++;
    const int rc = found(db, sql, n, ret, tail);
    inside--;
    return rc;
}

int sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **ret,
                       const char **tail)
{
    static int (*_Atomic found)(sqlite3 *, const char *, int, unsigned, sqlite3_stmt **,
                                const char **);
    int code;
    if (!found)
        found = (int (*)(sqlite3 *, const char *, int, unsigned, sqlite3_stmt **,
                         const char **))dlsym(RTLD_NEXT, "sqlite3_prepare_v3");
    *ret = NULL;
    if (inside == 0 && faults_now(FAULTS_PREPARE, &code))
        return code;
    inside++;
    const int rc = found(db, sql, n, flags, ret, tail);
    inside--;
    return rc;
}

// ---- Files --------------------------------------------------------------------------------------

typedef struct file {
    sqlite3_file base;
    sqlite3_file *below; // behind this struct
} file;

static sqlite3_vfs *below;

static sqlite3_file *under(sqlite3_file *f)
{
    return ((file *)f)->below;
}

static int file_close(sqlite3_file *f)
{
    return under(f)->pMethods->xClose(under(f));
}

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    int code;
    return faults_now(FAULTS_VFS_READ, &code) ? code
                                              : under(f)->pMethods->xRead(under(f), p, n, at);
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int code;
    return faults_now(FAULTS_VFS_WRITE, &code) ? code
                                               : under(f)->pMethods->xWrite(under(f), p, n, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    int code;
    return faults_now(FAULTS_VFS_TRUNCATE, &code) ? code
                                                  : under(f)->pMethods->xTruncate(under(f), n);
}

static int file_sync(sqlite3_file *f, int flags)
{
    int code;
    return faults_now(FAULTS_VFS_SYNC, &code) ? code : under(f)->pMethods->xSync(under(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    int code;
    return faults_now(FAULTS_VFS_SIZE, &code) ? code : under(f)->pMethods->xFileSize(under(f), ret);
}

static int file_lock(sqlite3_file *f, int level)
{
    int code;
    return faults_now(FAULTS_VFS_LOCK, &code) ? code : under(f)->pMethods->xLock(under(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
    return under(f)->pMethods->xUnlock(under(f), level);
}

static int file_reserved(sqlite3_file *f, int *ret)
{
    return under(f)->pMethods->xCheckReservedLock(under(f), ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    return under(f)->pMethods->xFileControl(under(f), op, arg);
}

static int file_sector(sqlite3_file *f)
{
    return under(f)->pMethods->xSectorSize(under(f));
}

static int file_traits(sqlite3_file *f)
{
    return under(f)->pMethods->xDeviceCharacteristics(under(f));
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    int code;
    return faults_now(FAULTS_VFS_SHMMAP, &code)
               ? code
               : under(f)->pMethods->xShmMap(under(f), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    int code;
    return (flags & SQLITE_SHM_LOCK) && faults_now(FAULTS_VFS_SHMLOCK, &code)
               ? code
               : under(f)->pMethods->xShmLock(under(f), at, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
    under(f)->pMethods->xShmBarrier(under(f));
}

static int file_shm_unmap(sqlite3_file *f, int remove)
{
    return under(f)->pMethods->xShmUnmap(under(f), remove);
}

// Version 2: SQLite maps no file of a VFS that has no xFetch. The library wants none either.
static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = file_close,
                                           .xRead = file_read,
                                           .xWrite = file_write,
                                           .xTruncate = file_truncate,
                                           .xSync = file_sync,
                                           .xFileSize = file_size,
                                           .xLock = file_lock,
                                           .xUnlock = file_unlock,
                                           .xCheckReservedLock = file_reserved,
                                           .xFileControl = file_control,
                                           .xSectorSize = file_sector,
                                           .xDeviceCharacteristics = file_traits,
                                           .xShmMap = file_shm_map,
                                           .xShmLock = file_shm_lock,
                                           .xShmBarrier = file_shm_barrier,
                                           .xShmUnmap = file_shm_unmap};

// ---- The VFS ------------------------------------------------------------------------------------

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    file *mine = (file *)f;
    int code;
    (void)v;
    mine->base.pMethods = NULL;
    if (faults_now(FAULTS_VFS_OPEN, &code))
        return code;
    mine->below = (sqlite3_file *)(mine + 1);
    const int rc = below->xOpen(below, name, mine->below, flags, ret_flags);
    if (mine->below->pMethods)
        mine->base.pMethods = &methods;
    return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync)
{
    int code;
    (void)v;
    return faults_now(FAULTS_VFS_DELETE, &code) ? code : below->xDelete(below, name, sync);
}

static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
    int code;
    (void)v;
    return faults_now(FAULTS_VFS_ACCESS, &code) ? code : below->xAccess(below, name, flags, ret);
}

static int vfs_full(sqlite3_vfs *v, const char *name, int n, char *ret)
{
    (void)v;
    return below->xFullPathname(below, name, n, ret);
}

static int vfs_random(sqlite3_vfs *v, int n, char *ret)
{
    (void)v;
    return below->xRandomness(below, n, ret);
}

static int vfs_sleep(sqlite3_vfs *v, int us)
{
    (void)v;
    return below->xSleep(below, us);
}

static int vfs_time(sqlite3_vfs *v, double *ret)
{
    (void)v;
    return below->xCurrentTime(below, ret);
}

static int vfs_error(sqlite3_vfs *v, int n, char *ret)
{
    (void)v;
    return below->xGetLastError(below, n, ret);
}

static int vfs_time64(sqlite3_vfs *v, sqlite3_int64 *ret)
{
    (void)v;
    return below->xCurrentTimeInt64(below, ret);
}

void faults_vfs(void)
{
    static sqlite3_vfs mine;
    below = sqlite3_vfs_find(NULL);
    mine = (sqlite3_vfs){.iVersion = 2,
                         .szOsFile = (int)sizeof(file) + below->szOsFile,
                         .mxPathname = below->mxPathname,
                         .zName = "faults",
                         .xOpen = vfs_open,
                         .xDelete = vfs_delete,
                         .xAccess = vfs_access,
                         .xFullPathname = vfs_full,
                         .xRandomness = vfs_random,
                         .xSleep = vfs_sleep,
                         .xCurrentTime = vfs_time,
                         .xGetLastError = vfs_error,
                         .xCurrentTimeInt64 = vfs_time64};
    (void)sqlite3_vfs_register(&mine, 1);
}
