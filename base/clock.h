// SPDX-License-Identifier: Apache-2.0
// Milliseconds of a clock that only goes forward, since some moment before this process.
#ifndef RQCI_CLOCK_H
#define RQCI_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t rqci_clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// A few nanoseconds, and a tick of the kernel (4 ms) behind at most.
static inline int64_t rqci_now_ms(void)
{
    return rqci_clock_ms(CLOCK_MONOTONIC_COARSE);
}

static inline int64_t rqci_exact_ms(void)
{
    return rqci_clock_ms(CLOCK_MONOTONIC);
}

#endif
