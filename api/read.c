// SPDX-License-Identifier: Apache-2.0
// Read sessions: thin, checked wrappers over the view's readers. No locks, no allocation, no system
// calls on the way of a read.
#include "api/engine.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#define MOVES_MAX 8

rqc_err rqc_read_new(rqc_db *db, rqc_read **ret_read, rqc_error *err)
{
    rqci_errbuf detail = {""};
    if (rqci_forked(db))
        return rqci_report(err, RQC_CLOSED, NULL);
    rqc_read *r = calloc(1, sizeof *r);
    if (!r)
        return rqci_report(err, RQC_NO_MEMORY, NULL);
    r->db = db;
    r->ref = rqci_mirror_ref_take(db, &r->mirrors);
    const rqc_err rc = rqci_reader_new(r->ref->mirror, &r->reader, &detail);
    if (rc != RQC_OK) {
        rqc_read_free(r);
        return rqci_report(err, rc, &detail);
    }
    *ret_read = r;
    return RQC_OK;
}

void rqc_read_free(rqc_read *r)
{
    if (!r || rqci_forked(r->db))
        return;
    rqci_reader_free(r->reader);
    rqci_mirror_ref_drop(r->db, r->ref);
    free(r);
}

// Takes the session to the newest mirror.
static rqc_err move(rqc_read *r)
{
    uint64_t mirrors;
    rqci_reader *reader;
    rqci_mirror_ref *ref = rqci_mirror_ref_take(r->db, &mirrors);
    const rqc_err rc = rqci_reader_new(ref->mirror, &reader, &r->err);
    if (rc != RQC_OK) {
        rqci_mirror_ref_drop(r->db, ref);
        return rc;
    }
    rqci_reader_free(r->reader);
    rqci_mirror_ref_drop(r->db, r->ref);
    r->reader = reader;
    r->ref = ref;
    r->mirrors = mirrors;
    return RQC_OK;
}

static bool moved(const rqc_read *r)
{
    return atomic_load(&r->db->mirrors) != r->mirrors;
}

// Begins where sessions begin now.
static rqc_err begin(rqc_read *r, int64_t now)
{
    const rqc_err rc = moved(r) ? move(r) : RQC_OK;
    return rc == RQC_OK ? rqci_reader_begin(r->reader, now, &r->err) : rc;
}

// The same while the shared view lags, or just has.
static rqc_err begin_lagging(rqc_read *r, int64_t now)
{
    rqci_spare_follow(r->db, true);
    rqc_err rc = begin(r, now);
    // Others may have moved on while this one began. Then it moves, too: what one session saw the
    // next one sees.
    for (int i = 0; i < MOVES_MAX && moved(r); i++) {
        if (rc == RQC_OK)
            rqci_reader_end(r->reader);
        rc = begin(r, now);
    }
    return rc;
}

// The detail of a failure whose place had no words for it.
static rqc_err worded(rqc_read *r, rqc_err rc)
{
    if (rc != RQC_OK && !*r->err.text)
        rqci_fail(&r->err, rc, "%s", rqci_err_text(rc));
    return rc;
}

static rqc_err begin_session(rqc_read *r)
{
    const int64_t now = rqci_now_ms();
    // The owner of an attached view may come back with the view in another place.
    if (!r->db->owner && now >= atomic_load_explicit(&r->db->next_look_ms, memory_order_relaxed))
        (void)rqci_mirror_find(r->db, NULL);
    const bool lags = atomic_load_explicit(&r->db->lagging, memory_order_relaxed);
    rqc_err rc = lags || r->ref->spare ? begin_lagging(r, now) : begin(r, now);
    if (rc == RQC_UNAVAILABLE && !r->db->owner && rqci_mirror_find(r->db, NULL) == RQC_OK &&
        moved(r))
        rc = begin(r, now);
    if (rc != RQC_OK)
        return rc;
    r->until_ms = now + r->db->max_age_ms;
    r->begun = true;
    return RQC_OK;
}

rqc_err rqc_read_begin(rqc_read *r)
{
    if (r->begun)
        return rqci_fail(&r->err, RQC_INVALID, "the session was begun already");
    if (rqci_forked(r->db))
        return rqci_fail(&r->err, RQC_CLOSED, "the handle belongs to the parent process");
    r->err.text[0] = '\0';
    return worded(r, begin_session(r));
}

