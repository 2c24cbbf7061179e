// SPDX-License-Identifier: Apache-2.0
// Questions to a sidecar and its answers. docs/protocol.md is the specification.
//
// Both begin alike: u32 magic ("rqcq", "rqcr"), u32 version, u64 check (XXH3-64 from byte 16), u32
// size, u32 what: the operation, or the code of the answer. Sizes are multiples of 8.
#ifndef RQCI_MESSAGE_H
#define RQCI_MESSAGE_H

#include "replicate/frame.h"

#define RQCI_ASK_MAGIC     0x71637172u // "rqcq"
#define RQCI_ANSWER_MAGIC  0x72637172u // "rqcr"
#define RQCI_MSG_HEADER    24u
#define RQCI_MSG_MAX       (64u << 20)
#define RQCI_MSG_TEXT      500u // longest text of a failure
#define RQCI_URL_MAX       256u
#define RQCI_LARGE_PIECE   (8u << 20) // largest piece of a large value in one answer
#define RQCI_WRITES_HEADER 8u
#define RQCI_MSG_KEY       255u // longest idempotency key

enum {
    RQCI_ASK_HELLO = 1,
    RQCI_ASK_CHANGES = 2,
    RQCI_ASK_WRITE = 3,
    RQCI_ASK_LARGE = 4,
    RQCI_ASK_STATS = 5,
    RQCI_ASK_BUCKETS = 6
};

// Writes. The same numbers as the store's.
enum { RQCI_KIND_PUT = 1, RQCI_KIND_ADD = 2, RQCI_KIND_PATCH = 3, RQCI_KIND_DELETE = 4 };

enum {
    RQCI_HELLO_ALL = 1,    // the topic of all workspaces
    RQCI_HELLO_TCP = 2,    // where the topic's stream is over tcp; else over ipc
    RQCI_HELLO_NUDGE = 4,  // a bookmark is wanted now
    RQCI_HELLO_STREAM = 8, // the topic's stream is wanted at all
    RQCI_HELLO_FLAGS = 15
};

typedef struct rqci_hello {
    uint8_t topic[16];
    uint32_t flags;
} rqci_hello;

typedef struct rqci_hello_answer {
    rqci_epoch epoch;
    uint32_t message_max; // longest question that is answered
    uint64_t seq, horizon;
    char url[RQCI_URL_MAX]; // of the topic's stream; over tcp its host is "*": the one that was
                            // asked
} rqci_hello_answer;

// Some of the 256 buckets of a digest: bit b % 8 of byte b / 8.
typedef struct rqci_bucket_set {
    uint8_t bits[32];
} rqci_bucket_set;

static inline bool rqci_bucket_in(const rqci_bucket_set *s, unsigned bucket)
{
    return s->bits[bucket / 8] >> bucket % 8 & 1;
}

typedef struct rqci_ask_changes {
    uint8_t topic[16];
    uint32_t flags;   // RQCI_FRAME_ALL or 0
    rqci_epoch epoch; // term 0: of any history
    rqc_cursor cursor;
    uint32_t limit, bytes;
    bool some; // of these buckets only
    rqci_bucket_set buckets;
} rqci_ask_changes;

typedef struct rqci_ask_buckets {
    uint8_t topic[16];
    uint32_t flags; // RQCI_FRAME_ALL or 0
    rqci_epoch epoch;
} rqci_ask_buckets;

typedef struct rqci_buckets_answer {
    uint64_t seq; // at which they are true
    rqci_digest digests[256];
} rqci_buckets_answer;

typedef struct rqci_changes_answer {
    rqc_cursor next;
    bool up_to_date;
    rqci_frame frame; // a page
} rqci_changes_answer;

typedef struct rqci_ask_large {
    uint8_t entity, field;
    uint8_t id[16], hash[16];
    uint64_t offset, most;
} rqci_ask_large;

typedef struct rqci_write_answer {
    rqci_epoch epoch;
    uint64_t seq, written, skipped, deleted;
    bool visible, replayed;
} rqci_write_answer;

// One write of a transaction.
typedef struct rqci_asked_write {
    uint8_t kind, entity;
    uint64_t if_seq;
    uint8_t id[16];
    rqc_value row[RQCI_FIELD_MAX]; // values point into the message
} rqci_asked_write;

