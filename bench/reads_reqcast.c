// SPDX-License-Identifier: Apache-2.0
//
// The operations through the public API: a session for each, and each record of the answer read.
#include "bench/reads.h"
#include "record/record.h"

#include <stdlib.h>
#include <string.h>

struct reads_session {
    rqc_read *read;
    uint32_t limit;
    const rqc_record *one;
    rqc_list list[2];
    rqc_changes_list changes;
    rqc_resolved resolved;
    uint64_t count;
    rqc_metrics metrics;
    // Of reads_copy():
    uint8_t *from, *to;
    size_t used, room;
};

int read_text_field(unsigned entity)
{
    switch (entity) {
    case RQC_HTTP: return RQC_HTTP_URL;
    case RQC_HTTP_HEADER: return RQC_HTTP_HEADER_HEADER_VALUE;
    case RQC_HTTP_SEARCH_PARAM: return RQC_HTTP_SEARCH_PARAM_VALUE;
    default: return RQC_WORKSPACES_NAME;
    }
}

struct reads_session *reads_session_new(rqc_db *db)
{
    struct reads_session *s = floor_alloc(1, sizeof *s);
    rqc_error err = {RQC_OK, ""};

    s->limit = READ_PAGE;
    s->resolved = (rqc_resolved)RQC_RESOLVED_INIT;
    bench_check(rqc_read_new(db, &s->read, &err), "rqc_read_new", err.text);
    return s;
}

void reads_session_free(struct reads_session *s)
{
    if (s == NULL)
        return;
    rqc_read_free(s->read);
    rqc_list_free(&s->list[0]);
    rqc_list_free(&s->list[1]);
    rqc_changes_free(&s->changes);
    rqc_resolved_free(&s->resolved);
    free(s->from);
    free(s->to);
    free(s);
}

void reads_session_limit(struct reads_session *s, uint32_t n)
{
    s->limit = n;
}

static void ask(struct reads_session *s, enum read_op op, const struct read_target *t)
{
    rqc_read *r = s->read;
    rqc_err rc = RQC_OK;
    rqc_cursor cursor = t->cursor;
    int up_to_date;

    switch (op) {
    case OP_BEGIN: break;
    case OP_GET: rc = rqc_get(r, RQC_HTTP, t->id[0], &s->one); break;
    case OP_PAGE_FIRST:
    case OP_PAGE_MIDDLE:
        rc = rqc_page(r, t->ws_id, t->until, NULL, s->limit, NULL, &s->list[0]);
        break;
    case OP_COUNT: rc = rqc_count(r, t->ws_id, RQC_ANY_TIME, &s->count); break;
    case OP_CHILDREN:
        rc = rqc_children(r, RQC_HTTP_SEARCH_PARAM, t->id, t->n, RQC_ANY_TIME, 0, &s->list[1]);
        if (rc != RQC_OK)
            break;
        /* fall through */
    case OP_HEADERS_NEWEST:
    case OP_HEADERS_RANDOM:
        rc = rqc_children(r, RQC_HTTP_HEADER, t->id, t->n, RQC_ANY_TIME, 0, &s->list[0]);
        break;
    case OP_CHANGES:
        rc = rqc_changes(r, t->ws_id, &cursor, READ_CHANGES, &s->changes, &up_to_date);
        break;
    case OP_RESOLVE: rc = rqc_resolve(r, t->id[0], t->id[1], &s->resolved); break;
    case OP_CHAIN: rc = rqc_chain(r, t->id[0], RQC_ANY_TIME, &s->list[0]); break;
    case OP_UPDATES:
        rc = rqc_updates(r, t->ws_id, t->since, t->until, NULL, RQC_PAGE_MAX, NULL, &s->list[0]);
        break;
    case OP_DELTAS: rc = rqc_deltas(r, t->id, t->n, t->since, t->until, &s->list[0]); break;
    case OP_METRICS: rc = rqc_metrics_read(r, t->ws_id, t->since, &s->metrics); break;
    case OP_COUNT_OF_OPS: break;
    }
    bench_check(rc, read_ops[op].name, rqc_read_error(r));
}

static inline __attribute__((always_inline)) void
each_item(const rqc_item *m, void (*fn)(void *ctx, const rqc_record *r), void *ctx)
{
    if (m->record != NULL)
        fn(ctx, m->record);
    for (uint32_t i = 0; i < m->nover; i++)
        fn(ctx, m->over[i]);
}

