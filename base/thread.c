// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include <signal.h>

int rqci_thread_start(pthread_t *ret_thread, void *(*fn)(void *arg), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); // a thread begins with the mask of who started it
    const int rc = pthread_create(ret_thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}
