// SPDX-License-Identifier: Apache-2.0
// Read sessions: their mistakes, their time, and values that are too large for the view.
#include "api/reqcast.h"

#include "tests/store_db.h"

static void test_sessions(void)
{
    uint8_t id[16];
    const rqc_record *rec = NULL;
    rqc_list list = RQC_LIST_INIT;
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    rqc_changes_list changes = RQC_CHANGES_INIT;
    rqc_cursor at = RQC_CURSOR_INIT(0);
    int up_to_date = -1;
    sdb_id(id, 9, 1);
    rqc_options o = sdb_options();
    o.max_age_ms = 200;
    rqc_db *db = NULL;
    if (rqc_open(sdb_path, &o, &db, NULL) != RQC_OK)
        bail("open");
    rqc_read *r = NULL;
    is(rqc_read_new(db, &r, NULL), RQC_OK, "a session");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_INVALID, "that was not begun reads nothing");
    is(rqc_read_position(r).seq, 0, "and has no position");
    is(rqc_read_begin(r), RQC_OK, "begun");
    is(rqc_read_begin(r), RQC_INVALID, "twice is a mistake: %s", rqc_read_error(r));
    is(rqc_get(r, (rqc_entity)0, id, &rec), RQC_INVALID, "entity 0");
    is(rqc_get(r, (rqc_entity)14, id, &rec), RQC_INVALID, "entity 14");
    is(rqc_page(r, sdb_workspace, RQC_ANY_TIME, NULL, RQC_PAGE_MAX + 1, &cursor, &list),
       RQC_INVALID, "a page too large");
    cursor.state = 3;
    is(rqc_page(r, sdb_workspace, RQC_ANY_TIME, NULL, 1, &cursor, &list), RQC_INVALID,
       "a cursor that no page gave");
    is(rqc_children(r, RQC_HTTP, NULL, 0, RQC_ANY_TIME, 1, &list), RQC_INVALID,
       "requests are nobody's children");
    is(rqc_children(r, RQC_HTTP_HEADER, NULL, 1, RQC_ANY_TIME, 1, &list), RQC_INVALID,
       "no ids where one was promised");
    is(rqc_changes(r, sdb_workspace, &at, 0, &changes, &up_to_date), RQC_INVALID,
       "changes without a limit");
    at.seq = UINT64_MAX;
    is(rqc_changes(r, sdb_workspace, &at, 1, &changes, &up_to_date), RQC_FUTURE,
       "changes from the future");
    is(up_to_date, -1, "results are untouched");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "after all these mistakes the session still reads");
    sdb_pause_ms(400);
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_EXPIRED, "but not for ever: %s", rqc_read_error(r));
    rqc_read_end(r);
    rqc_read_end(r);
    is(rqc_read_begin(r), RQC_OK, "begun anew");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "it reads again");
    rqc_read_free(r);
    rqc_list_free(&list);
    rqc_changes_free(&changes);
    rqc_close(db);
}

static void test_large(void)
{
    enum { SIZE = 200000 };
    static uint8_t body[SIZE];
    uint8_t http[16], id[16];
    sdb_id(http, 9, 1);
    sdb_id(id, 3, 1);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = (uint8_t)(i * 7 + i / 256);
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_value row[RQC_HTTP_BODY_RAW_NFIELDS] = {{0}};
    row[RQC_HTTP_BODY_RAW_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(body, SIZE);
    is(rqc_put(t, RQC_HTTP_BODY_RAW, id, row), RQC_OK, "a large body");
    is(rqc_commit(t, NULL), RQC_OK, "is stored");
    rqc_read *r = sdb_read(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP_BODY_RAW, id, &rec), RQC_OK, "its record is in the view");
    const rqc_value v = rqc_field(rec, RQC_HTTP_BODY_RAW_RAW_DATA);
    is(v.type, RQC_LARGE, "its bytes are not");
    is(v.u.length, SIZE, "but their length is");
    void *bytes = NULL;
    size_t n = 0;
    is(rqc_large(r, rec, RQC_HTTP_BODY_RAW_RAW_DATA, &bytes, &n), RQC_OK,
       "the bytes come on request");
    is(n, SIZE, "all of them");
    is_mem(bytes, body, SIZE, "as they were");
    free(bytes);
    is(rqc_large(r, rec, RQC_HTTP_BODY_RAW_HTTP_ID, &bytes, &n), RQC_INVALID,
       "an id is no large value");
    memset(row, 0, sizeof row);
    body[5]++;
    row[RQC_HTTP_BODY_RAW_RAW_DATA] = rqc_bytes(body, SIZE);
    is(rqc_patch(t, RQC_HTTP_BODY_RAW, id, row, 0), RQC_OK, "the body changes");
    is(rqc_commit(t, NULL), RQC_OK, "under the session");
    is(rqc_large(r, rec, RQC_HTTP_BODY_RAW_RAW_DATA, &bytes, &n), RQC_CHANGED, "which is told: %s",
       rqc_read_error(r));
    rqc_read_free(r);
    rqc_txn_free(t);
    rqc_close(db);
}

int main(void)
{
    sdb_begin("session");
    sdb_make();
    test_sessions();
    test_large();
    sdb_end();
    return tap_done();
}
