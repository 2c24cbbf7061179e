// SPDX-License-Identifier: Apache-2.0
// Streams without memory, threads, descriptors or connections: at the Nth time, and from then on.
#include "tests/faults_stream.h"
#include "tests/faults_sweep.h"

#define BIT(code) (1u << (code))
// Whoever lost its peer is told that, not why; or what was wrong before.
#define ALONE (BIT(RQC_UNAVAILABLE) | BIT(RQC_TIMEOUT) | BIT(RQC_DIFFERENT))

static const fault_way ways[] = {
    {FAULTS_ALLOC, "alloc", ENOMEM, BIT(RQC_NO_MEMORY) | ALONE, false},
    {FAULTS_THREAD, "thread", EAGAIN, BIT(RQC_NO_MEMORY), false},
    {FAULTS_OPEN, "open", EMFILE, BIT(RQC_IO) | BIT(RQC_NO_MEMORY) | BIT(RQC_READ_ONLY) | ALONE,
     false},
    {FAULTS_CONNECT, "connect", EMFILE, BIT(RQC_IO) | BIT(RQC_NO_MEMORY) | ALONE, false},
    {FAULTS_SEND, "send", EPIPE, ALONE, false},
    {FAULTS_RECV, "recv", ECONNRESET, ALONE, false},
};

// With the argument `all`: each story with each way, and more cases of each. With `every`: at each
// place, which takes hours.
int main(int argc, char **argv)
{
    static world w;
    const sweep_how how = sweep_asked(argc, argv);
    fault_begin();
    world_begin(&w, fault_memory);
    faults_spare("/libnng.so");
    if (pthread_create(&side.ticks, NULL, tick, NULL) != 0)
        die("no thread");
    sweep(&w, stories, STORIES, ways, sizeof ways / sizeof *ways,
          tap_scaled(how == SWEEP_ALL ? 40 : 3), how);
    atomic_store(&side.stop, true);
    pthread_join(side.ticks, NULL);
    return tap_done();
}
