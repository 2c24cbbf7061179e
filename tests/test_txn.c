// SPDX-License-Identifier: Apache-2.0
// Transactions: what is refused, and when; conditions; what a commit counts.
#include "api/reqcast.h"

#include "tests/store_db.h"

static void test_transactions(void)
{
    uint8_t id[16], child[16], nobody[16];
    sdb_id(id, 2, 1);
    sdb_id(child, 2, 2);
    sdb_id(nobody, 2, 3);
    rqc_db *db = sdb_open();
    rqc_txn *t = sdb_txn(db);
    rqc_result result;
    rqc_value row[RQC_FIELD_MAX] = {{0}};
    is(rqc_put(t, RQC_HTTP, id, row), RQC_INVALID,
       "a row without what it needs is refused at once: %s", rqc_txn_error(t));
    is(rqc_put(t, (rqc_entity)99, id, row), RQC_INVALID, "so is an unknown entity");
    is(sdb_put_http(t, id, "a\xff", 1), RQC_INVALID, "and text that is not UTF-8: %s",
       rqc_txn_error(t));
    is(sdb_put_http(t, id, "txn", 1), RQC_OK, "a good row after refused ones");
    is(sdb_put_header(t, child, nobody, "x"), RQC_OK, "a header of nobody can be given");
    is(rqc_commit(t, &result), RQC_CONSTRAINT, "but not stored: %s", rqc_txn_error(t));
    rqc_read *r = sdb_read(db);
    const rqc_record *rec = NULL;
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_NOT_FOUND, "nothing of the transaction was stored");
    rqc_read_end(r);
    is(sdb_put_http(t, nobody, "txn", 1), RQC_OK, "the transaction goes on");
    is(rqc_commit(t, &result), RQC_OK,
       "with its writes still in it: the parent may come after its child");
    is(rqc_delete(t, RQC_HTTP, nobody, 0), RQC_OK, "what it stored");
    is(rqc_delete(t, RQC_HTTP, id, 0), RQC_OK, "can be deleted");
    is(rqc_commit(t, &result), RQC_OK, "again");
    rqc_txn_free(t);
    t = sdb_txn(db);
    is(sdb_put_http(t, id, "txn", 1), RQC_OK, "once more");
    is(sdb_put_header(t, child, id, "x"), RQC_OK, "with a header of it");
    is(rqc_commit(t, &result), RQC_OK, "is stored");
    const uint64_t seq = result.position.seq;
    is(sdb_put_http(t, id, "other", 1), RQC_OK, "put again");
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(sdb_workspace);
    row[RQC_HTTP_NAME] = row[RQC_HTTP_URL] = row[RQC_HTTP_METHOD] = rqc_text("added");
    is(rqc_add(t, RQC_HTTP, id, row), RQC_OK, "added over it");
    is(rqc_commit(t, &result), RQC_OK, "both");
    is(result.written, 1, "one was written");
    is(result.skipped, 1, "the other was there");
    memset(row, 0, sizeof row);
    row[RQC_HTTP_DESCRIPTION] = rqc_text("patched");
    is(rqc_patch(t, RQC_HTTP, id, row, seq), RQC_OK, "a patch on condition");
    is(rqc_commit(t, &result), RQC_CHANGED, "of a record that changed: %s", rqc_txn_error(t));
    rqc_txn_free(t);
    t = sdb_txn(db);
    is(rqc_patch(t, RQC_HTTP, nobody, row, 0), RQC_OK, "a patch of nobody");
    is(rqc_commit(t, &result), RQC_NOT_FOUND, "finds nobody: %s", rqc_txn_error(t));
    rqc_txn_free(t);
    t = sdb_txn(db);
    is(rqc_patch(t, RQC_HTTP, id, row, result.position.seq), RQC_OK,
       "a patch at the newest position");
    is(rqc_commit(t, &result), RQC_OK, "is done");
    is(rqc_read_begin(r), RQC_OK, "a session");
    is(rqc_get(r, RQC_HTTP, id, &rec), RQC_OK, "the record");
    ok(sdb_text_is(rec, RQC_HTTP_NAME, "other") &&
           sdb_text_is(rec, RQC_HTTP_DESCRIPTION, "patched"),
       "has the patched field and the others");
    ok(rqc_record_updated(rec) > 1700000000, "and the time of the patch");
    rqc_read_end(r);
    is(rqc_delete(t, RQC_HTTP, id, 0), RQC_OK, "a delete");
    is(rqc_commit(t, &result), RQC_OK, "is done");
    is(result.deleted, 2, "with what hung on it");
    is(rqc_commit(t, &result), RQC_OK, "an empty transaction is no failure");
    is(result.written + result.deleted + result.skipped, 0, "and does nothing");
    rqc_txn_free(t);
    rqc_read_free(r);
    rqc_close(db);
}

int main(void)
{
    sdb_begin("txn");
    sdb_make();
    test_transactions();
    sdb_end();
    return tap_done();
}
