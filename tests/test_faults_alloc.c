// SPDX-License-Identifier: Apache-2.0
// No memory, no room to map, no threads: at the Nth time, and from then on.
#include "tests/faults_sweep.h"

#ifndef FAULTS_BUDGET
#define FAULTS_BUDGET 10u
#define FAULTS_BOTH   false
#endif

#define BIT(code) (1u << (code))

static const fault_way ways[] = {
    {FAULTS_ALLOC, "alloc", ENOMEM, BIT(RQC_NO_MEMORY), false},
    {FAULTS_MAP, "map", ENOMEM, BIT(RQC_NO_MEMORY) | BIT(RQC_IO), false},
    {FAULTS_THREAD, "thread", EAGAIN, BIT(RQC_NO_MEMORY), false},
};

int main(void)
{
    static world w;
    fault_begin();
    world_begin(&w, fault_memory);
    sweep(&w, ways, sizeof ways / sizeof *ways, tap_scaled(FAULTS_BUDGET), FAULTS_BOTH);
    return tap_done();
}
