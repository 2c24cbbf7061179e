// SPDX-License-Identifier: Apache-2.0
//
// The same questions to Redis over a unix socket. Answers of several records are pipelined.
#include "bench/reads.h"

#ifdef RQC_BENCH_REDIS
#include "bench/bench_redis.h"

#include <stdlib.h>
#include <string.h>

struct reads_redis {
    struct redis_server server;
    struct redis_client *c;
    uint64_t empty; // bytes of memory before there was data
};

static void put(void *ctx, const struct bench_row *row)
{
    struct reads_redis *r = ctx;

    redis_put_row(r->c, row, false);
    if (r->c->waiting >= REDIS_PIPELINE)
        redis_drain(r->c);
}

uint64_t reads_redis_bytes(struct reads_redis *r)
{
    return redis_memory(r->c) - r->empty;
}

void reads_redis_version(struct reads_redis *r, char *text, size_t size)
{
    redis_version(r->c, text, size);
}

struct reads_redis *reads_redis_start(const struct bench_data *d, const char *dir)
{
    static const char *const options[] = {NULL};
    struct reads_redis *r = floor_alloc(1, sizeof *r);
    char path[320];

    snprintf(path, sizeof path, "%s/redis.sock", dir);
    if (!redis_start(&r->server, path, dir, options)) {
        free(r);
        return NULL;
    }
    r->c = redis_connect(&r->server);
    r->empty = redis_memory(r->c);
    bench_each_row(d, put, r);
    redis_drain(r->c);
    return r;
}

void reads_redis_stop(struct reads_redis *r)
{
    if (r == NULL)
        return;
    redis_disconnect(r->c);
    redis_stop(&r->server);
    free(r);
}

// ---- reading ------------------------------------------------------------------------------------

static void ask_record(struct reads_redis *r, const void *id)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "HGETALL");
    redis_add_key(&c, KEY_RECORD, id);
    redis_send(r->c, &c);
}

// Reads a record as a program would that needs its fields: by name.
static void take_record(struct reads_redis *r, const void *id, read_tally *t)
{
    redisReply *reply = redis_answer(r->c);
    uint64_t word;

    memcpy(&word, (const uint8_t *)id + 8, sizeof word);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];
        if (strcmp(name->str, "updated_at") == 0)
            t->times += strtoull(value->str, NULL, 10);
        else
            t->rest += (uint8_t)value->str[0] + value->len;
    }
    t->ids += word;
    t->count++;
    freeReplyObject(reply);
}

// The records of a list of ids, in one pipeline.
static void take_list(struct reads_redis *r, const redisReply *ids, read_tally *t)
{
    for (size_t i = 0; i < ids->elements; i++)
        ask_record(r, ids->element[i]->str);
    for (size_t i = 0; i < ids->elements; i++)
        take_record(r, ids->element[i]->str, t);
}

static void ask_list(struct reads_redis *r, char kind, const uint8_t *id)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "LRANGE");
    redis_add_key(&c, kind, id);
    redis_add_text(&c, "0");
    redis_add_text(&c, "-1");
    redis_send(r->c, &c);
}

// Children of n requests: all lists in one pipeline, all records in a second one.
static void children(struct reads_redis *r, const struct read_target *t, const char *kinds,
                     read_tally *tally)
{
    redisReply *list[2 * READ_IDS];
    const unsigned n = t->n * (unsigned)strlen(kinds);

    for (const char *kind = kinds; *kind != '\0'; kind++) {
        for (uint32_t i = 0; i < t->n; i++)
            ask_list(r, *kind, t->id[i]);
    }
    for (unsigned i = 0; i < n; i++)
        list[i] = redis_answer(r->c);
    for (unsigned i = 0; i < n; i++) {
        for (size_t k = 0; k < list[i]->elements; k++)
            ask_record(r, list[i]->element[k]->str);
    }
    for (unsigned i = 0; i < n; i++) {
        for (size_t k = 0; k < list[i]->elements; k++)
            take_record(r, list[i]->element[k]->str, tally);
        freeReplyObject(list[i]);
    }
}

static void window(struct reads_redis *r, char kind, const uint8_t *of, const struct read_target *t,
                   read_tally *tally)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "ZRANGEBYSCORE");
    redis_add_key(&c, kind, of);
    snprintf(c.text[c.n], sizeof c.text[0], "(%lld", (long long)t->since);
    redis_add_text(&c, c.text[c.n]);
    redis_add_number(&c, t->until);
    redis_send(r->c, &c);
    redisReply *ids = redis_answer(r->c);
    take_list(r, ids, tally);
    freeReplyObject(ids);
}

static void page(struct reads_redis *r, const struct read_target *t, read_tally *tally)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "ZREVRANGEBYSCORE");
    redis_add_key(&c, KEY_BASES, t->ws_id);
    if (t->until == RQC_ANY_TIME)
        redis_add_text(&c, "+inf");
    else
        redis_add_number(&c, t->until);
    redis_add_text(&c, "-inf");
    redis_add_text(&c, "LIMIT");
    redis_add_text(&c, "0");
    redis_add_number(&c, READ_PAGE);
    redis_send(r->c, &c);
    redisReply *ids = redis_answer(r->c);
    take_list(r, ids, tally);
    freeReplyObject(ids);
}

