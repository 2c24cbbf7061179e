// SPDX-License-Identifier: Apache-2.0
// To write behind a limit of the file size (RLIMIT_FSIZE) is an error for us, and also SIGXFSZ for
// the thread that does it, which ends the program. Our own threads have all signals blocked; on a
// caller's thread this is held around what writes files. Nests.
#ifndef RQCI_XFSZ_H
#define RQCI_XFSZ_H

#include <signal.h>
#include <stdbool.h>

typedef struct rqci_xfsz {
    sigset_t old;
    bool pending; // already before
} rqci_xfsz;

rqci_xfsz rqci_xfsz_hold(void);
void rqci_xfsz_drop(const rqci_xfsz *x);

#endif
