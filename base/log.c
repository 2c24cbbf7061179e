// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void rqci_logf(const rqci_log *log, rqci_level level, const char *fmt, ...)
{
    if (!log || !log->fn)
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n >= 0)
        log->fn(log->ctx, (int)level, text);
}
