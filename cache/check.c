// SPDX-License-Identifier: Apache-2.0
// Walks a whole view and holds everything against everything: records against their check values,
// indexes, counters and digests against the records.
#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_TIMEOUT_MS 600000

typedef struct tally {
    rqci_digest digest;
    uint64_t records[RQCI_ENTITY_MAX + 1];
    uint64_t http[RQCI_CLASSES];
    uint64_t tombs;
    uint64_t newest; // seq
    rqci_digest buckets[256];
} tally;

typedef struct check {
    MDB_txn *txn;
    const rqci_env *env;
    rqci_errbuf *err;
    rqci_meta meta;
    tally **ws; // by number
    uint64_t records, http, deltas;
    // The run of requests of one workspace, class and day that is being walked, and the sum of all
    // days' counts.
    bool run;
    uint32_t run_ws;
    uint8_t run_class;
    int64_t run_day;
    uint64_t run_n, in_days;
} check;

static rqc_err fault(const check *c, const char *what)
{
    return rqci_fail(c->err, RQC_CORRUPT, "view: %s", what);
}

static bool has(const check *c, enum rqci_dbi db, const void *k, size_t klen, MDB_val *val)
{
    MDB_val key = {klen, (void *)(uintptr_t)k};
    return mdb_get(c->txn, c->env->dbi[db], &key, val) == 0;
}

static uint64_t entries(const check *c, enum rqci_dbi db)
{
    MDB_stat s;
    return mdb_stat(c->txn, c->env->dbi[db], &s) == 0 ? (uint64_t)s.ms_entries : UINT64_MAX;
}

static tally *tally_of(check *c, uint32_t ws)
{
    if (c->ws[ws] == NULL)
        c->ws[ws] = calloc(1, sizeof(tally));
    return c->ws[ws];
}

static rqc_err home_of(const check *c, uint8_t entity, const uint8_t id[16], const uint8_t *owner,
                       uint32_t *ret_ws)
{
    const rqci_entity *e = rqci_entity_of(entity);
    uint8_t at[16], k[17] = {'i'};
    MDB_val val;
    memcpy(at, e->owner_code == 0 ? id : owner, 16);
    for (uint8_t code = e->owner_code; code == RQCI_HTTP || code == RQCI_HTTP_RESPONSE;
         code = rqci_entity_of(code)->owner_code) {
        const rqc_err rc = rqci_owner_of(c->txn, c->env, code, at, at, c->err);
        if (rc == RQC_NOT_FOUND) { // a broken chain, even where somebody has the zero id
            memset(at, 0, 16);
            break;
        }
        if (rc != RQC_OK)
            return rc;
    }
    *ret_ws = 0;
    if (rqci_id_zero(at))
        return RQC_OK;
    memcpy(k + 1, at, 16);
    if (!has(c, RQCI_DB_WS, k, sizeof k, &val) || val.mv_size != 4 ||
        rqci_get32(val.mv_data) > c->meta.workspaces)
        return fault(c, "a workspace has no number");
    *ret_ws = rqci_get32(val.mv_data);
    return RQC_OK;
}

// What every record needs: its entry in the by-seq index, with its place, and its part in counters
// and digests.
static rqc_err count_record(check *c, const rqc_record *r, uint32_t ws, const uint8_t *place)
{
    uint8_t k[RQCI_KEY_SEQ];
    MDB_val val;
    if (rqci_rec_flags(r) & RQCI_REC_PLACEHOLDER)
        return fault(c, "a placeholder was left behind");
    rqci_key_seq(k, ws, rqci_rec_seq(r), rqci_rec_entity(r), rqci_rec_id(r));
    if (!has(c, RQCI_DB_SEQ, k, sizeof k, &val) || val.mv_size != RQCI_SEQ_HERE ||
        memcmp(val.mv_data, place, RQCI_SEQ_HERE) != 0)
        return fault(c, "a record is missing in the by-seq index");
    if (rqci_rec_seq(r) > c->meta.seq)
        return fault(c, "a record is newer than the view");
    tally *t = tally_of(c, ws);
    if (t == NULL)
        return RQC_NO_MEMORY;
    rqci_digest d;
    rqci_rec_digest(r, &d);
    rqci_digest_add(&t->digest, d);
    rqci_digest_add(&t->buckets[rqci_id_bucket(rqci_rec_id(r))], d);
    if (rqci_rec_seq(r) > t->newest)
        t->newest = rqci_rec_seq(r);
    t->records[0]++;
    t->records[rqci_rec_entity(r)]++;
    c->records++;
    return RQC_OK;
}

