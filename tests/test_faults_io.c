// SPDX-License-Identifier: Apache-2.0
// Files that fail: of the database, of its side files and of the view, at the Nth call and from
// then on.
#include "tests/faults_stories.h"
#include "tests/faults_sweep.h"

#include <lmdb.h>

#define BIT(code) (1u << (code))
#define DISK      (BIT(RQC_IO) | BIT(RQC_NO_SPACE))

static const fault_way ways[] = {
    {FAULTS_READ, "read", EIO, BIT(RQC_IO), false},
    {FAULTS_WRITE, "write", EIO, BIT(RQC_IO), false},
    {FAULTS_WRITE, "full", ENOSPC, BIT(RQC_NO_SPACE), false},
    {FAULTS_SHORT, "short", 0, DISK, false},
    {FAULTS_SYNC, "sync", EIO, BIT(RQC_IO), false},
    {FAULTS_SIZE, "size", ENOSPC, DISK, false},
    {FAULTS_OPEN, "open", EMFILE, BIT(RQC_IO) | BIT(RQC_NO_MEMORY) | BIT(RQC_READ_ONLY), false},
    {FAULTS_NAME, "name", EIO, BIT(RQC_IO), false},
    {FAULTS_STAT, "stat", EIO, BIT(RQC_IO), false},
    // SQLite tries again, for ten seconds and more: what lasts is in test_faults_sqlite.
    {FAULTS_LOCK, "lock", EIO, BIT(RQC_IO), true},
    {FAULTS_BEGIN, "begin", ENOMEM, BIT(RQC_NO_MEMORY), false},
    {FAULTS_PUT, "put", EIO, BIT(RQC_IO), false},
    {FAULTS_PUT, "map-full", MDB_MAP_FULL, BIT(RQC_NO_SPACE), true},
    {FAULTS_COMMIT, "commit", EIO, BIT(RQC_IO), false},
    {FAULTS_COMMIT, "commit-full", ENOSPC, BIT(RQC_NO_SPACE), false},
};

// With the argument `all`: each story with each way, and more cases of each. With `every`: at each
// place, which takes hours.
int main(int argc, char **argv)
{
    static world w;
    const sweep_how how = sweep_asked(argc, argv);
    fault_begin();
    world_begin(&w, fault_memory);
    sweep(&w, stories, STORIES, ways, sizeof ways / sizeof *ways,
          tap_scaled(how == SWEEP_ALL ? 6 : 2), how);
    return tap_done();
}
