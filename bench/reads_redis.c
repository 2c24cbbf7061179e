// SPDX-License-Identifier: Apache-2.0
//
// The same questions to Redis over a unix socket, the data as its users would model it: a hash for
// each record, sorted sets by time for pages, windows and deltas, a list for the children of a
// kind. Answers of several records are pipelined. The keys' first byte says what they are.
#include "bench/reads.h"

#ifdef RQC_BENCH_REDIS
#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEY = 17, PIPELINE = 1000, START_TRIES = 200, START_WAIT_US = 50000, ARGS = 64 };

enum {
    KEY_RECORD = 'r',  // hash of a record
    KEY_BASES = 'b',   // of a workspace: bases by time
    KEY_ALL = 'a',     // of a workspace: bases and deltas by time
    KEY_DELTAS = 'd',  // of a request: its deltas by time
    KEY_HEADERS = 'h', // of a request: list of its headers
    KEY_PARAMS = 'p',  // of a request: list of its params
};

struct reads_redis {
    pid_t pid;
    redisContext *c;
    unsigned waiting; // answers of a pipeline
    uint64_t empty;   // bytes of memory before there was data
};

// One command; the arguments are bytes.
struct command {
    int n;
    const char *arg[ARGS];
    size_t len[ARGS];
    char text[ARGS][32];
};

static void add(struct command *c, const void *p, size_t n)
{
    if (c->n == ARGS)
        floor_die("Redis", "too many arguments");
    c->arg[c->n] = p;
    c->len[c->n++] = n;
}

static void add_text(struct command *c, const char *text)
{
    add(c, text, strlen(text));
}

static void add_number(struct command *c, int64_t n)
{
    char *text = c->text[c->n];

    snprintf(text, sizeof c->text[0], "%lld", (long long)n);
    add_text(c, text);
}

static void add_key(struct command *c, char kind, const uint8_t *id)
{
    char *key = c->text[c->n];

    key[0] = kind;
    memcpy(key + 1, id, 16);
    add(c, key, KEY);
}

static void send(struct reads_redis *r, const struct command *c)
{
    if (redisAppendCommandArgv(r->c, c->n, (const char **)(uintptr_t)c->arg, c->len) != REDIS_OK)
        floor_die("Redis", r->c->errstr);
    r->waiting++;
}

// The next answer of a pipeline; free it with freeReplyObject.
static redisReply *answer(struct reads_redis *r)
{
    void *reply = NULL;

    if (redisGetReply(r->c, &reply) != REDIS_OK)
        floor_die("Redis", r->c->errstr);
    r->waiting--;
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        floor_die("Redis", ((redisReply *)reply)->str);
    return reply;
}

static void drain(struct reads_redis *r)
{
    while (r->waiting > 0)
        freeReplyObject(answer(r));
}

// ---- filling ------------------------------------------------------------------------------------

static void add_value(struct command *c, const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: add_number(c, v->u.i); break;
    case RQC_REAL:
        snprintf(c->text[c->n], sizeof c->text[0], "%g", v->u.d);
        add_text(c, c->text[c->n]);
        break;
    default: add(c, v->p, v->n); break;
    }
}

static void put_sorted(struct reads_redis *r, char kind, const uint8_t *of, int64_t time,
                       const uint8_t *id)
{
    struct command c = {.n = 0};

    add_text(&c, "ZADD");
    add_key(&c, kind, of);
    add_number(&c, time);
    add(&c, id, 16);
    send(r, &c);
}

static void put_row(void *ctx, const struct bench_row *row)
{
    struct reads_redis *r = ctx;
    struct command c = {.n = 0};
    const char *name;

    add_text(&c, "HSET");
    add_key(&c, KEY_RECORD, row->id);
    for (int i = 0; (name = rqc_field_name(row->entity, i)) != NULL; i++) {
        if (row->value[i].type == RQC_NULL)
            continue;
        add_text(&c, name);
        add_value(&c, &row->value[i]);
    }
    send(r, &c);
    if (row->entity == RQC_HTTP) {
        const int64_t time = row->value[RQC_HTTP_UPDATED_AT].u.i;
        const bool delta = row->value[RQC_HTTP_IS_DELTA].u.i != 0;
        put_sorted(r, KEY_ALL, row->owner, time, row->id);
        put_sorted(r, delta ? KEY_DELTAS : KEY_BASES, delta ? row->parent : row->owner, time,
                   row->id);
    } else if (row->entity != RQC_WORKSPACES) {
        struct command list = {.n = 0};
        add_text(&list, "RPUSH");
        add_key(&list, row->entity == RQC_HTTP_HEADER ? KEY_HEADERS : KEY_PARAMS, row->owner);
        add(&list, row->id, 16);
        send(r, &list);
    }
    if (r->waiting >= PIPELINE)
        drain(r);
}

static uint64_t used_memory(struct reads_redis *r)
{
    struct command c = {.n = 0};
    uint64_t bytes = 0;

    add_text(&c, "INFO");
    add_text(&c, "memory");
    send(r, &c);
    redisReply *reply = answer(r);
    const char *at = strstr(reply->str, "used_memory:");
    if (at != NULL)
        bytes = strtoull(at + strlen("used_memory:"), NULL, 10);
    freeReplyObject(reply);
    return bytes;
}

uint64_t reads_redis_bytes(struct reads_redis *r)
{
    return used_memory(r) - r->empty;
}