static rqc_err end_run(check *c)
{
    uint64_t counts[RQCI_CLASSES];
    if (!c->run)
        return RQC_OK;
    c->run = false;
    return rqci_day_get(c->txn, c->env, c->run_ws, c->run_day, counts) &&
                   counts[c->run_class] == c->run_n
               ? RQC_OK
               : fault(c, "a day's count is wrong");
}

// Requests come ordered by workspace, class and time, so those of one day stand together.
static rqc_err count_day(check *c, uint32_t ws, uint8_t class, int64_t updated)
{
    const int64_t day = rqci_day_of(updated);
    if (!c->run || c->run_ws != ws || c->run_class != class || c->run_day != day) {
        const rqc_err rc = end_run(c);
        if (rc != RQC_OK)
            return rc;
        c->run = true;
        c->run_ws = ws;
        c->run_class = class;
        c->run_day = day;
        c->run_n = 0;
    }
    c->run_n++;
    return RQC_OK;
}

static rqc_err check_day(check *c, const MDB_val *key, const MDB_val *val)
{
    if (key->mv_size != 13 || *(const uint8_t *)key->mv_data != 'd')
        return RQC_OK;
    if (val->mv_size != RQCI_CLASSES * 8)
        return fault(c, "a day's counts are damaged");
    for (int i = 0; i < RQCI_CLASSES; i++)
        c->in_days += rqci_get64((const uint8_t *)val->mv_data + i * 8);
    return RQC_OK;
}

static rqc_err check_http(check *c, const MDB_val *key, const MDB_val *val)
{
    const rqc_record *r = val->mv_data;
    rqc_err rc = rqci_rec_verify(r, val->mv_size, true, c->err);
    if (rc != RQC_OK || rqci_rec_entity(r) != RQCI_HTTP || rqci_rec_size(r) != val->mv_size)
        return rc != RQC_OK ? rc : fault(c, "a request is damaged");
    const uint8_t *id = rqci_rec_id(r), *owner = rqci_rec_id_field(r, RQCI_HTTP_WORKSPACE_ID);
    uint8_t k[RQCI_KEY_METHOD], zero[16] = {0};
    MDB_val got;
    uint32_t ws;
    rc = home_of(c, RQCI_HTTP, id, owner != NULL ? owner : zero, &ws);
    const uint8_t class = (uint8_t)(rqci_rec_bool(r, RQCI_HTTP_IS_DELTA) |
                                    rqci_rec_bool(r, RQCI_HTTP_IS_SNAPSHOT) << 1);
    const int64_t updated = rqci_rec_updated(r);
    uint8_t here[RQCI_SEQ_HERE] = {class};
    rqci_put64(here + 8, (uint64_t)updated);
    if (rc == RQC_OK)
        rc = count_record(c, r, ws, here);
    if (rc != RQC_OK)
        return rc;
    c->ws[ws]->http[class]++;
    c->http++;
    rc = count_day(c, ws, class, updated);
    if (rc != RQC_OK)
        return rc;
    rqci_key_http(k, ws, class, updated, id);
    if (key->mv_size != RQCI_KEY_HTTP || memcmp(key->mv_data, k, RQCI_KEY_HTTP) != 0)
        return fault(c, "a request stands under a wrong key");
    const size_t copied = rqci_place_has_record(val->mv_size) ? val->mv_size : 0;
    if (!has(c, RQCI_DB_REQUEST, id, 16, &got) || got.mv_size != RQCI_PLACE_HTTP + copied ||
        memcmp((uint8_t *)got.mv_data + RQCI_PLACE_HTTP, r, copied) != 0 ||
        rqci_get32(got.mv_data) != ws || ((uint8_t *)got.mv_data)[4] != class ||
        (int64_t)rqci_get64((uint8_t *)got.mv_data + 8) != rqci_rec_updated(r))
        return fault(c, "a request's place is wrong");
    rqc_value method;
    rqci_rec_field(r, RQCI_HTTP_METHOD, &method);
    rqci_key_method(k, ws, class, method.p, method.type == RQC_TEXT ? method.n : 0, updated, id);
    if (!has(c, RQCI_DB_METHOD, k, RQCI_KEY_METHOD, &got))
        return fault(c, "a request is missing in the method index");
    const uint8_t *parent = rqci_rec_id_field(r, RQCI_HTTP_PARENT_HTTP_ID);
    if (parent == NULL || !(class & RQCI_CLASS_DELTA))
        return RQC_OK;
    c->deltas++;
    uint8_t d[RQCI_KEY_DELTA];
    rqci_key_delta(d, parent, updated, id);
    return has(c, RQCI_DB_DELTA, d, sizeof d, &got) && got.mv_size == RQCI_PLACE_DELTA + copied &&
                   rqci_get32(got.mv_data) == ws && ((uint8_t *)got.mv_data)[4] == class &&
                   memcmp((uint8_t *)got.mv_data + RQCI_PLACE_DELTA, r, copied) == 0
               ? RQC_OK
               : fault(c, "a delta is missing in its index");
}

