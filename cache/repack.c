// SPDX-License-Identifier: Apache-2.0
// A second copy of a view that was just built, made in the order of the keys. LMDB fills a page
// only where keys are appended at the end of a tree; a build inserts everywhere, as records of
// several workspaces and owners come, and leaves pages half empty (of 11.6 million records in 100
// workspaces 457 bytes a record, and 300 after this).
#include "cache/internal.h"

#define BYTES_PER_TXN (UINT64_C(64) << 20)

typedef struct copy {
    rqci_env *to;
    MDB_txn *in, *out;
    MDB_cursor *put; // in `out`, of the database that is copied
    uint64_t bytes;  // of this transaction
    const rqci_view_options *opt;
    uint64_t done, total; // entries
} copy;

static int end_txn(copy *c)
{
    if (c->put != NULL)
        mdb_cursor_close(c->put);
    c->put = NULL;
    const int rc = c->out != NULL ? mdb_txn_commit(c->out) : 0;
    c->out = NULL;
    c->bytes = 0;
    return rc;
}

static int begin_txn(copy *c, enum rqci_dbi db)
{
    int rc = end_txn(c);
    if (rc == 0)
        rc = mdb_txn_begin(c->to->env, NULL, 0, &c->out);
    if (rc == 0)
        rc = mdb_cursor_open(c->out, c->to->dbi[db], &c->put);
    return rc;
}

static void tell(const copy *c)
{
    if (c->opt->progress != NULL)
        c->opt->progress(c->opt->progress_ctx, "packing the view", c->done, c->total);
}

static int copy_db(copy *c, const rqci_env *from, enum rqci_dbi db)
{
    MDB_cursor *get = NULL;
    MDB_val key, val;
    int rc = mdb_cursor_open(c->in, from->dbi[db], &get);
    if (rc == 0)
        rc = begin_txn(c, db);
    while (rc == 0 && (rc = mdb_cursor_get(get, &key, &val, MDB_NEXT)) == 0) {
        if (c->bytes > BYTES_PER_TXN) {
            rc = begin_txn(c, db);
            tell(c);
        }
        // The main database of the copy has the others' roots already.
        if (rc == 0 && db != RQCI_DB_MAIN)
            rc = mdb_cursor_put(c->put, &key, &val, MDB_APPEND);
        else if (rc == 0 && rqci_main_entry(&key))
            rc = mdb_cursor_put(c->put, &key, &val, 0);
        c->bytes += key.mv_size + val.mv_size;
        c->done++;
    }
    if (get != NULL)
        mdb_cursor_close(get);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

rqc_err rqci_repack(const rqci_env *from, rqci_env *to, const rqci_view_options *opt,
                    rqci_errbuf *err)
{
    copy c = {.to = to, .opt = opt};
    int rc = mdb_txn_begin(from->env, NULL, MDB_RDONLY, &c.in);
    for (int db = 0; rc == 0 && db < RQCI_DB_COUNT; db++) {
        MDB_stat stat;
        rc = mdb_stat(c.in, from->dbi[db], &stat);
        c.total += rc == 0 ? stat.ms_entries : 0;
    }
    for (int db = 0; rc == 0 && db < RQCI_DB_COUNT; db++)
        rc = copy_db(&c, from, (enum rqci_dbi)db);
    if (rc == 0)
        rc = end_txn(&c);
    if (rc == 0)
        tell(&c);
    if (c.put != NULL)
        mdb_cursor_close(c.put);
    if (c.out != NULL)
        mdb_txn_abort(c.out);
    if (c.in != NULL)
        mdb_txn_abort(c.in);
    return rc == 0 ? rqci_env_fill(to, err) : rqci_lmdb_err(rc, "copy in order", err);
}