// ---- Writing: each appends one message; RQC_NO_MEMORY, RQC_TOO_LARGE (nothing is sent then) ----

rqc_err rqci_ask_hello(rqci_buf *out, const rqci_hello *h);
rqc_err rqci_ask_changes_put(rqci_buf *out, const rqci_ask_changes *a);
rqc_err rqci_ask_large_put(rqci_buf *out, const rqci_ask_large *a);
rqc_err rqci_ask_stats(rqci_buf *out);
rqc_err rqci_ask_buckets_put(rqci_buf *out, const rqci_ask_buckets *a);
// A transaction: begin, its writes, end. key_len 0: it has no idempotency key.
rqc_err rqci_ask_write_begin(rqci_buf *out, const void *key, size_t key_len);
rqc_err rqci_ask_write_add(rqci_buf *out, const rqci_asked_write *w);
void rqci_ask_write_end(rqci_buf *out, uint32_t count);

// Any answer: begin, what belongs to it, end.
rqc_err rqci_answer_begin(rqci_buf *out, rqc_err code);
void rqci_answer_end(rqci_buf *out);
// A whole one that tells a failure. `failed`: the write that was refused, UINT64_MAX: none. Where
// there is no memory for it the buffer is empty.
void rqci_answer_failure(rqci_buf *out, rqc_err code, uint64_t failed, const char *text);
rqc_err rqci_answer_hello(rqci_buf *out, const rqci_hello_answer *a);
rqc_err rqci_answer_write(rqci_buf *out, const rqci_write_answer *a);
rqc_err rqci_answer_bytes(rqci_buf *out, uint64_t total, const void *p, size_t n);
rqc_err rqci_answer_buckets(rqci_buf *out, const rqci_buckets_answer *a);
// The head of an answer to changes; a frame and rqci_answer_end follow.
rqc_err rqci_answer_changes_begin(rqci_buf *out, const rqc_cursor *next, bool up_to_date);

// ---- Reading: nothing is believed. RQC_CORRUPT, RQC_VERSION, RQC_INVALID ----

typedef struct rqci_message {
    uint32_t what;
    const uint8_t *body;
    size_t n;
} rqci_message;
rqc_err rqci_message_decode(const void *p, size_t n, uint32_t magic, rqci_message *ret_message,
                            rqci_errbuf *err);

rqc_err rqci_hello_decode(const rqci_message *m, rqci_hello *ret, rqci_errbuf *err);
rqc_err rqci_ask_changes_decode(const rqci_message *m, rqci_ask_changes *ret, rqci_errbuf *err);
rqc_err rqci_ask_buckets_decode(const rqci_message *m, rqci_ask_buckets *ret, rqci_errbuf *err);
rqc_err rqci_ask_large_decode(const rqci_message *m, rqci_ask_large *ret, rqci_errbuf *err);
// The idempotency key of a transaction, inside the message; *ret_len 0: it has none.
rqc_err rqci_ask_write_key(const rqci_message *m, const uint8_t **ret_key, size_t *ret_len,
                           rqci_errbuf *err);
// The writes of a transaction one by one; *offset begins at 0. RQC_NOT_FOUND at the end.
rqc_err rqci_ask_write_next(const rqci_message *m, size_t *offset, rqci_asked_write *ret,
                            rqci_errbuf *err);

// Answers: the failure that they tell is returned, its text in err; *ret_failed may be NULL.
rqc_err rqci_answer_check(const rqci_message *m, uint64_t *ret_failed, rqci_errbuf *err);
rqc_err rqci_hello_answer_decode(const rqci_message *m, rqci_hello_answer *ret, rqci_errbuf *err);
rqc_err rqci_changes_answer_decode(const rqci_message *m, rqci_changes_answer *ret,
                                   rqci_errbuf *err);
rqc_err rqci_write_answer_decode(const rqci_message *m, rqci_write_answer *ret, rqci_errbuf *err);
rqc_err rqci_buckets_answer_decode(const rqci_message *m, rqci_buckets_answer *ret,
                                   rqci_errbuf *err);
rqc_err rqci_bytes_answer_decode(const rqci_message *m, uint64_t *ret_total, const uint8_t **ret_p,
                                 size_t *ret_n, rqci_errbuf *err);

#endif
