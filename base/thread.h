// SPDX-License-Identifier: Apache-2.0
// Threads of the library, inside an application that has signals.
#ifndef RQCI_THREAD_H
#define RQCI_THREAD_H

#include <pthread.h>

// Starts fn(arg) on a thread that no signal of the application is given to: those are for its own
// threads. Returns what pthread_create does; 0: *ret_thread is to be joined.
int rqci_thread_start(pthread_t *ret_thread, void *(*fn)(void *arg), void *arg);

#endif
