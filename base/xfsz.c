// SPDX-License-Identifier: Apache-2.0
#include "base/xfsz.h"

#include <time.h>

static sigset_t only(void)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGXFSZ);
    return s;
}

rqci_xfsz rqci_xfsz_hold(void)
{
    rqci_xfsz x = {.pending = false};
    sigset_t pending;
    const sigset_t s = only();
    pthread_sigmask(SIG_BLOCK, &s, &x.old);
    x.pending = sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1;
    return x;
}

void rqci_xfsz_drop(const rqci_xfsz *x)
{
    static const struct timespec none;
    const sigset_t s = only();
    if (!x->pending)
        (void)sigtimedwait(&s, NULL, &none);
    pthread_sigmask(SIG_SETMASK, &x->old, NULL);
}