static rqc_err check_kids(check *c, const MDB_val *key, const MDB_val *val)
{
    const uint8_t *k = key->mv_data, *before = NULL;
    if (key->mv_size != RQCI_KEY_KIDS && key->mv_size != RQCI_KEY_KIDS_LAST)
        return fault(c, "a chunk has a wrong key");
    const rqci_entity *e = rqci_entity_of(k[16]);
    if (e == NULL || e->code == RQCI_HTTP || val->mv_size == 0)
        return fault(c, "a chunk of unknown records");
    for (size_t at = 0; at < val->mv_size;) {
        const rqc_record *r = (const rqc_record *)((const uint8_t *)val->mv_data + at);
        rqc_err rc = rqci_rec_verify(r, val->mv_size - at, true, c->err);
        if (rc != RQC_OK)
            return rc;
        const uint8_t *id = rqci_rec_id(r),
                      *owner = e->owner >= 0 ? rqci_rec_id_field(r, e->owner) : NULL;
        uint8_t zero[16] = {0}, place[RQCI_KEY_ID];
        owner = owner != NULL ? owner : zero;
        if (rqci_rec_entity(r) != e->code || memcmp(owner, k, 16) != 0)
            return fault(c, "a record stands under a wrong owner");
        if ((before != NULL && memcmp(before, id, 16) >= 0) ||
            (key->mv_size == RQCI_KEY_KIDS && memcmp(id, k + 18, 16) > 0))
            return fault(c, "a chunk is out of order");
        MDB_val got;
        rqci_key_id(place, e->code, id);
        if (!has(c, RQCI_DB_ID, place, sizeof place, &got) || got.mv_size < RQCI_PLACE_CHILD ||
            memcmp(got.mv_data, owner, 16) != 0)
            return fault(c, "a record's place is wrong");
        uint32_t ws;
        rc = home_of(c, e->code, id, owner, &ws);
        if (rc == RQC_OK)
            rc = count_record(c, r, ws, owner);
        if (rc != RQC_OK)
            return rc;
        before = id;
        at += rqci_rec_size(r);
    }
    return RQC_OK;
}

static rqc_err check_tomb(check *c, const MDB_val *key, const MDB_val *val)
{
    const uint8_t *k = key->mv_data;
    uint8_t s[RQCI_KEY_SEQ];
    MDB_val got;
    if (key->mv_size != RQCI_KEY_TOMB || val->mv_size != 8 ||
        rqci_get32be(k + 17) > c->meta.workspaces || rqci_entity_of(k[16]) == NULL)
        return fault(c, "a tombstone is damaged");
    const uint32_t number = rqci_get32be(k + 17);
    rqci_key_seq(s, number, rqci_get64(val->mv_data), k[16], k);
    if (!has(c, RQCI_DB_SEQ, s, sizeof s, &got) || got.mv_size != RQCI_SEQ_TOMB ||
        rqci_get64(val->mv_data) <= c->meta.horizon)
        return fault(c, "a tombstone is missing in the by-seq index");
    // Each record stands once in a workspace: a tombstone of one that lives there would be a second
    // entry.
    uint8_t owner[16];
    uint32_t ws;
    rqc_err rc = rqci_owner_of(c->txn, c->env, k[16], k, owner, c->err);
    if (rc == RQC_OK)
        rc = home_of(c, k[16], k, owner, &ws);
    if (rc == RQC_OK && ws == number)
        return fault(c, "a record that is there has a tombstone");
    if (rc != RQC_OK && rc != RQC_NOT_FOUND)
        return rc;
    tally *t = tally_of(c, number);
    if (t == NULL)
        return RQC_NO_MEMORY;
    if (rqci_get64(val->mv_data) > t->newest)
        t->newest = rqci_get64(val->mv_data);
    t->tombs++;
    return RQC_OK;
}

