// SPDX-License-Identifier: Apache-2.0
// Counts of requests by time. Days are counted as they change, so only the part of one day is ever
// walked.
#include "cache/internal.h"

#include <stdlib.h>

// ---- Counting, while a transaction is written ----

static rqci_day *day_slot(rqci_day *table, size_t cap, uint32_t ws, int64_t day)
{
    size_t i =
        (size_t)((uint64_t)day * UINT64_C(0x9e3779b97f4a7c15) + ws * UINT64_C(0xff51afd7ed558ccd)) &
        (cap - 1);
    while (table[i].used && (table[i].ws != ws || table[i].day != day))
        i = (i + 1) & (cap - 1);
    return &table[i];
}

rqc_err rqci_day_count(rqci_wtxn *w, uint32_t ws, int64_t updated, uint8_t class, int sign)
{
    const int64_t day = rqci_day_of(updated);
    if (2 * (w->days_n + 1) > w->days_cap) {
        const size_t cap = w->days_cap == 0 ? 16 : w->days_cap * 2;
        rqci_day *table = calloc(cap, sizeof *table);
        if (table == NULL)
            return RQC_NO_MEMORY;
        for (size_t i = 0; i < w->days_cap; i++)
            if (w->days[i].used)
                *day_slot(table, cap, w->days[i].ws, w->days[i].day) = w->days[i];
        free(w->days);
        w->days = table;
        w->days_cap = cap;
    }
    rqci_day *d = day_slot(w->days, w->days_cap, ws, day);
    if (!d->used) {
        *d = (rqci_day){.used = true, .ws = ws, .day = day};
        w->days_n++;
    }
    d->more[class] += sign > 0 ? 1 : UINT64_MAX;
    return RQC_OK;
}

#define KEY_DAY 13
static void key_day(uint8_t k[KEY_DAY], uint32_t ws, int64_t day)
{
    k[0] = 'd';
    rqci_put32be(k + 1, ws);
    rqci_put64be(k + 5, rqci_ascending(day));
}

static rqc_err flush_day(rqci_wtxn *w, const rqci_day *d)
{
    uint8_t k[KEY_DAY], v[RQCI_CLASSES * 8];
    const MDB_dbi dbi = w->env->dbi[RQCI_DB_WS];
    key_day(k, d->ws, d->day);
    MDB_val key = {sizeof k, k}, val;
    int rc = mdb_get(w->txn, dbi, &key, &val);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rqci_lmdb_err(rc, "day", w->err);
    uint64_t any = 0;
    for (int i = 0; i < RQCI_CLASSES; i++) {
        const uint64_t n =
            (rc == 0 && val.mv_size == sizeof v ? rqci_get64((const uint8_t *)val.mv_data + i * 8)
                                                : 0) +
            d->more[i];
        rqci_put64(v + i * 8, n);
        any |= n;
    }
    val = (MDB_val){sizeof v, v};
    if (any != 0)
        rc = mdb_put(w->txn, dbi, &key, &val, 0);
    else if (rc == 0)
        rc = mdb_del(w->txn, dbi, &key, NULL);
    else
        rc = 0;
    return rqci_lmdb_err(rc, "day", w->err);
}

rqc_err rqci_days_flush(rqci_wtxn *w)
{
    rqc_err rc = RQC_OK;
    for (size_t i = 0; i < w->days_cap && rc == RQC_OK; i++)
        if (w->days[i].used)
            rc = flush_day(w, &w->days[i]);
    rqci_days_drop(w);
    return rc;
}

void rqci_days_drop(rqci_wtxn *w)
{
    free(w->days);
    w->days = NULL;
    w->days_cap = w->days_n = 0;
}

