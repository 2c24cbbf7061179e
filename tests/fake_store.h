// SPDX-License-Identifier: Apache-2.0
// A store in memory with a change log, for tests of the view: random transactions log what the
// capture triggers would log for inserts, replaces, updates, moves, changed keys, cascades, deletes
// without foreign keys, and touches that changed nothing.
#ifndef RQC_TESTS_FAKE_STORE_H
#define RQC_TESTS_FAKE_STORE_H

#include "base/bytes.h"
#include "record/change.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_IDS 10 // ids per entity
#define FAKE_LOG 20000

typedef struct fake_row {
    bool alive;
    uint8_t owner; // number of the owner's id
    int64_t updated;
    uint8_t flags; // of a request: bit 0 delta, bit 1 snapshot
    uint8_t parent;
    uint32_t text;
} fake_row;

typedef struct fake_store {
    fake_row rows[RQCI_ENTITY_MAX + 1][FAKE_IDS];
    rqci_change log[FAKE_LOG];
    size_t nlog;
    uint64_t head, retain;
    uint64_t random;
    uint32_t term;
} fake_store;

static const uint8_t fake_entities[] = {RQCI_WORKSPACES,           RQCI_HTTP,
                                        RQCI_HTTP_HEADER,          RQCI_HTTP_RESPONSE,
                                        RQCI_HTTP_RESPONSE_HEADER, RQCI_HTTP_ASSERT};

static inline uint32_t fake_rand(fake_store *s, uint32_t n)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((s->random >> 33) % n);
}

// Number 0 is the zero id on purpose for no entity: ids begin with 1.
static inline void fake_id(uint8_t entity, uint8_t number, uint8_t ret[16])
{
    memset(ret, 0, 16);
    ret[0] = entity;
    ret[15] = (uint8_t)(number + 1);
}

static inline void fake_log(fake_store *s, uint8_t entity, uint8_t number, uint8_t op,
                            uint8_t owner)
{
    if (s->nlog == FAKE_LOG)
        abort();
    rqci_change *c = &s->log[s->nlog++];
    memset(c, 0, sizeof *c);
    c->seq = ++s->head;
    c->entity = entity;
    c->op = op;
    fake_id(entity, number, c->id);
    const rqci_entity *e = rqci_entity_of(entity);
    if (e->owner >= 0)
        fake_id(e->owner_code, owner, c->owner);
}

static inline uint64_t fake_horizon(const fake_store *s)
{
    const uint64_t step = s->retain / 4;
    return s->head <= s->retain + step ? 0 : (s->head - s->retain) / step * step;
}

static inline void fake_fill(fake_store *s, uint8_t entity, fake_row *r, uint8_t owner)
{
    r->alive = true;
    r->owner = owner;
    r->updated = 1000 + fake_rand(s, 6);
    r->flags = entity == RQCI_HTTP ? (uint8_t)fake_rand(s, 3) : 0;
    r->parent = (uint8_t)fake_rand(s, FAKE_IDS);
    r->text = fake_rand(s, 1000);
}

static inline void fake_remove(fake_store *s, uint8_t entity, uint8_t number, bool cascade)
{
    fake_row *r = &s->rows[entity][number];
    if (!r->alive)
        return;
    r->alive = false;
    if (entity == RQCI_HTTP) // logged before the row and what hangs on it go
        fake_log(s, entity, number, RQCI_OP_DELETE, r->owner);
    for (size_t i = 0; cascade && i < sizeof fake_entities; i++)
        if (rqci_entity_of(fake_entities[i])->owner_code == entity)
            for (uint8_t n = 0; n < FAKE_IDS; n++)
                if (s->rows[fake_entities[i]][n].alive &&
                    s->rows[fake_entities[i]][n].owner == number)
                    fake_remove(s, fake_entities[i], n, true);
    if (entity != RQCI_HTTP)
        fake_log(s, entity, number, RQCI_OP_DELETE, r->owner);
}

// One statement as an application could make it.
static inline void fake_step(fake_store *s)
{
    const uint8_t entity = fake_entities[fake_rand(s, sizeof fake_entities)];
    const uint8_t number = (uint8_t)fake_rand(s, FAKE_IDS), other = (uint8_t)fake_rand(s, FAKE_IDS);
    fake_row *r = &s->rows[entity][number];
    const uint8_t owner = (uint8_t)fake_rand(s, entity == RQCI_HTTP ? 3 : FAKE_IDS);
    switch (fake_rand(s, 12)) {
    case 0:
    case 1:
    case 2:
    case 3: // insert, or replace in place
        if (r->alive)
            fake_log(s, entity, number, RQCI_OP_UPDATE, r->owner);
        fake_fill(s, entity, r, owner);
        fake_log(s, entity, number, RQCI_OP_INSERT, owner);
        break;
    case 4: // insert or ignore
        if (r->alive)
            fake_log(s, entity, number, RQCI_OP_UPDATE, r->owner);
        break;
    case 5:
    case 6: // update
        if (r->alive) {
            fake_fill(s, entity, r, r->owner);
            fake_log(s, entity, number, RQCI_OP_UPDATE, r->owner);
        }
        break;
    case 7: // another owner
        if (r->alive && r->owner != owner) {
            fake_log(s, entity, number, RQCI_OP_DELETE, r->owner);
            fake_fill(s, entity, r, owner);
            fake_log(s, entity, number, RQCI_OP_MOVE, owner);
        }
        break;
    case 8: // another key, over a row that may be there
        if (r->alive && other != number) {
            if (s->rows[entity][other].alive)
                fake_log(s, entity, other, RQCI_OP_DELETE, s->rows[entity][other].owner);
            s->rows[entity][other] = *r;
            r->alive = false;
            fake_log(s, entity, number, RQCI_OP_DELETE, r->owner);
            fake_log(s, entity, other, RQCI_OP_INSERT, r->owner);
        }
        break;
    case 9: // a conflict that was ignored
        if (r->alive)
            fake_log(s, entity, number, RQCI_OP_DELETE, r->owner);
        break;
    case 10: fake_remove(s, entity, number, true); break;
    default: fake_remove(s, entity, number, false); break;
    }
}