struct reads_redis *reads_redis_start(const struct bench_data *d, const char *dir)
{
    struct reads_redis *r = floor_alloc(1, sizeof *r);
    char path[512];
    const char *argv[] = {"redis-server", "--port", "0",         "--unixsocket", path, "--save", "",
                          "--dir",        dir,      "--logfile", "/dev/null",    NULL};

    snprintf(path, sizeof path, "%s/redis.sock", dir);
    fflush(stdout);
    r->pid = fork();
    if (r->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // whatever becomes of us
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    for (int i = 0, status; i < START_TRIES && (r->c == NULL || r->c->err != 0); i++) {
        if (waitpid(r->pid, &status, WNOHANG) != 0)
            break;
        if (r->c != NULL)
            redisFree(r->c);
        (void)usleep(START_WAIT_US);
        r->c = redisConnectUnix(path);
    }
    if (r->c == NULL || r->c->err != 0) {
        printf("Redis SKIPPED: redis-server does not start\n");
        reads_redis_stop(r);
        return NULL;
    }
    r->empty = used_memory(r);
    bench_each_row(d, put_row, r);
    drain(r);
    return r;
}

void reads_redis_stop(struct reads_redis *r)
{
    int status;

    if (r == NULL)
        return;
    if (r->c != NULL)
        redisFree(r->c);
    (void)kill(r->pid, SIGKILL); // there is nothing to save
    (void)waitpid(r->pid, &status, 0);
    free(r);
}

// ---- reading ------------------------------------------------------------------------------------

static void ask_record(struct reads_redis *r, const void *id)
{
    struct command c = {.n = 0};

    add_text(&c, "HGETALL");
    add_key(&c, KEY_RECORD, id);
    send(r, &c);
}

// Reads a record as a program would that needs its fields: by name.
static void take_record(struct reads_redis *r, const void *id, read_tally *t)
{
    redisReply *reply = answer(r);
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
    struct command c = {.n = 0};

    add_text(&c, "LRANGE");
    add_key(&c, kind, id);
    add_text(&c, "0");
    add_text(&c, "-1");
    send(r, &c);
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
        list[i] = answer(r);
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
    struct command c = {.n = 0};

    add_text(&c, "ZRANGEBYSCORE");
    add_key(&c, kind, of);
    snprintf(c.text[c.n], sizeof c.text[0], "(%lld", (long long)t->since);
    add_text(&c, c.text[c.n]);
    add_number(&c, t->until);
    send(r, &c);
    redisReply *ids = answer(r);
    take_list(r, ids, tally);
    freeReplyObject(ids);
}

static void page(struct reads_redis *r, const struct read_target *t, read_tally *tally)
{
    struct command c = {.n = 0};

    add_text(&c, "ZREVRANGEBYSCORE");
    add_key(&c, KEY_BASES, t->ws_id);
    if (t->until == RQC_ANY_TIME)
        add_text(&c, "+inf");
    else
        add_number(&c, t->until);
    add_text(&c, "-inf");
    add_text(&c, "LIMIT");
    add_text(&c, "0");
    add_number(&c, READ_PAGE);
    send(r, &c);
    redisReply *ids = answer(r);
    take_list(r, ids, tally);
    freeReplyObject(ids);
}

static void chain(struct reads_redis *r, const uint8_t *base, read_tally *tally)
{
    uint8_t id[16];
    bool more = true;

    memcpy(id, base, sizeof id);
    while (more) {
        struct command c = {.n = 0};
        add_text(&c, "ZREVRANGE");
        add_key(&c, KEY_DELTAS, id);
        add_text(&c, "0");
        add_text(&c, "0");
        ask_record(r, id);
        send(r, &c);
        take_record(r, id, tally);
        redisReply *next = answer(r);
        more = next->elements > 0;
        if (more)
            memcpy(id, next->element[0]->str, sizeof id);
        freeReplyObject(next);
    }
}

static uint64_t number_of(struct reads_redis *r)
{
    redisReply *reply = answer(r);
    const uint64_t n = reply->type == REDIS_REPLY_INTEGER
                           ? (uint64_t)reply->integer
                           : strtoull(reply->element[1]->str, NULL, 10); // id, score

    freeReplyObject(reply);
    return n;
}

static void metrics(struct reads_redis *r, const struct read_target *t, read_tally *tally)
{
    static const char *const ends[2] = {"ZRANGE", "ZREVRANGE"};
    struct command all = {.n = 0}, recent = {.n = 0};

    add_text(&all, "ZCARD");
    add_key(&all, KEY_ALL, t->ws_id);
    send(r, &all);
    add_text(&recent, "ZCOUNT");
    add_key(&recent, KEY_ALL, t->ws_id);
    snprintf(recent.text[recent.n], sizeof recent.text[0], "(%lld", (long long)t->since);
    add_text(&recent, recent.text[recent.n]);
    add_text(&recent, "+inf");
    send(r, &recent);
    for (int i = 0; i < 2; i++) {
        struct command c = {.n = 0};
        add_text(&c, ends[i]);
        add_key(&c, KEY_ALL, t->ws_id);
        add_text(&c, "0");
        add_text(&c, "0");
        add_text(&c, "WITHSCORES");
        send(r, &c);
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
    struct command c = {.n = 0};

    add_text(&c, "ZCARD");
    add_key(&c, KEY_BASES, ws);
    send(r, &c);
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