bool rqci_day_get(MDB_txn *txn, const rqci_env *e, uint32_t ws, int64_t day,
                  uint64_t ret_counts[RQCI_CLASSES])
{
    uint8_t k[KEY_DAY];
    key_day(k, ws, day);
    MDB_val key = {sizeof k, k}, val;
    if (mdb_get(txn, e->dbi[RQCI_DB_WS], &key, &val) != 0 || val.mv_size != RQCI_CLASSES * 8)
        return false;
    for (int i = 0; i < RQCI_CLASSES; i++)
        ret_counts[i] = rqci_get64((const uint8_t *)val.mv_data + i * 8);
    return true;
}

// ---- Reading ----

// Requests of one class from `from` to the end of its day, by a walk.
static rqc_err walk_count(rqci_reader *r, uint32_t ws, uint8_t class, int64_t from,
                          uint64_t *ret_count)
{
    static const uint8_t first_id[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                         255, 255, 255, 255, 255, 255, 255, 255};
    uint8_t k[RQCI_KEY_HTTP];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_HTTP, &c);
    if (rc != RQC_OK)
        return rc;
    const int64_t day = rqci_day_of(from);
    rqci_key_http(k, ws, class, from, first_id);
    MDB_val key = {sizeof k, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    uint64_t n = 0;
    while (got == 0 && key.mv_size == RQCI_KEY_HTTP && memcmp(key.mv_data, k, 5) == 0 &&
           rqci_day_of(rqci_from_ascending(rqci_get64be((const uint8_t *)key.mv_data + 5))) ==
               day) {
        n++;
        got = mdb_cursor_get(c, &key, &val, MDB_NEXT);
    }
    *ret_count = n;
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "count", NULL);
}