static rqc_err check_ws(check *c, uint32_t number)
{
    static const tally none;
    const tally *t = c->ws[number] != NULL ? c->ws[number] : &none;
    uint8_t k[RQCI_KEY_NUMBERS];
    MDB_val val;
    rqci_ws_state s = {{0}, {0, 0}, 0, {0}, {0}};
    uint64_t tombs = 0;
    rqci_key_numbers(k, number);
    if (has(c, RQCI_DB_MAIN, k, sizeof k, &val)) {
        if (val.mv_size != RQCI_WS_BYTES)
            return fault(c, "a workspace's counters are damaged");
        rqci_ws_decode(val.mv_data, &s, &tombs);
    }
    if (memcmp(s.records, t->records, sizeof s.records) != 0 ||
        memcmp(s.http, t->http, sizeof s.http) != 0 || tombs != t->tombs)
        return fault(c, "a workspace's counters are wrong");
    if (s.seq < t->newest) // who reads changes of all workspaces would pass over it
        return fault(c, "a workspace is newer than its counters say");
    if (s.digest.lo != t->digest.lo || s.digest.hi != t->digest.hi)
        return fault(c, "a workspace's digest is wrong");
    for (unsigned b = 0; b < 256; b++) {
        rqci_digest d = {0, 0};
        uint8_t part[RQCI_KEY_BUCKET];
        rqci_key_bucket(part, number, b / RQCI_BUCKETS_PER_PART);
        if (has(c, RQCI_DB_BUCKET, part, sizeof part, &val) &&
            val.mv_size == RQCI_BUCKETS_PER_PART * 16) {
            d.lo = rqci_get64((const uint8_t *)val.mv_data + b % RQCI_BUCKETS_PER_PART * 16);
            d.hi = rqci_get64((const uint8_t *)val.mv_data + b % RQCI_BUCKETS_PER_PART * 16 + 8);
        }
        if (d.lo != t->buckets[b].lo || d.hi != t->buckets[b].hi)
            return fault(c, "a bucket's digest is wrong");
    }
    return RQC_OK;
}

static rqc_err walk(check *c, enum rqci_dbi db,
                    rqc_err (*fn)(check *c, const MDB_val *key, const MDB_val *val))
{
    MDB_cursor *cur = NULL;
    MDB_val key, val;
    rqc_err rc = rqci_lmdb_err(mdb_cursor_open(c->txn, c->env->dbi[db], &cur), "check", c->err);
    if (rc != RQC_OK)
        return rc;
    int got;
    while (rc == RQC_OK && (got = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) != MDB_NOTFOUND)
        rc = got != 0 ? rqci_lmdb_err(got, "check", c->err) : fn(c, &key, &val);
    mdb_cursor_close(cur);
    return rc;
}

static rqc_err check_all(check *c)
{
    rqc_err rc = walk(c, RQCI_DB_HTTP, check_http);
    if (rc == RQC_OK)
        rc = end_run(c);
    if (rc == RQC_OK)
        rc = walk(c, RQCI_DB_WS, check_day);
    if (rc == RQC_OK && c->in_days != c->http)
        rc = fault(c, "the days' counts are wrong");
    if (rc == RQC_OK)
        rc = walk(c, RQCI_DB_KIDS, check_kids);
    if (rc == RQC_OK)
        rc = walk(c, RQCI_DB_TOMB, check_tomb);
    for (uint32_t i = 0; rc == RQC_OK && i <= c->meta.workspaces; i++)
        rc = check_ws(c, i);
    if (rc != RQC_OK)
        return rc;
    // Every record has its entries; equal numbers prove that there are no others.
    const uint64_t tombs = entries(c, RQCI_DB_TOMB);
    if (c->records != c->meta.records || entries(c, RQCI_DB_REQUEST) != c->http ||
        entries(c, RQCI_DB_ID) != c->records - c->http || tombs != c->meta.tombstones)
        return fault(c, "the number of records is wrong");
    if (entries(c, RQCI_DB_SEQ) != c->records + tombs || entries(c, RQCI_DB_METHOD) != c->http ||
        entries(c, RQCI_DB_DELTA) != c->deltas)
        return fault(c, "an index has entries too many");
    return RQC_OK;
}