void rqc_read_end(rqc_read *r)
{
    if (!r || !r->begun || rqci_forked(r->db))
        return;
    rqci_reader_end(r->reader);
    r->begun = false;
}

rqc_position rqc_read_position(const rqc_read *r)
{
    rqc_position p = {.term = 0};
    if (!r->begun)
        return p;
    const rqci_view_state *s = rqci_reader_state(r->reader);
    memcpy(p.store_id, s->store_id, 16);
    p.term = s->term;
    p.seq = s->seq;
    return p;
}

const char *rqc_read_error(const rqc_read *r)
{
    return r->err.text;
}

// What every read begins with.
static inline rqc_err check(rqc_read *r)
{
    if (__builtin_expect(!r->begun, 0))
        return rqci_fail(&r->err, RQC_INVALID, "the session was not begun");
    if (__builtin_expect(rqci_now_ms() > r->until_ms, 0))
        return rqci_fail(&r->err, RQC_EXPIRED,
                         "the session was held longer than %u ms: end it and begin again",
                         r->db->max_age_ms);
    return RQC_OK;
}

static rqc_err invalid(rqc_read *r, const char *what)
{
    return rqci_fail(&r->err, RQC_INVALID, "%s", what);
}

// The detail of a failure that the view has no words for.
static rqc_err told(rqc_read *r, rqc_err rc)
{
    if (__builtin_expect(rc != RQC_OK, 0))
        rqci_fail(&r->err, rc, "%s",
                  rc == RQC_CORRUPT ? "the view is damaged: reqcast verify --repair builds it anew"
                                    : rqci_err_text(rc));
    return rc;
}

rqc_err rqc_get(rqc_read *r, rqc_entity entity, const uint8_t id[16], const rqc_record **ret_record)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if ((unsigned)entity - 1 >= RQCI_ENTITY_MAX || !id)
        return invalid(r, "no such entity, or no id");
    return told(r, rqci_get(r->reader, (uint8_t)entity, id, ret_record));
}

rqc_err rqc_workspaces(rqc_read *r, rqc_list *ret_list)
{
    const rqc_err rc = check(r);
    return rc == RQC_OK ? told(r, rqci_workspaces(r->reader, ret_list)) : rc;
}

rqc_err rqc_page(rqc_read *r, const uint8_t workspace[16], int64_t until, const char *method,
                 uint32_t limit, rqc_page_cursor *cursor, rqc_list *ret_list)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if (!workspace || limit > RQC_PAGE_MAX || (cursor && cursor->state > 2))
        return invalid(
            r,
            "a page needs a workspace, a limit of at most 100,000 and a cursor that a page gave");
    return told(r, rqci_page(r->reader, workspace, until, method, limit, cursor, ret_list));
}

rqc_err rqc_updates(rqc_read *r, const uint8_t workspace[16], int64_t since, int64_t until,
                    const char *method, uint32_t limit, rqc_page_cursor *cursor, rqc_list *ret_list)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if (!workspace || limit > RQC_PAGE_MAX || (cursor && cursor->state > 2))
        return invalid(
            r,
            "updates need a workspace, a limit of at most 100,000 and a cursor that updates gave");
    return told(r,
                rqci_updates(r->reader, workspace, since, until, method, limit, cursor, ret_list));
}

rqc_err rqc_batch(rqc_read *r, const uint8_t (*ids)[16], size_t n, int64_t until,
                  rqc_list *ret_list)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if (n > RQC_IDS_MAX || (n > 0 && !ids))
        return invalid(r, "no ids, or more than 1,000,000");
    return told(r, rqci_batch(r->reader, ids, n, until, ret_list));
}

rqc_err rqc_deltas(rqc_read *r, const uint8_t (*parents)[16], size_t n, int64_t since,
                   int64_t until, rqc_list *ret_list)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if (n > RQC_IDS_MAX || (n > 0 && !parents))
        return invalid(r, "no ids, or more than 1,000,000");
    return told(r, rqci_deltas(r->reader, parents, n, since, until, ret_list));
}

rqc_err rqc_metrics_read(rqc_read *r, const uint8_t workspace[16], int64_t since,
                         rqc_metrics *ret_metrics)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    return workspace ? told(r, rqci_metrics(r->reader, workspace, since, ret_metrics))
                     : invalid(r, "no workspace");
}

