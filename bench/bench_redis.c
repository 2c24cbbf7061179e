// SPDX-License-Identifier: Apache-2.0
//
// A Redis server of our own, and the rows in it.
#include "bench/bench.h"

#ifdef RQC_BENCH_REDIS
#include "bench/bench_redis.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_TRIES = 200, START_WAIT_US = 50000, OPTIONS_MAX = 16 };

void redis_add(struct redis_command *c, const void *p, size_t n)
{
    if (c->n == REDIS_ARGS)
        floor_die("Redis", "too many arguments");
    c->arg[c->n] = p;
    c->len[c->n++] = n;
}

void redis_add_text(struct redis_command *c, const char *text)
{
    redis_add(c, text, strlen(text));
}

void redis_add_number(struct redis_command *c, int64_t n)
{
    char *text = c->text[c->n];

    snprintf(text, sizeof c->text[0], "%lld", (long long)n);
    redis_add_text(c, text);
}

void redis_add_key(struct redis_command *c, char kind, const uint8_t *id)
{
    char *key = c->text[c->n];

    key[0] = kind;
    memcpy(key + 1, id, 16);
    redis_add(c, key, REDIS_KEY);
}

void redis_send(struct redis_client *r, const struct redis_command *c)
{
    if (redisAppendCommandArgv(r->c, c->n, (const char **)(uintptr_t)c->arg, c->len) != REDIS_OK)
        floor_die("Redis", r->c->errstr);
    r->waiting++;
}

void redis_word(struct redis_client *r, const char *word)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, word);
    redis_send(r, &c);
}

redisReply *redis_answer(struct redis_client *r)
{
    void *reply = NULL;

    if (redisGetReply(r->c, &reply) != REDIS_OK)
        floor_die("Redis", r->c->errstr);
    r->waiting--;
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        floor_die("Redis", ((redisReply *)reply)->str);
    return reply;
}

void redis_drain(struct redis_client *r)
{
    while (r->waiting > 0)
        freeReplyObject(redis_answer(r));
}

// ---- rows ---------------------------------------------------------------------------------------

static void add_value(struct redis_command *c, const rqc_value *v)
{
    switch (v->type) {
    case RQC_INT:
    case RQC_BOOL: redis_add_number(c, v->u.i); break;
    case RQC_REAL:
        snprintf(c->text[c->n], sizeof c->text[0], "%g", v->u.d);
        redis_add_text(c, c->text[c->n]);
        break;
    default: redis_add(c, v->p, v->n); break;
    }
}

static void put_sorted(struct redis_client *r, char kind, const uint8_t *of, int64_t time,
                       const uint8_t *id)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "ZADD");
    redis_add_key(&c, kind, of);
    redis_add_number(&c, time);
    redis_add(&c, id, 16);
    redis_send(r, &c);
}

void redis_put_row(struct redis_client *r, const struct bench_row *row, bool again)
{
    struct redis_command c = {.n = 0};
    const char *name;

    redis_add_text(&c, "HSET");
    redis_add_key(&c, KEY_RECORD, row->id);
    for (int i = 0; (name = rqc_field_name(row->entity, i)) != NULL; i++) {
        if (row->value[i].type == RQC_NULL)
            continue;
        redis_add_text(&c, name);
        add_value(&c, &row->value[i]);
    }
    redis_send(r, &c);
    if (row->entity == RQC_HTTP) {
        const int64_t time = row->value[RQC_HTTP_UPDATED_AT].u.i;
        const bool delta = row->value[RQC_HTTP_IS_DELTA].u.i != 0;
        put_sorted(r, KEY_ALL, row->owner, time, row->id);
        put_sorted(r, delta ? KEY_DELTAS : KEY_BASES, delta ? row->parent : row->owner, time,
                   row->id);
    } else if (row->entity != RQC_WORKSPACES && !again) {
        struct redis_command list = {.n = 0};
        redis_add_text(&list, "RPUSH");
        redis_add_key(&list, row->entity == RQC_HTTP_HEADER ? KEY_HEADERS : KEY_PARAMS, row->owner);
        redis_add(&list, row->id, 16);
        redis_send(r, &list);
    }
}

// ---- the server ---------------------------------------------------------------------------------

// What INFO says of a field, up to its line's end.
static void info(struct redis_client *r, const char *section, const char *field, char *text,
                 size_t size)
{
    struct redis_command c = {.n = 0};

    redis_add_text(&c, "INFO");
    redis_add_text(&c, section);
    redis_send(r, &c);
    redisReply *reply = redis_answer(r);
    const char *at = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, field) : NULL;
    snprintf(text, size, "%s", at != NULL ? at + strlen(field) : "");
    text[strcspn(text, "\r\n")] = '\0';
    freeReplyObject(reply);
}

uint64_t redis_memory(struct redis_client *c)
{
    char text[64];

    info(c, "memory", "used_memory:", text, sizeof text);
    return strtoull(text, NULL, 10);
}

void redis_version(struct redis_client *c, char *text, size_t size)
{
    info(c, "server", "redis_version:", text, size);
}

static void run_server(const struct redis_server *s, const char *dir, const char *const *options)
{
    const char *argv[12 + OPTIONS_MAX] = {
        "redis-server", "--port", "0",         "--unixsocket", s->socket, "--save", "",
        "--dir",        dir,      "--logfile", "/dev/null"};
    int n = 11;

    for (; *options != NULL; options++)
        argv[n++] = *options;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // whatever becomes of us
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

bool redis_start(struct redis_server *s, const char *socket, const char *dir,
                 const char *const *options)
{
    redisContext *c = NULL;

    snprintf(s->socket, sizeof s->socket, "%s", socket);
    fflush(stdout);
    s->pid = fork();
    if (s->pid == 0)
        run_server(s, dir, options);
    for (int i = 0, status; i < START_TRIES && (c == NULL || c->err != 0); i++) {
        if (waitpid(s->pid, &status, WNOHANG) != 0) {
            s->pid = 0;
            break;
        }
        if (c != NULL)
            redisFree(c);
        (void)usleep(START_WAIT_US);
        c = redisConnectUnix(s->socket);
    }
    const bool runs = s->pid > 0 && c != NULL && c->err == 0;
    if (c != NULL)
        redisFree(c);
    if (!runs) {
        printf("Redis SKIPPED: redis-server does not start\n");
        redis_stop(s);
    }
    return runs;
}

void redis_stop(struct redis_server *s)
{
    int status;

    if (s->pid <= 0)
        return;
    (void)kill(s->pid, SIGKILL); // there is nothing to save
    (void)waitpid(s->pid, &status, 0);
    s->pid = 0;
}

struct redis_client *redis_connect(const struct redis_server *s)
{
    struct redis_client *r = floor_alloc(1, sizeof *r);

    r->c = redisConnectUnix(s->socket);
    if (r->c == NULL || r->c->err != 0)
        floor_die("Redis", r->c != NULL ? r->c->errstr : "out of memory");
    return r;
}

void redis_disconnect(struct redis_client *c)
{
    if (c == NULL)
        return;
    redisFree(c->c);
    free(c);
}
#else
typedef int bench_redis_is_left_out; // a file of C is not empty
#endif