static void chain(struct reads_redis *r, const uint8_t *base, read_tally *tally)
{
    uint8_t id[16];
    bool more = true;

    memcpy(id, base, sizeof id);
    while (more) {
        struct redis_command c = {.n = 0};
        redis_add_text(&c, "ZREVRANGE");
        redis_add_key(&c, KEY_DELTAS, id);
        redis_add_text(&c, "0");
        redis_add_text(&c, "0");
        ask_record(r, id);
        redis_send(r->c, &c);
        take_record(r, id, tally);
        redisReply *next = redis_answer(r->c);
        more = next->elements > 0;
        if (more)
            memcpy(id, next->element[0]->str, sizeof id);
        freeReplyObject(next);
    }
}

static uint64_t number_of(struct reads_redis *r)
{
    redisReply *reply = redis_answer(r->c);
    const uint64_t n = reply->type == REDIS_REPLY_INTEGER
                           ? (uint64_t)reply->integer
                           : strtoull(reply->element[1]->str, NULL, 10); // id, score

    freeReplyObject(reply);
    return n;
}

static void metrics(struct reads_redis *r, const struct read_target *t, read_tally *tally)
{
    static const char *const ends[2] = {"ZRANGE", "ZREVRANGE"};
    struct redis_command all = {.n = 0}, recent = {.n = 0};

    redis_add_text(&all, "ZCARD");
    redis_add_key(&all, KEY_ALL, t->ws_id);
    redis_send(r->c, &all);
    redis_add_text(&recent, "ZCOUNT");
    redis_add_key(&recent, KEY_ALL, t->ws_id);
    snprintf(recent.text[recent.n], sizeof recent.text[0], "(%lld", (long long)t->since);
    redis_add_text(&recent, recent.text[recent.n]);
    redis_add_text(&recent, "+inf");
    redis_send(r->c, &recent);
    for (int i = 0; i < 2; i++) {
        struct redis_command c = {.n = 0};
        redis_add_text(&c, ends[i]);
        redis_add_key(&c, KEY_ALL, t->ws_id);
        redis_add_text(&c, "0");
        redis_add_text(&c, "0");
        redis_add_text(&c, "WITHSCORES");
        redis_send(r->c, &c);
    }
    tally->count += number_of(r);
    tally->ids += number_of(r);
    tally->times += number_of(r);
    tally->times += number_of(r);
}

bool reads_redis_can(void *redis, enum read_op op)
{
    return redis != NULL && op != OP_BEGIN && op != OP_CHANGES;
}

static void count(struct reads_redis *r, const uint8_t *ws, read_tally *tally)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "ZCARD");
    redis_add_key(&c, KEY_BASES, ws);
    redis_send(r->c, &c);
    tally->count += number_of(r);
}

void reads_redis_run(void *redis, enum read_op op, const struct read_target *t, read_tally *tally)
{
    struct reads_redis *r = redis;

    switch (op) {
    case OP_GET:
        ask_record(r, t->id[0]);
        take_record(r, t->id[0], tally);
        break;
    case OP_PAGE_FIRST:
    case OP_PAGE_MIDDLE: page(r, t, tally); break;
    case OP_COUNT: count(r, t->ws_id, tally); break;
    case OP_HEADERS_NEWEST:
    case OP_HEADERS_RANDOM: children(r, t, "h", tally); break;
    case OP_CHILDREN: children(r, t, "hp", tally); break;
    case OP_RESOLVE:
        for (int i = 0; i < 2; i++)
            ask_record(r, t->id[i]);
        for (int i = 0; i < 2; i++)
            take_record(r, t->id[i], tally);
        children(r, t, "hp", tally);
        break;
    case OP_CHAIN: chain(r, t->id[0], tally); break;
    case OP_UPDATES: window(r, KEY_ALL, t->ws_id, t, tally); break;
    case OP_DELTAS: window(r, KEY_DELTAS, t->id[0], t, tally); break;
    case OP_METRICS: metrics(r, t, tally); break;
    case OP_BEGIN:
    case OP_CHANGES:
    case OP_COUNT_OF_OPS: break;
    }
}

#else // built without hiredis

struct reads_redis *reads_redis_start(const struct bench_data *d, const char *dir)
{
    (void)d;
    (void)dir;
    printf("Redis SKIPPED: built without hiredis\n");
    return NULL;
}

void reads_redis_stop(struct reads_redis *r)
{
    (void)r;
}

uint64_t reads_redis_bytes(struct reads_redis *r)
{
    (void)r;
    return 0;
}

void reads_redis_version(struct reads_redis *r, char *text, size_t size)
{
    (void)r;
    (void)text;
    (void)size;
}

bool reads_redis_can(void *redis, enum read_op op)
{
    (void)redis;
    (void)op;
    return false;
}

void reads_redis_run(void *redis, enum read_op op, const struct read_target *t, read_tally *tally)
{
    (void)redis;
    (void)op;
    (void)t;
    (void)tally;
}
#endif