rqc_err rqc_activity_read(rqc_read *r, const uint8_t workspace[16], int64_t since,
                          rqc_activity *ret_days, size_t max, size_t *ret_n)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if (!workspace || (max > 0 && !ret_days))
        return invalid(r, "no workspace, or nowhere to put the days");
    return told(r, rqci_activity(r->reader, workspace, since, ret_days, max, ret_n));
}

rqc_err rqc_count(rqc_read *r, const uint8_t workspace[16], int64_t until, uint64_t *ret_count)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    return workspace ? told(r, rqci_count(r->reader, workspace, until, ret_count))
                     : invalid(r, "no workspace");
}

rqc_err rqc_children(rqc_read *r, rqc_entity entity, const uint8_t (*ids)[16], size_t n,
                     int64_t until, int all, rqc_list *ret_list)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if ((unsigned)entity <= RQC_HTTP || (unsigned)entity > RQCI_ENTITY_MAX)
        return invalid(r, "requests and responses have children, the entity is not one of them");
    if (n > RQC_IDS_MAX || (n > 0 && !ids))
        return invalid(r, "no ids, or more than 1,000,000");
    return told(r, rqci_children(r->reader, (uint8_t)entity, ids, n, until, all != 0, ret_list));
}

rqc_err rqc_changes(rqc_read *r, const uint8_t *workspace, rqc_cursor *cursor, uint32_t limit,
                    rqc_changes_list *ret_list, int *ret_up_to_date)
{
    rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    if (!cursor || cursor->entity > RQCI_ENTITY_MAX || limit == 0 || limit > RQC_PAGE_MAX)
        return invalid(r, "changes need a cursor that changes gave and a limit from 1 to 100,000");
    bool up_to_date;
    rc = rqci_changes(r->reader, workspace, cursor, limit, ret_list, &up_to_date);
    if (rc == RQC_OK)
        *ret_up_to_date = up_to_date;
    return told(r, rc);
}

rqc_err rqc_chain(rqc_read *r, const uint8_t base[16], int64_t until, rqc_list *ret_chain)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    return base ? told(r, rqci_chain(r->reader, base, until, ret_chain)) : invalid(r, "no id");
}

// ---- Large values -------------------------------------------------------------------------------

static rqc_err copy(const void *p, size_t n, void **ret_bytes, size_t *ret_n)
{
    void *bytes = malloc(n ? n : 1);
    if (!bytes)
        return RQC_NO_MEMORY;
    if (n > 0)
        memcpy(bytes, p, n);
    *ret_bytes = bytes;
    *ret_n = n;
    return RQC_OK;
}

static rqc_err large(rqc_read *r, const rqc_record *record, int field, void **ret_bytes,
                     size_t *ret_n)
{
    const rqc_value v = rqc_field(record, field);
    if (v.type == RQC_TEXT || v.type == RQC_BYTES)
        return copy(v.p, v.n, ret_bytes, ret_n);
    if (v.type != RQC_LARGE)
        return invalid(r, "the field holds no text and no bytes");
    rqci_store *store;
    rqc_err rc = rqci_reading_store(r->db, &store, &r->err);
    if (rc != RQC_OK)
        return rc;
    rqci_buf out = {0};
    rc =
        rqci_store_value(store, rqci_rec_entity(record), rqci_rec_id(record), field, &out, &r->err);
    uint8_t hash[16];
    if (rc == RQC_OK) {
        rqci_xxh128_bytes(out.data, out.len, hash);
        if (out.len != v.u.length || memcmp(hash, v.p, 16) != 0)
            rc = rqci_fail(&r->err, RQC_CHANGED, "the value changed since the session's position");
    } else if (rc == RQC_NOT_FOUND) {
        rc = rqci_fail(&r->err, RQC_CHANGED, "the record was deleted since the session's position");
    }
    if (rc != RQC_OK) {
        rqci_buf_free(&out);
        return rc;
    }
    *ret_bytes = out.data;
    *ret_n = out.len;
    return RQC_OK;
}

rqc_err rqc_large(rqc_read *r, const rqc_record *record, int field, void **ret_bytes, size_t *ret_n)
{
    const rqc_err rc = check(r);
    if (rc != RQC_OK)
        return rc;
    r->err.text[0] = '\0';
    return worded(r, large(r, record, field, ret_bytes, ret_n));
}