// Calls fn for each record of the answer.
static inline __attribute__((always_inline)) void
each_record(const struct reads_session *s, enum read_op op,
            void (*fn)(void *ctx, const rqc_record *r), void *ctx)
{
    if (op == OP_GET) {
        fn(ctx, s->one);
    } else if (op == OP_CHANGES) {
        for (size_t i = 0; i < s->changes.n; i++)
            fn(ctx, s->changes.items[i].record);
    } else if (op == OP_RESOLVE) {
        const rqc_resolved *m = &s->resolved;
        const rqc_items *of[] = {&m->headers, &m->params, &m->form, &m->urlencoded, &m->asserts};
        each_item(&m->http, fn, ctx);
        for (size_t k = 0; k < sizeof of / sizeof of[0]; k++) {
            for (size_t i = 0; i < of[k]->n; i++)
                each_item(&of[k]->items[i], fn, ctx);
        }
    } else if (op != OP_BEGIN && op != OP_COUNT && op != OP_METRICS) {
        for (size_t i = 0; i < s->list[0].n; i++)
            fn(ctx, s->list[0].items[i]);
        for (size_t i = 0; i < s->list[1].n && op == OP_CHILDREN; i++)
            fn(ctx, s->list[1].items[i]);
    }
}

static void touch(void *ctx, const rqc_record *r)
{
    read_tally *t = ctx;
    const rqc_value text = rqc_field(r, read_text_field(rqc_record_entity(r)));
    uint64_t word;

    memcpy(&word, rqc_record_id(r) + 8, sizeof word);
    t->count++;
    t->ids += word;
    t->times += (uint64_t)rqc_record_updated(r);
    t->rest += text.n + *(const uint8_t *)text.p;
}

void reads_session_run(void *session, enum read_op op, const struct read_target *t,
                       read_tally *tally)
{
    struct reads_session *s = session;

    bench_check(rqc_read_begin(s->read), "rqc_read_begin", rqc_read_error(s->read));
    ask(s, op, t);
    each_record(s, op, touch, tally);
    if (op == OP_COUNT)
        tally->count += s->count;
    if (op == OP_METRICS) {
        tally->count += s->metrics.total;
        tally->ids += s->metrics.recent;
        tally->times += (uint64_t)(s->metrics.latest + s->metrics.earliest);
    }
    rqc_read_end(s->read);
}

void reads_find_positions(rqc_db *db, struct read_target *targets, unsigned n)
{
    rqc_read *r = NULL;
    rqc_error err = {RQC_OK, ""};

    bench_check(rqc_read_new(db, &r, &err), "rqc_read_new", err.text);
    bench_check(rqc_read_begin(r), "rqc_read_begin", rqc_read_error(r));
    for (unsigned i = 0; i < n; i++) {
        struct read_target *t = &targets[i];
        const rqc_record *record;
        bench_check(rqc_get(r, RQC_HTTP, t->id[0], &record), "rqc_get", rqc_read_error(r));
        t->cursor = (rqc_cursor){.seq = rqc_record_seq(record),
                                 .entity = RQC_HTTP,
                                 .started = rqc_read_position(r).seq};
        memcpy(t->cursor.id, t->id[0], 16);
    }
    rqc_read_free(r);
}

// ---- memcpy -------------------------------------------------------------------------------------

static void append(void *ctx, const rqc_record *r)
{
    struct reads_session *s = ctx;
    size_t n = rqci_rec_size(r);

    if (s->used + n > s->room) {
        s->room = 2 * s->room + n + (1 << 20);
        s->from = realloc(s->from, s->room);
        free(s->to);
        s->to = calloc(1, s->room);
        if (s->from == NULL || s->to == NULL)
            floor_die("memcpy", "out of memory");
    }
    memcpy(s->from + s->used, r, n);
    s->used += n;
}

bool reads_copy_can(void *session, enum read_op op)
{
    (void)session;
    return op != OP_BEGIN && op != OP_COUNT && op != OP_METRICS;
}

double reads_copy(const struct contestant *c, enum read_op op, const struct read_target *t,
                  unsigned warm, unsigned n, read_tally *tally)
{
    struct reads_session *s = c->self;
    size_t at[READ_INNER_MAX + 1] = {0};
    double start = 0;

    s->used = 0;
    for (unsigned i = 0; i < n; i++) {
        bench_check(rqc_read_begin(s->read), "rqc_read_begin", rqc_read_error(s->read));
        ask(s, op, &t[warm + i]);
        each_record(s, op, append, s);
        rqc_read_end(s->read);
        at[i + 1] = s->used;
    }
    for (unsigned round = 0; round <= READ_WARM; round++) {
        start = floor_now();
        for (unsigned i = 0; i < n; i++) {
            memcpy(s->to + at[i], s->from + at[i], at[i + 1] - at[i]);
            __asm__ volatile("" ::: "memory");
        }
    }
    double seconds = floor_now() - start;
    tally->count += n;
    return seconds;
}
