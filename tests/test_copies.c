// SPDX-License-Identifier: Apache-2.0
// The view keeps a request's record in several places, unless it is large: every way to it gives
// the same bytes, at every size on both sides of the limit, and after each change of size.
#include "api/reqcast.h"

#include "cache/internal.h"
#include "record/record.h"
#include "tests/store_db.h"

enum { BASE, DELTA, REQUESTS };

static const uint8_t ids[REQUESTS][16] = {{1, 0, 1}, {1, 0, 2}};

static void make_workspace(rqc_db *db)
{
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    if (sdb_put_workspace(t) != RQC_OK || rqc_commit(t, &result) != RQC_OK)
        bail("no workspace");
    rqc_txn_free(t);
}

static void put(rqc_db *db, int which, size_t url_bytes, int64_t updated)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {{0}};
    char *url = calloc(1, url_bytes + 1);
    if (!url)
        bail("no memory");
    memset(url, 'u', url_bytes);
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(sdb_workspace);
    row[RQC_HTTP_NAME] = rqc_text("n");
    row[RQC_HTTP_URL] = rqc_text(url);
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    row[RQC_HTTP_UPDATED_AT] = rqc_int(updated);
    if (which == DELTA) {
        row[RQC_HTTP_IS_DELTA] = rqc_bool(1);
        row[RQC_HTTP_PARENT_HTTP_ID] = rqc_id(ids[BASE]);
    }
    rqc_txn *t;
    rqc_error e = {RQC_OK, ""};
    rqc_result result;
    if (rqc_txn_new(db, &t, &e) != RQC_OK || rqc_put(t, RQC_HTTP, ids[which], row) != RQC_OK ||
        rqc_commit(t, &result) != RQC_OK)
        bail("cannot put a request with a url of %zu bytes", url_bytes);
    rqc_txn_free(t);
    free(url);
}

static bool same(const rqc_record *a, const rqc_record *b)
{
    return rqci_rec_size(a) == rqci_rec_size(b) && memcmp(a, b, rqci_rec_size(a)) == 0;
}

static void look(rqc_db *db, const char *what, size_t url_bytes)
{
    rqc_read *r;
    rqc_list list = RQC_LIST_INIT;
    const rqc_record *got[REQUESTS];
    if (rqc_read_new(db, &r, NULL) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        bail("no session");
    for (int i = 0; i < REQUESTS; i++) {
        is(rqc_get(r, RQC_HTTP, ids[i], &got[i]), RQC_OK, "%s: record %d is there", what, i);
        const rqc_value url = rqc_field(got[i], RQC_HTTP_URL);
        const uint64_t n = url.type == RQC_LARGE ? url.u.length : url.n;
        is(n, (uint64_t)url_bytes, "%s: record %d is the newest", what, i);
    }
    is(rqc_page(r, sdb_workspace, RQC_ANY_TIME, NULL, 10, NULL, &list), RQC_OK, "page");
    ok(list.n == 1 && same(list.items[0], got[BASE]), "%s: as the page has it", what);
    is(rqc_deltas(r, &ids[BASE], 1, 0, RQC_ANY_TIME, &list), RQC_OK, "deltas");
    ok(list.n == 1 && same(list.items[0], got[DELTA]), "%s: as the base's list has it", what);
    is(rqc_chain(r, ids[BASE], RQC_ANY_TIME, &list), RQC_OK, "chain");
    ok(list.n == 2 && same(list.items[0], got[BASE]) && same(list.items[1], got[DELTA]),
       "%s: as the chain has it", what);
    is(rqc_updates(r, sdb_workspace, 0, RQC_ANY_TIME, NULL, 10, NULL, &list), RQC_OK, "updates");
    ok(list.n == 2 && same(list.items[0], got[BASE]) && same(list.items[1], got[DELTA]),
       "%s: as the updates have it", what);
    rqc_list_free(&list);
    rqc_read_free(r);
    rqc_verified v;
    is(rqc_verify(db, 0, NULL, NULL, &v, NULL), RQC_OK, "%s: verify", what);
    is(v.differences, (uint64_t)0, "%s: no difference", what);
}

int main(void)
{
    // The smallest url whose record has no copy any more, for a record of this shape.
    size_t limit = 1;
    sdb_begin("copies");
    rqc_db *db = sdb_open();
    make_workspace(db);
    put(db, BASE, limit, 1);
    rqc_read *r;
    const rqc_record *rec;
    if (rqc_read_new(db, &r, NULL) != RQC_OK || rqc_read_begin(r) != RQC_OK ||
        rqc_get(r, RQC_HTTP, ids[BASE], &rec) != RQC_OK)
        bail("cannot read");
    const size_t rest = rqci_rec_size(rec) - limit;
    rqc_read_free(r);
    while (rqci_place_has_record((limit + rest + 7) / 8 * 8))
        limit++;
    const size_t sizes[] = {1,     limit - 17, limit - 16, limit - 9, limit - 8, limit - 1,
                            limit, limit + 1,  limit + 8,  32768,     32769,     100000};
    int64_t time = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char what[64];
        snprintf(what, sizeof what, "%zu bytes", sizes[i]);
        put(db, BASE, sizes[i], time);
        put(db, DELTA, sizes[i], ++time);
        look(db, what, sizes[i]);
    }
    put(db, BASE, 10, time);
    put(db, DELTA, 10, time + 1);
    look(db, "small again", 10);
    rqc_close(db);
    db = sdb_open();
    look(db, "opened again", 10);
    rqc_close(db);
    sdb_end();
    return tap_done();
}
