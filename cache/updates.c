// SPDX-License-Identifier: Apache-2.0
// Reads by time: incremental updates, deltas of many parents, batches of requests by id.
#include "cache/internal.h"

#include <stdlib.h>

// One class of a workspace's requests in order of (updated_at, id) ascending. Keys hold the id's
// complement, so records of one time stand in the wrong order: a time with several records is read
// backwards from its end.
typedef struct entry {
    const rqc_record *rec; // NULL: none
    int64_t time;
} entry;

typedef struct lane {
    rqci_reader *r;
    MDB_cursor *c;
    uint8_t key[RQCI_KEY_HTTP];
    bool backwards; // inside a time with several records
    entry now;
    entry ahead; // unless backwards: the one behind it, on which the cursor stands
} lane;

static const uint8_t last_id[16]; // of a time, id 0 sorts last
static const uint8_t first_id[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};

static bool inside(const lane *l, const MDB_val *key)
{
    return key->mv_size == RQCI_KEY_HTTP && memcmp(key->mv_data, l->key, 5) == 0;
}

static int64_t key_time(const MDB_val *key)
{
    return rqci_from_ascending(rqci_get64be((const uint8_t *)key->mv_data + 5));
}

static inline rqc_err settle(const lane *l, int got, const MDB_val *key, const MDB_val *val,
                             entry *ret)
{
    ret->rec = NULL;
    if (got == MDB_NOTFOUND || (got == 0 && !inside(l, key)))
        return RQC_OK;
    if (got != 0)
        return rqci_lmdb_err(got, "updates", NULL);
    if (val->mv_size < RQCI_REC_HEADER || rqci_rec_size(val->mv_data) != val->mv_size)
        return RQC_CORRUPT;
    ret->rec = val->mv_data;
    ret->time = key_time(key);
    return RQC_OK;
}