// Calls fn for each day from `since` (inclusive) on, in ascending or descending order, the first
// day cut at `since`. fn returns false to stop.
static rqc_err days(rqci_reader *r, uint32_t ws, int64_t since, bool newest_first,
                    bool (*fn)(void *ctx, int64_t day, const uint64_t counts[RQCI_CLASSES]),
                    void *ctx)
{
    const int64_t first = rqci_day_of(since);
    uint8_t k[KEY_DAY];
    MDB_cursor *c;
    rqc_err rc = rqci_cursor(r, RQCI_DB_WS, &c);
    if (rc != RQC_OK)
        return rc;
    // The key behind a workspace's last day is that of the next workspace's first.
    key_day(k, newest_first ? ws + 1 : ws, newest_first ? INT64_MIN : first);
    MDB_val key = {sizeof k, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    if (newest_first)
        got = mdb_cursor_get(c, &key, &val, got == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
    for (; got == 0; got = mdb_cursor_get(c, &key, &val, newest_first ? MDB_PREV : MDB_NEXT)) {
        const uint8_t *p = key.mv_data;
        if (key.mv_size != KEY_DAY || p[0] != 'd' || rqci_get32be(p + 1) != ws)
            break;
        const int64_t day = rqci_from_ascending(rqci_get64be(p + 5));
        uint64_t counts[RQCI_CLASSES];
        if (day < first)
            break;
        if (val.mv_size != sizeof counts)
            return RQC_CORRUPT;
        for (int i = 0; i < RQCI_CLASSES; i++)
            counts[i] = rqci_get64((const uint8_t *)val.mv_data + i * 8);
        if (day == first && since != rqci_day_start(day)) {
            for (uint8_t i = 0; i < RQCI_CLASSES && rc == RQC_OK; i++)
                rc = counts[i] == 0 ? RQC_OK : walk_count(r, ws, i, since, &counts[i]);
            if (rc != RQC_OK)
                return rc;
        }
        if (!fn(ctx, day, counts))
            return RQC_OK;
    }
    return got == 0 || got == MDB_NOTFOUND ? RQC_OK : rqci_lmdb_err(got, "days", NULL);
}

// Earliest (or latest) time of one class; false when it is empty.
static bool end_time(rqci_reader *r, uint32_t ws, uint8_t class, bool latest, int64_t *ret_time)
{
    uint8_t k[RQCI_KEY_HTTP] = {0};
    MDB_cursor *c;
    if (rqci_cursor(r, RQCI_DB_HTTP, &c) != RQC_OK)
        return false;
    rqci_put32be(k, ws);
    k[4] = (uint8_t)(class + (latest ? 1 : 0));
    MDB_val key = {sizeof k, k}, val;
    int got = mdb_cursor_get(c, &key, &val, MDB_SET_RANGE);
    if (latest)
        got = mdb_cursor_get(c, &key, &val, got == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
    k[4] = class;
    if (got != 0 || key.mv_size != sizeof k || memcmp(key.mv_data, k, 5) != 0)
        return false;
    *ret_time = rqci_from_ascending(rqci_get64be((const uint8_t *)key.mv_data + 5));
    return true;
}

static bool add_day(void *ctx, int64_t day, const uint64_t counts[RQCI_CLASSES])
{
    (void)day;
    for (int i = 0; i < RQCI_CLASSES; i++)
        *(uint64_t *)ctx += counts[i];
    return true;
}

rqc_err rqci_metrics(rqci_reader *r, const uint8_t workspace[16], int64_t since,
                     rqc_metrics *ret_metrics)
{
    rqc_metrics m = {0};
    rqci_ws_state s;
    uint32_t ws;
    rqc_err rc = rqci_read_ws_number(r, workspace, &ws);
    if (rc == RQC_OK)
        rc = rqci_ws(r, workspace, &s);
    if (rc == RQC_OK) {
        m.base = s.http[RQCI_CLASS_BASE] + s.http[RQCI_CLASS_SNAPSHOT];
        m.delta = s.http[RQCI_CLASS_DELTA] + s.http[RQCI_CLASS_DELTA | RQCI_CLASS_SNAPSHOT];
        m.total = m.base + m.delta;
        for (uint8_t i = 0; i < RQCI_CLASSES; i++) {
            int64_t t;
            if (s.http[i] == 0)
                continue;
            if (end_time(r, ws, i, true, &t) && (!m.has_times || t > m.latest))
                m.latest = t;
            if (end_time(r, ws, i, false, &t) && (!m.has_times || t < m.earliest))
                m.earliest = t;
            m.has_times = 1;
        }
        if (m.has_times && since < m.earliest)
            m.recent = m.total;
        else if (m.has_times && since < m.latest)
            rc = days(r, ws, since + 1, false, add_day, &m.recent);
    }
    if (rc == RQC_NOT_FOUND)
        rc = RQC_OK;
    if (rc == RQC_OK)
        *ret_metrics = m;
    return rc;
}

typedef struct activity {
    rqc_activity *days;
    size_t n, max;
} activity;

static bool add_activity(void *ctx, int64_t day, const uint64_t counts[RQCI_CLASSES])
{
    activity *a = ctx;
    rqc_activity d = {.day = day};
    d.bases = counts[RQCI_CLASS_BASE] + counts[RQCI_CLASS_SNAPSHOT];
    d.deltas = counts[RQCI_CLASS_DELTA] + counts[RQCI_CLASS_DELTA | RQCI_CLASS_SNAPSHOT];
    d.changes = d.bases + d.deltas;
    // Milliseconds in a column of seconds are no date that a calendar of four-digit years has.
    if (d.changes > 0 && day >= RQCI_DAY_FIRST && day <= RQCI_DAY_LAST)
        a->days[a->n++] = d;
    return a->n < a->max && day >= RQCI_DAY_FIRST;
}

rqc_err rqci_activity(rqci_reader *r, const uint8_t workspace[16], int64_t since,
                      rqc_activity *ret_days, size_t max, size_t *ret_n)
{
    activity a = {ret_days, 0, max};
    uint32_t ws;
    rqc_err rc = rqci_read_ws_number(r, workspace, &ws);
    if (rc == RQC_OK && max > 0)
        rc = days(r, ws, since, true, add_activity, &a);
    if (rc == RQC_NOT_FOUND)
        rc = RQC_OK;
    if (rc == RQC_OK)
        *ret_n = a.n;
    return rc;
}
