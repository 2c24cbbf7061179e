// SPDX-License-Identifier: Apache-2.0
// The view against the database, at one position, down to the record; and the digests recomputed.
#include "api/engine.h"

#include "base/bytes.h"
#include "base/id.h"
#include "base/xfsz.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRIES  10
#define TRY_MS 50

// A map from ids to 16 bytes, open addressing: where requests live, which request a response
// belongs to. The zero id is kept beside.
typedef struct rqci_homes {
    uint8_t (*slots)[32];
    size_t n, cap;
    bool has_zero;
    uint8_t zero[16];
} rqci_homes;

static uint8_t *home_slot(uint8_t (*slots)[32], size_t cap, const uint8_t id[16])
{
    // Ids are ULIDs: their last bytes are random, their first are not.
    size_t i = (rqci_get64(id + 8) * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (cap - 1);
    while (!rqci_id_zero(slots[i]) && !rqci_id_equal(slots[i], id))
        i = (i + 1) & (cap - 1);
    return slots[i];
}

static rqc_err home_put(rqci_homes *h, const uint8_t id[16], const uint8_t home[16])
{
    if (rqci_id_zero(id)) {
        h->has_zero = true;
        memcpy(h->zero, home, 16);
        return RQC_OK;
    }
    if (h->n * 2 >= h->cap) {
        const size_t cap = h->cap ? h->cap * 2 : 4096;
        uint8_t(*slots)[32] = calloc(cap, sizeof *slots);
        if (!slots)
            return RQC_NO_MEMORY;
        for (size_t i = 0; i < h->cap; i++)
            if (!rqci_id_zero(h->slots[i]))
                memcpy(home_slot(slots, cap, h->slots[i]), h->slots[i], 32);
        free(h->slots);
        h->slots = slots;
        h->cap = cap;
    }
    uint8_t *slot = home_slot(h->slots, h->cap, id);
    h->n += rqci_id_zero(slot);
    memcpy(slot, id, 16);
    memcpy(slot + 16, home, 16);
    return RQC_OK;
}

// NULL when unknown.
static const uint8_t *home_get(const rqci_homes *h, const uint8_t id[16])
{
    if (rqci_id_zero(id))
        return h->has_zero ? h->zero : NULL;
    const uint8_t *slot = h->cap ? home_slot(h->slots, h->cap, id) : NULL;
    return slot && !rqci_id_zero(slot) ? slot + 16 : NULL;
}

typedef struct rqci_sum {
    uint8_t workspace[16];
    rqci_digest digest;
    bool seen; // the view has this workspace too
} rqci_sum;

typedef struct rqci_verifying {
    rqci_reader *reader;
    const rqci_entity *entity;
    void (*fn)(void *ctx, const rqc_difference *d);
    void *ctx;
    rqci_homes requests, responses;
    rqci_sum *sums;
    size_t nsums, sums_cap, last; // last: used by the row before, and nearly always again
    rqci_homes sum_index;         // workspace → its place in sums
    rqc_verified result;
} rqci_verifying;

static void differ(rqci_verifying *v, uint8_t entity, const uint8_t id[16], const char *what)
{
    v->result.differences++;
    if (!v->fn)
        return;
    rqc_difference d = {.entity = entity, .what = what};
    memcpy(d.id, id, 16);
    v->fn(v->ctx, &d);
}

static rqci_sum *sum_of(rqci_verifying *v, const uint8_t workspace[16])
{
    if (v->nsums > 0 && rqci_id_equal(v->sums[v->last].workspace, workspace))
        return &v->sums[v->last];
    const uint8_t *known = home_get(&v->sum_index, workspace);
    if (known) {
        v->last = (size_t)rqci_get64(known);
        return &v->sums[v->last];
    }
    if (v->nsums == v->sums_cap) {
        const size_t cap = v->sums_cap ? v->sums_cap * 2 : 64;
        rqci_sum *sums = realloc(v->sums, cap * sizeof *sums);
        if (!sums)
            return NULL;
        v->sums = sums;
        v->sums_cap = cap;
    }
    uint8_t place[16] = {0};
    rqci_put64(place, v->nsums);
    if (home_put(&v->sum_index, workspace, place) != RQC_OK)
        return NULL;
    v->last = v->nsums++;
    rqci_sum *s = &v->sums[v->last];
    memset(s, 0, sizeof *s);
    memcpy(s->workspace, workspace, 16);
    return s;
}

// The workspace of a row of the database: its chain of owners leads to it, the zero id when the
// chain is broken.
static rqc_err home_of(rqci_verifying *v, const rqc_record *r, const uint8_t **ret_home)
{
    static const uint8_t zero[16];
    const rqci_entity *e = v->entity;
    const uint8_t *id = rqci_rec_id(r),
                  *owner = e->owner >= 0 ? rqci_rec_id_field(r, e->owner) : id;
    owner = owner ? owner : zero;
    *ret_home = owner;
    if (e->owner_code == RQC_HTTP_RESPONSE)
        owner = home_get(&v->responses, owner);
    if (e->owner_code == RQC_HTTP_RESPONSE || e->owner_code == RQC_HTTP)
        *ret_home = owner ? home_get(&v->requests, owner) : NULL;
    if (!*ret_home)
        *ret_home = zero;
    if (e->code == RQC_HTTP)
        return home_put(&v->requests, id, owner);
    return e->code == RQC_HTTP_RESPONSE ? home_put(&v->responses, id, owner) : RQC_OK;
}

static rqc_err compare(void *ctx, rqc_record *r)
{
    rqci_verifying *v = ctx;
    const uint8_t *id = rqci_rec_id(r), *home;
    uint8_t view_home[16];
    rqc_err rc = home_of(v, r, &home);
    rqci_sum *sum = rc == RQC_OK ? sum_of(v, home) : NULL;
    if (!sum)
        return RQC_NO_MEMORY;
    rqci_digest digest;
    rqci_rec_digest(r, &digest);
    rqci_digest_add(&sum->digest, digest);
    v->result.records++;
    const rqc_record *seen;
    rc = rqci_get(v->reader, v->entity->code, id, &seen);
    if (rc == RQC_NOT_FOUND)
        differ(v, v->entity->code, id, "missing in the view");
    else if (rc == RQC_CORRUPT ||
             (rc == RQC_OK && rqci_rec_verify(seen, rqci_rec_size(seen), true, NULL) != RQC_OK))
        differ(v, v->entity->code, id, "damaged");
    else if (rc != RQC_OK)
        return rc;
    else if (!rqci_rec_same(seen, r))
        differ(v, v->entity->code, id, "different");
    else if (rqci_home(v->reader, v->entity->code, id, view_home) != RQC_OK ||
             memcmp(view_home, home, 16) != 0)
        differ(v, v->entity->code, id, "in another workspace");
    return RQC_OK;
}

// Rows of the view that the database lacks: looked for only when the numbers differ.
typedef struct rqci_extra {
    rqci_verifying *v;
    const rqci_source *source;
    rqci_buf row;
} rqci_extra;

static rqc_err extra(void *ctx, const rqc_record *r)
{
    rqci_extra *x = ctx;
    x->row.len = 0;
    const rqc_err rc =
        x->source->row(x->source->ctx, rqci_rec_entity(r), rqci_rec_id(r), 0, &x->row, NULL);
    if (rc == RQC_NOT_FOUND)
        differ(x->v, rqci_rec_entity(r), rqci_rec_id(r), "not in the database");
    return rc == RQC_NOT_FOUND ? RQC_OK : rc;
}

static rqc_err check_workspace(void *ctx, const rqci_ws_state *s)
{
    rqci_verifying *v = ctx;
    rqci_sum *sum = sum_of(v, s->id);
    if (!sum)
        return RQC_NO_MEMORY;
    sum->seen = true;
    if (sum->digest.lo != s->digest.lo || sum->digest.hi != s->digest.hi)
        differ(v, RQC_WORKSPACES, s->id, "workspace digest");
    return RQC_OK;
}

static rqc_err check_digests(rqci_verifying *v)
{
    const rqc_err rc = rqci_ws_each(v->reader, check_workspace, v);
    rqci_digest total = {0, 0};
    for (size_t i = 0; i < v->nsums; i++) {
        rqci_digest_add(&total, v->sums[i].digest);
        if (!v->sums[i].seen && (v->sums[i].digest.lo || v->sums[i].digest.hi))
            differ(v, RQC_WORKSPACES, v->sums[i].workspace, "workspace digest");
    }
    rqci_put64be(v->result.digest, total.hi);
    rqci_put64be(v->result.digest + 8, total.lo);
    return rc;
}

// What the view has beyond the rows that were compared, and how it agrees with itself. Damage is a
// difference here, not a failure.
static rqc_err check_view(rqci_verifying *v, const rqci_source *source)
{
    static const uint8_t nothing[16];
    rqc_err rc = RQC_OK;
    if (v->result.differences > 0 || rqci_reader_state(v->reader)->records != v->result.records) {
        rqci_extra x = {v, source, {0}};
        rc = rqci_each(v->reader, extra, &x);
        rqci_buf_free(&x.row);
    }
    if (rc != RQC_OK && rc != RQC_CORRUPT)
        return rc;
    rc = check_digests(v);
    if (rc != RQC_OK && rc != RQC_CORRUPT)
        return rc;
    rqci_errbuf fault = {""};
    rc = rqci_reader_check(v->reader, &fault);
    if (rc == RQC_CORRUPT)
        differ(v, 0, nothing, fault.text);
    return rc == RQC_CORRUPT ? RQC_OK : rc;
}

// Both sides are pinned at one position. The codes are in an order in which requests come before
// what hangs on them.
static rqc_err compare_all(rqci_verifying *v, const rqci_source *source, rqci_errbuf *err)
{
    rqc_err rc = RQC_OK;
    for (uint8_t code = 1; code <= RQCI_ENTITY_MAX && rc == RQC_OK; code++) {
        v->entity = rqci_entity_of(code);
        rc = source->scan(source->ctx, code, compare, v, err);
    }
    return rc == RQC_OK ? check_view(v, source) : rc;
}

static void pause_ms(long ms)
{
    const struct timespec t = {0, ms * 1000000};
    nanosleep(&t, NULL);
}

// Pins the database and the view at the same position. The view can only be ahead of or behind the
// database's snapshot by what was committed in between.
static rqc_err pin(rqc_db *db, const rqci_source *source, rqci_reader *reader,
                   rqci_source_state *state, rqci_errbuf *err)
{
    for (int i = 0; i < TRIES; i++) {
        rqc_err rc = RQC_OK;
        uint64_t seq;
        if (db->owner) {
            pthread_mutex_lock(&db->apply);
            rc = rqci_view_apply(db->view, &db->source, &seq, err);
        }
        if (rc == RQC_OK)
            rc = source->begin(source->ctx, state, err);
        if (rc == RQC_OK) {
            rc = rqci_reader_begin(reader, rqci_now_ms(), err);
            if (rc != RQC_OK)
                source->end(source->ctx);
        }
        if (db->owner)
            pthread_mutex_unlock(&db->apply);
        if (rc != RQC_OK)
            return rc;
        const rqci_view_state *s = rqci_reader_state(reader);
        if (s->seq == state->head && s->term == state->term &&
            memcmp(s->store_id, state->store_id, 16) == 0)
            return RQC_OK;
        rqci_reader_end(reader);
        source->end(source->ctx);
        pause_ms(TRY_MS);
    }
    return rqci_fail(err, RQC_BUSY,
                     "the view and the database do not come to the same position: %s",
                     db->owner ? "other programs write all the time"
                               : "the owner does not follow, or is gone");
}

static rqc_err verify(rqc_db *db, rqci_verifying *v, rqci_errbuf *err)
{
    // A connection of its own: the owner's source is free for the view meanwhile, so writers do not
    // wait.
    const rqci_store_options o = {.read_only = true, .log = db->log};
    rqci_store *store = NULL;
    rqci_source source;
    rqci_source_state state;
    rqci_mirror_ref *ref = rqci_mirror_ref_shared(db);
    rqc_err rc = rqci_store_open(db->path, &o, &store, err);
    if (rc == RQC_OK)
        rc = rqci_reader_new(ref->mirror, &v->reader, err);
    if (rc == RQC_OK) {
        rqci_store_source(store, &source);
        rc = pin(db, &source, v->reader, &state, err);
    }
    if (rc == RQC_OK) {
        memcpy(v->result.position.store_id, state.store_id, 16);
        v->result.position.term = state.term;
        v->result.position.seq = state.head;
        rc = compare_all(v, &source, err);
        source.end(source.ctx);
        rqci_reader_end(v->reader);
    }
    rqci_reader_free(v->reader);
    rqci_store_close(store);
    rqci_mirror_ref_drop(db, ref);
    free(v->requests.slots);
    free(v->responses.slots);
    free(v->sum_index.slots);
    free(v->sums);
    return rc;
}

static rqc_err repair_view(rqc_db *db, rqci_errbuf *err)
{
    uint64_t seq;
    pthread_mutex_lock(&db->apply);
    const rqc_err rc = rqci_view_rebuild(db->view, &db->source, &seq, err);
    pthread_mutex_unlock(&db->apply);
    return rc;
}

rqc_err rqc_verify(rqc_db *db, int repair, void (*fn)(void *ctx, const rqc_difference *d),
                   void *ctx, rqc_verified *ret_verified, rqc_error *err)
{
    rqci_errbuf detail = {""};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    if (repair && !db->owner)
        return rqci_report(err, RQC_READ_ONLY, NULL);
    if (!db->owner)
        (void)rqci_mirror_find(db, NULL);
    rqci_verifying v = {.fn = fn, .ctx = ctx};
    const rqci_xfsz limit = rqci_xfsz_hold();
    rqc_err rc = verify(db, &v, &detail);
    if (rc == RQC_OK && repair && v.result.differences > 0)
        rc = repair_view(db, &detail);
    rqci_xfsz_drop(&limit);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    if (ret_verified)
        *ret_verified = v.result;
    return RQC_OK;
}

rqc_err rqc_integrity(rqc_db *db, int quick, void (*fn)(void *ctx, const char *fault), void *ctx,
                      uint64_t *ret_faults, rqc_error *err)
{
    rqci_errbuf detail = {""};
    uint64_t faults = 0;
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    const rqc_err rc =
        rqci_store_integrity(db->path, !db->owner, quick != 0, fn, ctx, &faults, &detail);
    if (rc != RQC_OK)
        return rqci_report(err, rc, &detail);
    if (ret_faults)
        *ret_faults = faults;
    return RQC_OK;
}