// Moves to the entry before (time, id) in key order: the next higher id of that time.
static int seek_before(lane *l, int64_t time, const uint8_t id[16], MDB_val *key, MDB_val *val)
{
    rqci_key_time(l->key + 5, time, id);
    *key = (MDB_val){RQCI_KEY_HTTP, l->key};
    const int got = mdb_cursor_get(l->c, key, val, MDB_SET_RANGE);
    return mdb_cursor_get(l->c, key, val, got == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

// Several records of one time: the lowest id stands last.
static rqc_err turn_round(lane *l)
{
    MDB_val key, val;
    l->backwards = true;
    rqci_key_time(l->key + 5, l->now.time, last_id);
    key = (MDB_val){RQCI_KEY_HTTP, l->key};
    int got = mdb_cursor_get(l->c, &key, &val, MDB_SET_RANGE);
    if (got != 0 || memcmp(key.mv_data, l->key, RQCI_KEY_HTTP) != 0)
        got = mdb_cursor_get(l->c, &key, &val, got == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
    return settle(l, got, &key, &val, &l->now);
}

// The entry at the cursor is the first of its time; it becomes the current one when it is the only
// one.
static rqc_err arrive(lane *l)
{
    MDB_val key, val;
    if (l->now.rec == NULL)
        return RQC_OK;
    const int got = mdb_cursor_get(l->c, &key, &val, MDB_NEXT);
    const rqc_err rc = settle(l, got, &key, &val, &l->ahead);
    if (rc == RQC_OK && l->ahead.rec != NULL && l->ahead.time == l->now.time)
        return turn_round(l);
    return rc;
}

// The first record of a time later than `time`.
static rqc_err enter_after(lane *l, int64_t time)
{
    MDB_val key, val;
    l->now.rec = NULL;
    l->backwards = false;
    if (time == INT64_MAX)
        return RQC_OK;
    rqci_key_time(l->key + 5, time + 1, first_id);
    key = (MDB_val){RQCI_KEY_HTTP, l->key};
    const int got = mdb_cursor_get(l->c, &key, &val, MDB_SET_RANGE);
    const rqc_err rc = settle(l, got, &key, &val, &l->now);
    return rc == RQC_OK ? arrive(l) : rc;
}

static rqc_err lane_next(lane *l)
{
    if (!l->backwards) {
        l->now = l->ahead;
        return arrive(l);
    }
    MDB_val key, val;
    const int64_t time = l->now.time;
    const int got = mdb_cursor_get(l->c, &key, &val, MDB_PREV);
    const rqc_err rc = settle(l, got, &key, &val, &l->now);
    return rc != RQC_OK || (l->now.rec != NULL && l->now.time == time) ? rc : enter_after(l, time);
}

static rqc_err lane_open(lane *l, rqci_reader *r, int which, uint32_t ws, int64_t since,
                         const rqc_page_cursor *cursor)
{
    memset(l, 0, sizeof *l);
    l->r = r;
    rqci_put32be(l->key, ws);
    l->key[4] = which == 0 ? RQCI_CLASS_BASE : RQCI_CLASS_DELTA;
    rqc_err rc = rqci_lane_cursor(r, which, &l->c);
    if (rc != RQC_OK)
        return rc;
    if (cursor == NULL || cursor->state != 1 || cursor->updated_at <= since)
        return enter_after(l, since);
    MDB_val key, val;
    const int got = seek_before(l, cursor->updated_at, cursor->id, &key, &val);
    rc = settle(l, got, &key, &val, &l->now);
    l->backwards = true;
    if (rc != RQC_OK || (l->now.rec != NULL && l->now.time == cursor->updated_at))
        return rc;
    return enter_after(l, cursor->updated_at);
}

static inline bool earlier(const entry *a, const entry *b)
{
    if (a->rec == NULL || b->rec == NULL)
        return a->rec != NULL;
    if (a->time != b->time)
        return a->time < b->time;
    return memcmp(rqci_rec_id(a->rec), rqci_rec_id(b->rec), 16) < 0;
}

static bool method_matches(const rqc_record *rec, const char *method, size_t n)
{
    rqc_value v;
    rqci_rec_field(rec, RQCI_HTTP_METHOD, &v);
    return v.type == RQC_TEXT && v.n == n && memcmp(v.p, method, n) == 0;
}

rqc_err rqci_updates(rqci_reader *r, const uint8_t workspace[16], int64_t since, int64_t until,
                     const char *method, uint32_t limit, rqc_page_cursor *cursor,
                     rqci_list *ret_list)
{
    lane lanes[2];
    uint32_t ws;
    const size_t n = method == NULL ? 0 : strlen(method);
    ret_list->n = 0;
    if (limit == 0 || (cursor != NULL && cursor->state == 2))
        return RQC_OK;
    rqc_err rc = rqci_read_ws_number(r, workspace, &ws);
    bool more = false;
    const rqc_record *last = NULL;
    if (rc == RQC_OK)
        rc = rqci_list_fit(ret_list, limit);
    for (int i = 0; i < 2 && rc == RQC_OK; i++)
        rc = lane_open(&lanes[i], r, i, ws, since, cursor);
    while (rc == RQC_OK) {
        lane *l = earlier(&lanes[0].now, &lanes[1].now) ? &lanes[0] : &lanes[1];
        if (l->now.rec == NULL || l->now.time > until)
            break;
        if (method == NULL || method_matches(l->now.rec, method, n)) {
            if (ret_list->n == limit) {
                more = true;
                break;
            }
            last = ret_list->items[ret_list->n++] = l->now.rec;
        }
        rc = lane_next(l);
    }
    if (rc == RQC_NOT_FOUND) // an unknown workspace is empty
        rc = RQC_OK;
    if (rc == RQC_OK && cursor != NULL) {
        cursor->state = more ? 1 : 2;
        if (last != NULL) {
            cursor->updated_at = rqci_rec_updated(last);
            memcpy(cursor->id, rqci_rec_id(last), 16);
        }
    }
    return rc;
}

// ---- Many ids ----

rqc_err rqci_batch(rqci_reader *r, const uint8_t (*ids)[16], size_t n, int64_t until,
                   rqci_list *ret_list)
{
    ret_list->n = 0;
    rqc_err rc = rqci_sorted_ids(r, &ids, n);
    if (rc == RQC_OK)
        rc = rqci_list_fit(ret_list, n);
    for (size_t i = 0; rc == RQC_OK && i < n; i++) {
        const rqc_record *rec;
        if (i > 0 && rqci_id_equal(ids[i - 1], ids[i]))
            continue;
        rc = rqci_get(r, RQCI_HTTP, ids[i], &rec);
        if (rc == RQC_OK && rqci_rec_updated(rec) <= until)
            ret_list->items[ret_list->n++] = rec;
        if (rc == RQC_NOT_FOUND)
            rc = RQC_OK;
    }
    if (rc == RQC_OK)
        rqci_sort_newest(ret_list->items, ret_list->n);
    return rc;
}

static void reverse(const rqc_record **items, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const rqc_record *t = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = t;
    }
}

// Deltas of one parent in (since, until], by (updated_at, id) ascending.
static rqc_err deltas_of(rqci_reader *r, MDB_cursor *c, const uint8_t parent[16], int64_t since,
                         int64_t until, rqci_list *list)
{
    uint8_t k[RQCI_KEY_DELTA];
    if (since == INT64_MAX)
        return RQC_OK;
    rqci_key_delta(k, parent, since + 1, first_id);
    MDB_val key = {sizeof k, k}, val;
    size_t tie = list->n; // where the records of the current time begin
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    for (; got == 0 && key.mv_size == RQCI_KEY_DELTA && memcmp(key.mv_data, parent, 16) == 0;
         got = mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
        const int64_t time = rqci_from_ascending(rqci_get64be((const uint8_t *)key.mv_data + 16));
        if (time > until)
            break;
        const rqc_record *rec;
        rqc_err rc = rqci_delta_record(r, &key, &val, &rec);
        if (rc == RQC_OK)
            rc = rqci_list_fit(list, 1);
        if (rc != RQC_OK)
            return rc;
        if (list->n > tie && rqci_rec_updated(list->items[tie]) != time) {
            reverse(list->items + tie, list->n - tie);
            tie = list->n;
        }
        list->items[list->n++] = rec;
    }
    if (list->n > tie)
        reverse(list->items + tie, list->n - tie);
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "deltas", NULL);
}

rqc_err rqci_deltas(rqci_reader *r, const uint8_t (*parents)[16], size_t n, int64_t since,
                    int64_t until, rqci_list *ret_list)
{
    MDB_cursor *c;
    ret_list->n = 0;
    rqc_err rc = rqci_sorted_ids(r, &parents, n);
    if (rc == RQC_OK)
        rc = rqci_cursor(r, RQCI_DB_DELTA, &c);
    for (size_t i = 0; rc == RQC_OK && i < n; i++)
        if (i == 0 || !rqci_id_equal(parents[i - 1], parents[i]))
            rc = deltas_of(r, c, parents[i], since, until, ret_list);
    return rc;
}
