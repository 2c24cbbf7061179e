// SPDX-License-Identifier: Apache-2.0
// For the torture of streams: threads that write through the sidecar, requests that always change
// together among them.
#ifndef RQC_TESTS_STREAM_WRITERS_H
#define RQC_TESTS_STREAM_WRITERS_H

#include "tests/store_fixture.h"

#include "api/reqcast.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define WORKSPACES 3
#define PAIRS      8
#define POOL       60
#define WRITERS    3

static char db_path[FIX_PATH], view_dir[FIX_PATH];
static _Atomic bool stop_writers;
static _Atomic uint64_t commits, refused;
static uint8_t workspaces[WORKSPACES][16];
static char filler[6000];

static void id_of(uint8_t kind, unsigned a, unsigned b, uint8_t ret[16])
{
    const uint8_t id[16] = {1, 0x99, 0xc8, 0x2c, 0xc0, 0, kind, (uint8_t)a, (uint8_t)b};
    memcpy(ret, id, 16);
}

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static rqc_err put_http(rqc_txn *t, const uint8_t id[16], unsigned ws, const char *name)
{
    rqc_value row[RQC_HTTP_NFIELDS] = {0};
    row[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspaces[ws]);
    row[RQC_HTTP_NAME] = rqc_text(name);
    row[RQC_HTTP_URL] = rqc_text("https://example.com/");
    row[RQC_HTTP_METHOD] = rqc_text("GET");
    return rqc_put(t, RQC_HTTP, id, row);
}

static rqc_err put_header(rqc_txn *t, const uint8_t id[16], const uint8_t http[16],
                          const char *value, uint32_t n)
{
    rqc_value row[RQC_HTTP_HEADER_NFIELDS] = {0};
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(http);
    row[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("X");
    row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_textn(value, n);
    return rqc_put(t, RQC_HTTP_HEADER, id, row);
}

// Two requests that always change together.
static rqc_err write_pair(rqc_txn *t, rows_random *x, const char *name)
{
    uint8_t a[16], b[16];
    const unsigned i = rows_below(x, PAIRS);
    id_of(1, 0, i, a);
    id_of(2, 0, i, b);
    const rqc_err rc = put_http(t, a, 0, name);
    return rc == RQC_OK ? put_http(t, b, 0, name) : rc;
}

static rqc_err write_any(rqc_txn *t, rows_random *x, unsigned writer, const char *name)
{
    uint8_t id[16], child[16];
    const unsigned i = rows_below(x, POOL), what = rows_below(x, 100);
    id_of(3, writer, i, id);
    if (what < 35)
        return put_http(t, id, rows_below(x, WORKSPACES), name); // also moves it
    if (what < 45)
        return rqc_delete(t, RQC_HTTP, id, 0);
    id_of(4, writer, i * 4 + rows_below(x, 4), child);
    if (what < 98)
        return put_header(t, child, id, name, (uint32_t)strlen(name));
    rqc_err rc = put_http(t, id, 1, name);
    for (unsigned k = 0; rc == RQC_OK && k < 240; k++) { // more than a frame holds
        id_of((uint8_t)(5 + writer), i, k, child);
        rc = put_header(t, child, id, filler, sizeof filler);
    }
    return rc;
}

static void *write_on(void *arg)
{
    const unsigned writer = (unsigned)(uintptr_t)arg;
    rows_random *x = calloc(1, sizeof *x);
    rows_seed(x, 100 + writer);
    rqc_options o = RQC_OPTIONS_INIT;
    o.view_dir = view_dir;
    rqc_db *db = NULL;
    rqc_txn *t;
    for (uint64_t n = 0; !atomic_load(&stop_writers); n++) {
        char name[32];
        if (!db && rqc_attach(db_path, &o, &db, NULL) != RQC_OK) {
            pause_ms(10);
            continue;
        }
        if (rqc_txn_new(db, &t, NULL) != RQC_OK) {
            pause_ms(10);
            continue;
        }
        snprintf(name, sizeof name, "%u:%llu", writer, (unsigned long long)n);
        rqc_err rc = RQC_OK;
        if (writer == 0)
            rc = write_pair(t, x, name);
        for (unsigned k = 1 + rows_below(x, 6); rc == RQC_OK && k-- > 0;)
            rc = write_any(t, x, writer, name);
        if (rc == RQC_OK)
            rc = rqc_commit(t, NULL);
        atomic_fetch_add(rc == RQC_OK ? &commits : &refused, 1);
        rqc_txn_free(t);
        pause_ms(rows_below(x, 4));
    }
    rqc_close(db);
    free(x);
    return NULL;
}

#endif
