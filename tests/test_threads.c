// SPDX-License-Identifier: Apache-2.0
// Threads: every transaction is a request with three headers of one value; nobody may ever see
// another number.
#include "api/reqcast.h"

#include "tests/store_db.h"

#include <stdatomic.h>

typedef struct crowd {
    rqc_db *db;
    uint64_t rounds;
    _Atomic uint64_t written, seen;
    _Atomic int faults;
    _Atomic bool stop;
    _Atomic uint64_t next;
} crowd;

static void *write_thread(void *arg)
{
    crowd *c = arg;
    rqc_txn *t = sdb_txn(c->db);
    for (uint64_t i = 0; i < c->rounds; i++) {
        uint8_t http[16], header[16];
        char value[32];
        const uint64_t n = atomic_fetch_add(&c->next, 1);
        rqc_result result;
        snprintf(value, sizeof value, "%" PRIu64, n);
        sdb_id(http, 5, n % 50);
        rqc_err rc = sdb_put_http(t, http, value, (int64_t)(n % 7));
        for (uint64_t k = 0; k < 3 && rc == RQC_OK; k++) {
            sdb_id(header, 6, n % 50 * 3 + k);
            rc = sdb_put_header(t, header, http, value);
        }
        if (rc == RQC_OK)
            rc = rqc_commit(t, &result);
        if (rc != RQC_OK || !result.visible)
            atomic_fetch_add(&c->faults, 1);
        else
            atomic_fetch_add(&c->written, 1);
    }
    rqc_txn_free(t);
    return NULL;
}

static bool consistent(rqc_read *r, const rqc_record *http, rqc_list *headers)
{
    uint8_t id[1][16];
    memcpy(id, rqc_record_id(http), 16);
    const rqc_value name = rqc_field(http, RQC_HTTP_NAME);
    if (rqc_children(r, RQC_HTTP_HEADER, (const uint8_t(*)[16])id, 1, RQC_ANY_TIME, 1, headers) !=
            RQC_OK ||
        headers->n != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        const rqc_value v = rqc_field(headers->items[i], RQC_HTTP_HEADER_HEADER_VALUE);
        if (v.n != name.n || memcmp(v.p, name.p, v.n) != 0)
            return false;
    }
    return true;
}

static void *read_thread(void *arg)
{
    crowd *c = arg;
    rqc_list page = RQC_LIST_INIT, headers = RQC_LIST_INIT;
    rqc_read *r = NULL;
    uint64_t last = 0;
    if (rqc_read_new(c->db, &r, NULL) != RQC_OK)
        atomic_fetch_add(&c->faults, 1);
    while (r && !atomic_load(&c->stop)) {
        if (rqc_read_begin(r) != RQC_OK ||
            rqc_page(r, sdb_workspace, RQC_ANY_TIME, NULL, 200, NULL, &page) != RQC_OK) {
            atomic_fetch_add(&c->faults, 1);
            break;
        }
        const uint64_t seq = rqc_read_position(r).seq;
        if (seq < last)
            atomic_fetch_add(&c->faults, 1);
        last = seq;
        for (size_t i = 0; i < page.n; i++)
            if (rqc_record_id(page.items[i])[1] == 5 && !consistent(r, page.items[i], &headers))
                atomic_fetch_add(&c->faults, 1);
        atomic_fetch_add(&c->seen, 1);
        rqc_read_end(r);
    }
    rqc_list_free(&page);
    rqc_list_free(&headers);
    rqc_read_free(r);
    return NULL;
}

static void test_threads(void)
{
    crowd c = {.db = sdb_open(), .rounds = tap_scaled(300)};
    pthread_t readers[3], writers[3];
    for (size_t i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, read_thread, &c);
    for (size_t i = 0; i < 3; i++)
        pthread_create(&writers[i], NULL, write_thread, &c);
    for (size_t i = 0; i < 3; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&c.stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    is(atomic_load(&c.faults), 0, "whole transactions only, and positions never go back");
    is(atomic_load(&c.written), 3 * c.rounds, "every commit succeeded and could be seen");
    ok(atomic_load(&c.seen) > 0, "readers read meanwhile (%" PRIu64 " pages)",
       atomic_load(&c.seen));
    rqc_verified v = {0};
    is(rqc_verify(c.db, 0, NULL, NULL, &v, NULL), RQC_OK, "verify afterwards");
    is(v.differences, 0, "finds no difference");
    rqc_close(c.db);
}

int main(void)
{
    sdb_begin("threads");
    sdb_make();
    test_threads();
    sdb_end();
    return tap_done();
}
