// SPDX-License-Identifier: Apache-2.0
// What a subscriber knows of the records of its topic: which there are, and the digest of each. So
// it can prove that it is equal, and say what is gone when it has to start over.
#ifndef RQCI_KNOWN_H
#define RQCI_KNOWN_H

#include "replicate/message.h"

typedef struct rqci_known_record {
    rqci_digest digest;
    uint8_t id[16];
    uint8_t entity; // 0: a free place
    bool gone;      // a place that was used
    uint32_t walk;  // the walk that saw it last
} rqci_known_record;

typedef struct rqci_known {
    rqci_known_record *places; // open addressing
    size_t cap, used, n;       // used: with those that are gone
    uint32_t walk;
    rqci_digest sum;
} rqci_known;

// RQC_NO_MEMORY.
rqc_err rqci_known_put(rqci_known *k, const rqc_record *r);
void rqci_known_del(rqci_known *k, uint8_t entity, const uint8_t id[16]);
// A walk over everything begins: what it does not put is not there any more.
void rqci_known_walk(rqci_known *k);
// Takes one record away that the walk did not see; false when there is none. *at begins at 0.
// `within` NULL: everything was walked, else these buckets only.
bool rqci_known_unseen(rqci_known *k, const rqci_bucket_set *within, size_t *at,
                       uint8_t *ret_entity, uint8_t ret_id[16]);
// The buckets whose digests are not these; how many.
unsigned rqci_known_differing(const rqci_known *k, const rqci_digest digests[256],
                              rqci_bucket_set *ret_set);
void rqci_known_free(rqci_known *k);

#endif
