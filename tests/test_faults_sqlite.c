// SPDX-License-Identifier: Apache-2.0
// SQLite's answers: of its files, through a VFS of ours, and of statements that are compiled and
// run, at the Nth time and from then on.
#include "tests/faults_stories.h"
#include "tests/faults_sweep.h"

#define BIT(code) (1u << (code))

static const fault_way ways[] = {
    {FAULTS_VFS_OPEN, "open", SQLITE_CANTOPEN, BIT(RQC_IO), false},
    {FAULTS_VFS_READ, "read", SQLITE_IOERR_READ, BIT(RQC_IO), false},
    {FAULTS_VFS_WRITE, "write", SQLITE_IOERR_WRITE, BIT(RQC_IO), false},
    {FAULTS_VFS_WRITE, "full", SQLITE_FULL, BIT(RQC_NO_SPACE), false},
    {FAULTS_VFS_SYNC, "sync", SQLITE_IOERR_FSYNC, BIT(RQC_IO), false},
    {FAULTS_VFS_TRUNCATE, "truncate", SQLITE_IOERR_TRUNCATE, BIT(RQC_IO), false},
    {FAULTS_VFS_LOCK, "lock", SQLITE_IOERR_LOCK, BIT(RQC_IO), false},
    {FAULTS_VFS_LOCK, "busy", SQLITE_BUSY, BIT(RQC_BUSY), true},
    {FAULTS_VFS_SHMMAP, "shmmap", SQLITE_IOERR_SHMMAP, BIT(RQC_IO), false},
    {FAULTS_VFS_SHMMAP, "shmmap-memory", SQLITE_NOMEM, BIT(RQC_NO_MEMORY), false},
    {FAULTS_VFS_SHMLOCK, "shmlock", SQLITE_IOERR_SHMLOCK, BIT(RQC_IO), false},
    {FAULTS_VFS_SHMLOCK, "shmbusy", SQLITE_BUSY, BIT(RQC_BUSY), true},
    {FAULTS_VFS_DELETE, "delete", SQLITE_IOERR_DELETE, BIT(RQC_IO), false},
    {FAULTS_VFS_ACCESS, "access", SQLITE_IOERR_ACCESS, BIT(RQC_IO), false},
    {FAULTS_VFS_SIZE, "size", SQLITE_IOERR_FSTAT, BIT(RQC_IO), false},
    {FAULTS_PREPARE, "prepare", SQLITE_NOMEM, BIT(RQC_NO_MEMORY), false},
    {FAULTS_STEP, "step", SQLITE_IOERR, BIT(RQC_IO), false},
    {FAULTS_STEP, "step-memory", SQLITE_NOMEM, BIT(RQC_NO_MEMORY), false},
    {FAULTS_STEP, "step-full", SQLITE_FULL, BIT(RQC_NO_SPACE), false},
};

// With the argument `all`: each story with each way, and more cases of each. With `every`: at each
// place, which takes hours.
int main(int argc, char **argv)
{
    static world w;
    const sweep_how how = sweep_asked(argc, argv);
    fault_begin();
    faults_vfs();
    world_begin(&w, fault_memory);
    sweep(&w, stories, STORIES, ways, sizeof ways / sizeof *ways,
          tap_scaled(how == SWEEP_ALL ? 5 : 2), how);
    return tap_done();
}
