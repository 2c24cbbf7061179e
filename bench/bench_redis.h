// SPDX-License-Identifier: Apache-2.0
//
// Redis for the benchmarks: a server of our own behind a unix socket, and the rows as its users
// would model them: a hash for each record, sorted sets by time for pages, windows and deltas, a
// list for the children of a kind. The keys' first byte says what they are. Only where hiredis is.
#ifndef RQC_BENCH_REDIS_H
#define RQC_BENCH_REDIS_H

#include "bench/bench.h"

#include <hiredis/hiredis.h>

enum { REDIS_KEY = 17, REDIS_ARGS = 64, REDIS_PIPELINE = 1000 };

enum {
    KEY_RECORD = 'r',  // hash of a record
    KEY_BASES = 'b',   // of a workspace: bases by time
    KEY_ALL = 'a',     // of a workspace: bases and deltas by time
    KEY_DELTAS = 'd',  // of a request: its deltas by time
    KEY_HEADERS = 'h', // of a request: list of its headers
    KEY_PARAMS = 'p',  // of a request: list of its params
};

struct redis_server {
    pid_t pid;
    char socket[512];
};

// One connection; one thread at a time.
struct redis_client {
    redisContext *c;
    unsigned waiting; // answers of a pipeline
};

// One command; the arguments are bytes, which it does not own.
struct redis_command {
    int n;
    const char *arg[REDIS_ARGS];
    size_t len[REDIS_ARGS];
    char text[REDIS_ARGS][32];
};

// Starts a server behind `socket` (a short, whole path) that keeps its files in `dir`, with these
// options (NULL behind the last). false, after it said why, where there is none.
bool redis_start(struct redis_server *s, const char *socket, const char *dir,
                 const char *const *options);
void redis_stop(struct redis_server *s);
struct redis_client *redis_connect(const struct redis_server *s);
void redis_disconnect(struct redis_client *c); // NULL is fine
uint64_t redis_memory(struct redis_client *c); // bytes that its data takes
// Its version, "" when it does not say.
void redis_version(struct redis_client *c, char *text, size_t size);

void redis_add(struct redis_command *c, const void *p, size_t n);
void redis_add_text(struct redis_command *c, const char *text);
void redis_add_number(struct redis_command *c, int64_t n);
void redis_add_key(struct redis_command *c, char kind, const uint8_t *id);
void redis_send(struct redis_client *r, const struct redis_command *c);
void redis_word(struct redis_client *r, const char *word); // a command without arguments
// The next answer of a pipeline; free it with freeReplyObject. An error ends the program.
redisReply *redis_answer(struct redis_client *r);
void redis_drain(struct redis_client *r);

// Sends a row with its entries in sorted sets and lists; `again`: it is in the lists already.
void redis_put_row(struct redis_client *r, const struct bench_row *row, bool again);

#endif
