// SPDX-License-Identifier: Apache-2.0
// Log lines go to the application's callback; the library itself never prints.
#ifndef RQCI_LOG_H
#define RQCI_LOG_H

#include <stddef.h>

typedef enum rqci_level { RQCI_DEBUG = 0, RQCI_INFO = 1, RQCI_WARN = 2, RQCI_ERROR = 3 } rqci_level;

// fn may be NULL (nothing is logged). It is called from any thread, must not call back into the
// library, and `text` is valid during the call only.
typedef struct rqci_log {
    void (*fn)(void *ctx, int level, const char *text);
    void *ctx;
} rqci_log;

// One formatted line (at most 1,023 bytes) to the callback; does nothing when log or its fn is
// NULL.
void rqci_logf(const rqci_log *log, rqci_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