// ---- The source ----

static inline rqc_err fake_begin(void *ctx, rqci_source_state *ret, rqci_errbuf *err)
{
    const fake_store *s = ctx;
    (void)err;
    memset(ret, 0, sizeof *ret);
    memset(ret->store_id, 7, 16);
    ret->term = s->term;
    ret->head = s->head;
    ret->baseline = 1;
    ret->horizon = fake_horizon(s);
    return RQC_OK;
}

static inline void fake_end(void *ctx)
{
    (void)ctx;
}

static inline rqc_err fake_changes(void *ctx, uint64_t after, uint64_t upto,
                                   rqc_err (*fn)(void *arg, const rqci_change *c), void *arg,
                                   rqci_errbuf *err)
{
    const fake_store *s = ctx;
    (void)err;
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < s->nlog && rc == RQC_OK; i++)
        if (s->log[i].seq > after && s->log[i].seq <= upto)
            rc = fn(arg, &s->log[i]);
    return rc;
}

static inline rqc_err fake_pack(const fake_store *s, uint8_t entity, uint8_t number, uint64_t seq,
                                rqci_buf *out)
{
    const fake_row *r = &s->rows[entity][number];
    const rqci_entity *e = rqci_entity_of(entity);
    uint8_t id[16], owner[16] = {0}, parent[16];
    char text[64];
    rqc_value row[RQCI_FIELD_MAX] = {{RQC_ABSENT, 0, NULL, {0}}};
    fake_id(entity, number, id);
    row[0] = (rqc_value){RQC_ID, 16, id, {0}};
    if (e->owner >= 0) {
        fake_id(e->owner_code, r->owner, owner);
        row[e->owner] = (rqc_value){RQC_ID, 16, owner, {0}};
    }
    memset(text, 'a' + (int)(r->text % 26), sizeof text);
    for (int i = 0; i < e->nfields; i++)
        if (e->fields[i].type == RQCI_T_TEXT && !e->fields[i].null)
            row[i] = (rqc_value){RQC_TEXT, r->text % 64, text, {0}};
    if (e->updated >= 0)
        row[e->updated] = (rqc_value){RQC_INT, 0, NULL, {.i = r->updated}};
    if (entity == RQCI_HTTP) {
        fake_id(RQCI_HTTP, r->parent, parent);
        row[RQCI_HTTP_IS_DELTA] = (rqc_value){RQC_BOOL, 0, NULL, {.i = r->flags & 1}};
        row[RQCI_HTTP_IS_SNAPSHOT] = (rqc_value){RQC_BOOL, 0, NULL, {.i = r->flags >> 1}};
        row[RQCI_HTTP_PARENT_HTTP_ID] = (rqc_value){RQC_ID, 16, parent, {0}};
    }
    return rqci_rec_pack(e, row, seq, 0, out, NULL);
}

static inline rqc_err fake_get(void *ctx, uint8_t entity, const uint8_t id[16], uint64_t seq,
                               rqci_buf *out, rqci_errbuf *err)
{
    const fake_store *s = ctx;
    const uint8_t number = (uint8_t)(id[15] - 1);
    (void)err;
    return s->rows[entity][number].alive ? fake_pack(s, entity, number, seq, out) : RQC_NOT_FOUND;
}

static inline rqc_err fake_scan(void *ctx, uint8_t entity, rqc_err (*fn)(void *arg, rqc_record *r),
                                void *arg, rqci_errbuf *err)
{
    fake_store *s = ctx;
    rqci_buf b = {0};
    rqc_err rc = RQC_OK;
    (void)err;
    for (uint8_t n = 0; n < FAKE_IDS && rc == RQC_OK; n++) {
        b.len = 0;
        if (!s->rows[entity][n].alive)
            continue;
        rc = fake_pack(s, entity, n, 0, &b);
        if (rc == RQC_OK)
            rc = fn(arg, (rqc_record *)(void *)b.data);
    }
    rqci_buf_free(&b);
    return rc;
}

static inline uint64_t fake_count(void *ctx)
{
    (void)ctx;
    return 0;
}

static inline rqci_source fake_source(fake_store *s)
{
    return (rqci_source){s, fake_begin, fake_end, fake_changes, fake_get, fake_scan, fake_count};
}

#endif
