// SPDX-License-Identifier: Apache-2.0
// No memory, no room to map, no threads: at the Nth time, and from then on.
#include "tests/faults_stories.h"
#include "tests/faults_sweep.h"

#define BIT(code) (1u << (code))

static const fault_way ways[] = {
    {FAULTS_ALLOC, "alloc", ENOMEM, BIT(RQC_NO_MEMORY), false},
    {FAULTS_MAP, "map", ENOMEM, BIT(RQC_NO_MEMORY) | BIT(RQC_IO), false},
    {FAULTS_THREAD, "thread", EAGAIN, BIT(RQC_NO_MEMORY), false},
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
          tap_scaled(how == SWEEP_ALL ? 40 : 10), how);
    return tap_done();
}