rqc_err rqci_check_txn(MDB_txn *txn, const rqci_env *e, rqci_errbuf *err)
{
    check c = {.txn = txn, .env = e, .err = err};
    rqc_err rc = rqci_meta_get(txn, e, &c.meta, err);
    if (rc != RQC_OK)
        return rc;
    c.ws = calloc((size_t)c.meta.workspaces + 1, sizeof(tally *));
    if (c.ws == NULL)
        return RQC_NO_MEMORY;
    rc = check_all(&c);
    for (uint32_t i = 0; i <= c.meta.workspaces; i++)
        free(c.ws[i]);
    free(c.ws);
    return rc;
}

rqc_err rqci_reader_check(rqci_reader *r, rqci_errbuf *err)
{
    return rqci_check_txn(r->txn, r->env, err);
}

rqc_err rqci_each(rqci_reader *r, rqc_err (*fn)(void *ctx, const rqc_record *rec), void *ctx)
{
    static const enum rqci_dbi both[] = {RQCI_DB_HTTP, RQCI_DB_KIDS};
    rqc_err rc = RQC_OK;
    for (int i = 0; i < 2 && rc == RQC_OK; i++) {
        MDB_cursor *c;
        MDB_val key, val;
        rc = rqci_cursor(r, both[i], &c);
        int got = rc == RQC_OK ? mdb_cursor_get(c, &key, &val, MDB_FIRST) : MDB_NOTFOUND;
        for (; got == 0 && rc == RQC_OK; got = mdb_cursor_get(c, &key, &val, MDB_NEXT))
            for (size_t at = 0; rc == RQC_OK && at < val.mv_size;) {
                const rqc_record *rec = (const rqc_record *)((const uint8_t *)val.mv_data + at);
                rc = rqci_rec_verify(rec, val.mv_size - at, true, NULL);
                if (rc == RQC_OK) {
                    at += rqci_rec_size(rec);
                    rc = fn(ctx, rec);
                }
            }
        if (rc == RQC_OK && got != 0 && got != MDB_NOTFOUND)
            rc = rqci_lmdb_err(got, "walk", NULL);
    }
    return rc;
}

// ---- In a child ----

static void check_and_tell(const char *path, int fd)
{
    // Faults of the hardware kind are what the child is for: they kill it quietly.
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    MDB_env *env = NULL;
    rqci_env e = {0};
    MDB_txn *txn = NULL;
    bool ok = rqci_check_pages(path, NULL) == RQC_OK && mdb_env_create(&env) == 0 &&
              mdb_env_set_maxdbs(env, RQCI_DB_COUNT) == 0 &&
              mdb_env_open(env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0640) == 0 &&
              mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0;
    e.env = env;
    for (int i = 0; ok && i < RQCI_DB_COUNT; i++)
        ok = mdb_dbi_open(txn, rqci_db_names[i], 0, &e.dbi[i]) == 0;
    if (ok && rqci_check_txn(txn, &e, NULL) == RQC_OK)
        (void)!write(fd, "K", 1);
    _exit(0);
}

bool rqci_check_in_child(const char *gen_path, const rqci_log *log)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    const pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        check_and_tell(gen_path, fds[1]);
    }
    close(fds[1]);
    bool good = false;
    if (pid > 0) {
        struct pollfd p = {.fd = fds[0], .events = POLLIN};
        char byte = 0;
        int ready;
        do
            ready = poll(&p, 1, CHILD_TIMEOUT_MS);
        while (ready < 0 && errno == EINTR);
        good = ready == 1 && read(fds[0], &byte, 1) == 1 && byte == 'K';
        if (!good)
            kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        if (!good)
            rqci_logf(log, RQCI_WARN, "%s: not closed cleanly, and the check found damage",
                      gen_path);
    }
    close(fds[0]);
    return good;
}
