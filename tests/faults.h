// SPDX-License-Identifier: Apache-2.0
// Faults on demand: the Nth allocation, read, write, sync, map … of this program fails, once or
// from then on. faults.c stands between the program, SQLite and LMDB on one side and the C library
// on the other: its functions have the names of the C library's and are found first.
//
// Nothing fails and nothing is counted before faults_arm and after faults_disarm. All threads count
// together.
#ifndef RQC_TESTS_FAULTS_H
#define RQC_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fault_kind {
    FAULTS_ALLOC,   // malloc, calloc, realloc, posix_memalign: the C library's own calls too
    FAULTS_READ,    // read, pread
    FAULTS_WRITE,   // write, pwrite, writev: nothing is written
    FAULTS_SHORT,   // the same: half of it is written
    FAULTS_SYNC,    // fsync, fdatasync
    FAULTS_MAP,     // mmap
    FAULTS_SIZE,    // ftruncate, posix_fallocate
    FAULTS_OPEN,    // open, fopen, opendir, eventfd, epoll_create1, timerfd_create
    FAULTS_NAME,    // rename, link, unlink, mkdir, rmdir, fchmod
    FAULTS_STAT,    // stat, lstat, fstat
    FAULTS_CONNECT, // socket, connect
    FAULTS_SEND,    // send: nothing goes
    FAULTS_RECV,    // recv
    FAULTS_LOCK,    // fcntl with a lock to take
    FAULTS_THREAD,  // pthread_create, fork
    FAULTS_BEGIN,   // mdb_txn_begin, mdb_txn_renew
    FAULTS_PUT,     // mdb_put, mdb_cursor_put, mdb_del, mdb_cursor_del
    FAULTS_COMMIT,  // mdb_txn_commit: the transaction is gone
    FAULTS_PREPARE, // sqlite3_prepare_v2, sqlite3_prepare_v3
    FAULTS_STEP,    // sqlite3_step, sqlite3_exec
    // Methods of a VFS that is SQLite's default one (faults_sqlite.c).
    FAULTS_VFS_OPEN,
    FAULTS_VFS_READ,
    FAULTS_VFS_WRITE,
    FAULTS_VFS_SYNC,
    FAULTS_VFS_TRUNCATE,
    FAULTS_VFS_LOCK,
    FAULTS_VFS_SHMMAP,
    FAULTS_VFS_SHMLOCK,
    FAULTS_VFS_DELETE,
    FAULTS_VFS_ACCESS,
    FAULTS_VFS_SIZE,
    FAULTS_KINDS
} fault_kind;

// The event number n of this kind fails with `code` (an errno, or LMDB's or SQLite's own code where
// the kind is a call of theirs), and with `lasting` all later ones, too. n 0: none, they are
// counted only.
void faults_arm(fault_kind kind, uint64_t n, bool lasting, int code);
// Memory that this library itself asks for (part of its file's name) never fails: it dies of that.
void faults_spare(const char *library);
// Returns how many events failed since faults_arm.
uint64_t faults_disarm(void);
uint64_t faults_counted(fault_kind kind); // events since faults_arm
// Where the last one failed, for whoever looks for a bug; static storage.
const char *faults_where(void);

// ---- Places -------------------------------------------------------------------------------------
// A place is the way to an event: the return addresses of the calls that led there, the innermost
// FAULTS_DEPTH of them (those of this layer, too), up to the function that called faults_arm. Its
// name is the same in each run of a build. Without sanitizers only: they look at the stack, too.

#define FAULTS_DEPTH 32

typedef struct faults_place {
    fault_kind kind;
    uint64_t name; // never 0
    uint64_t most; // how often it was reached in one run, at most
    // How far down the stack it is, which is fast to compare; 0 where that differs.
    uint32_t down;
    bool failed; // since faults_places_anew
} faults_place;

// What was noted before is forgotten. From the next faults_arm on all events are noted with their
// places while nothing is to fail; else the one that fails first.
void faults_places_begin(void);
void faults_places_anew(void);
// The i-th place that was noted; a fault may add one.
bool faults_place_get(size_t i, faults_place *ret);
bool faults_places_full(void); // some were not noted
// As faults_arm; the nth event at this place is the one. `down` 0: look at the calls of each event.
void faults_arm_at(fault_kind kind, uint64_t place, uint32_t down, uint64_t nth, bool lasting,
                   int code);

// For faults.c, in faults_places.c.
void faults_places_modules(void);
void faults_places_forget(void);
void faults_places_run(void);
uint64_t faults_place_name(void *const *frames, int n);
void faults_place_seen(fault_kind kind, uint64_t name, uint32_t down);
void faults_place_failed(fault_kind kind, uint64_t name);

// For faults_sqlite.c: counts an event; true when it is to fail, with this code.
bool faults_now(fault_kind kind, int *ret_code);
// Puts a VFS of ours before SQLite's default one. Before any connection is opened.
void faults_vfs(void);

#endif
