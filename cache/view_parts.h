// SPDX-License-Identifier: Apache-2.0
// The owner's handle, for the files that share its work.
#ifndef RQCI_VIEW_PARTS_H
#define RQCI_VIEW_PARTS_H

#include "cache/internal.h"

#include <sys/stat.h>

struct rqci_view {
    char *dir;
    rqci_view_options opt;
    uint8_t store_id[16];
    uint32_t term;
    uint8_t boot[16];
    rqci_control *control;
    struct stat page; // of the control page, to know it again
    rqci_env *env;    // NULL: no usable view
    uint64_t generation;
    uint64_t dropped; // highest generation that was given up: its number is not used again
    uint64_t seq;
    rqci_wtxn w;
    uint64_t prepared; // position that the open transaction of `w` leads to; 0: there is none
    MDB_txn *lookup;   // read transaction of rqci_view_needs, kept reset
};

#endif
