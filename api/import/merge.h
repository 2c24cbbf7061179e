// SPDX-License-Identifier: Apache-2.0
// What an import does where records of its ids are there: those that are as the file has them are
// left alone; for those that differ there is a choice. docs/semantics.md, section Import.
#ifndef RQCI_MERGE_H
#define RQCI_MERGE_H

#include "api/import/import.h"

#define RQCI_ADDED_BYTES 17

typedef enum rqci_edited {
    RQCI_EDITED_KEEP,    // the record wins
    RQCI_EDITED_REPLACE, // the file wins, in the fields that it has
    RQCI_EDITED_COPY     // both: the request of the file is stored beside, under other ids
} rqci_edited;

typedef struct rqci_merge {
    rqc_txn *txn;
    rqc_read *read; // begun; begun anew when it expires
    rqci_edited how;
    void (*say)(void *ctx, const char *text); // what was kept, replaced or copied, a line a request
    void *ctx;
    // NULL, or where the entity (a byte) and the id of each row that is not there is noted.
    rqci_buf *added;
    // Counts.
    uint64_t given;  // rows given to the transaction
    uint64_t there;  // of these: left alone, because they are there
    uint64_t edited; // records that differ from the file
    // The request that is read: its row, and those that hang on it.
    struct rqci_merge_row *rows;
    size_t n, cap;
    char error[256];
} rqci_merge;

// The sink's `add`; ctx is the rqci_merge. Rows go to the transaction a request at a time.
rqc_err rqci_merge_add(void *ctx, rqc_entity entity, const uint8_t id[16], const rqc_value *row);
// The last request of a file.
rqc_err rqci_merge_end(rqci_merge *m);
// Frees what it owns; the counts stay.
void rqci_merge_free(rqci_merge *m);

#endif
