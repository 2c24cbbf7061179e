// SPDX-License-Identifier: Apache-2.0
//
// Durable writes to Redis: a transaction is MULTI … EXEC in one pipeline, in front of an
// append-only file. The file is not rewritten meanwhile, which is to Redis' advantage.
#include "bench/writes.h"

#ifdef RQC_BENCH_REDIS
#include "bench/bench_redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SERVERS = 2 };

struct writes_redis {
    struct redis_server server[SERVERS];
};

static void put(void *ctx, const struct bench_row *row)
{
    struct redis_client *c = ctx;

    redis_put_row(c, row, false);
    if (c->waiting >= REDIS_PIPELINE)
        redis_drain(c);
}

static bool start(struct writes *w, struct redis_server *s, const char *dir, const char *policy)
{
    const char *options[] = {
        "--appendonly", "yes", "--appendfsync", policy, "--auto-aof-rewrite-percentage", "0", NULL};
    char folder[320], path[320];

    snprintf(path, sizeof path, "%s/%s.sock", w->memory, policy);
    snprintf(folder, sizeof folder, "%s/%s", dir, policy);
    if (mkdir(folder, 0700) != 0)
        floor_die(folder, strerror(errno));
    if (!redis_start(s, path, folder, options))
        return false;
    struct redis_client *c = redis_connect(s);
    redis_version(c, w->report.redis, sizeof w->report.redis);
    bench_each_row(&w->data, put, c);
    redis_drain(c);
    redis_disconnect(c);
    return true;
}

struct writes_redis *writes_redis_start(struct writes *w, const char *dir)
{
    struct writes_redis *r = floor_alloc(1, sizeof *r);

    if (start(w, &r->server[0], dir, "always") && start(w, &r->server[1], dir, "everysec"))
        return r;
    writes_redis_stop(r);
    return NULL;
}

void writes_redis_stop(struct writes_redis *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < SERVERS; i++)
        redis_stop(&r->server[i]);
    free(r);
}

struct redis_client *writes_redis_connect(struct writes_redis *r, enum writes_who who)
{
    return redis_connect(&r->server[who == WRITES_REDIS_ALWAYS ? 0 : 1]);
}

void writes_redis_disconnect(struct redis_client *c)
{
    redis_disconnect(c);
}

void writes_redis_commit(struct redis_client *c, const struct bench_row *rows, unsigned n,
                         bool again)
{
    redis_word(c, "MULTI");
    for (unsigned i = 0; i < n; i++)
        redis_put_row(c, &rows[i], again);
    redis_word(c, "EXEC");
    while (c->waiting > 1)
        freeReplyObject(redis_answer(c));
    redisReply *reply = redis_answer(c);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < n)
        floor_die("Redis", "EXEC did not do all");
    freeReplyObject(reply);
}

#else // built without hiredis

struct writes_redis *writes_redis_start(struct writes *w, const char *dir)
{
    (void)w;
    (void)dir;
    printf("Redis SKIPPED: built without hiredis\n");
    return NULL;
}

void writes_redis_stop(struct writes_redis *r)
{
    (void)r;
}

struct redis_client *writes_redis_connect(struct writes_redis *r, enum writes_who who)
{
    (void)r;
    (void)who;
    return NULL;
}

void writes_redis_disconnect(struct redis_client *c)
{
    (void)c;
}

void writes_redis_commit(struct redis_client *c, const struct bench_row *rows, unsigned n,
                         bool again)
{
    (void)c;
    (void)rows;
    (void)n;
    (void)again;
}
#endif
