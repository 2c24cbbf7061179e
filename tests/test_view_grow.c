// SPDX-License-Identifier: Apache-2.0
// The view's map is full: it grows into a new generation, while threads and another process read
// it.
#include "api/engine.h"
#include "cache/internal.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/reqcast-grow-XXXXXX";
static char path[64];
static const uint8_t workspace[16] = {9};
static atomic_bool stop;
static atomic_uint failures, sessions;

static int remove_entry(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(name);
}

static rqc_db *open_owner(uint64_t map_bytes)
{
    rqc_options o = RQC_OPTIONS_INIT;
    rqc_error e = {RQC_OK, ""};
    rqc_db *db = NULL;
    o.create = 1;
    o.view_dir = folder;
    o.view_map_bytes = map_bytes;
    if (rqc_open(path, &o, &db, &e) != RQC_OK)
        bail("open: %s", e.text);
    return db;
}

static void id_of(uint8_t id[16], uint32_t n)
{
    memset(id, 0, 16);
    id[0] = 1;
    for (int i = 0; i < 4; i++)
        id[12 + i] = (uint8_t)(n >> (24 - 8 * i));
}

// Request n, and a header that says how many requests there are with it.
static void put_pair(rqc_txn *t, uint32_t n)
{
    uint8_t id[16], header[16];
    char text[600];
    rqc_value http[RQC_HTTP_NFIELDS] = {{RQC_ABSENT, 0, NULL, {0}}},
              row[RQC_HTTP_HEADER_NFIELDS] = {{RQC_ABSENT, 0, NULL, {0}}};
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    id_of(id, n);
    id_of(header, n);
    header[0] = 2;
    http[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspace);
    http[RQC_HTTP_NAME] = rqc_text("r");
    http[RQC_HTTP_URL] = rqc_text(text);
    http[RQC_HTTP_METHOD] = rqc_text("GET");
    http[RQC_HTTP_UPDATED_AT] = rqc_int(n);
    row[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(id);
    row[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("n");
    row[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text(text);
    if (rqc_put(t, RQC_HTTP, id, http) != RQC_OK ||
        rqc_put(t, RQC_HTTP_HEADER, header, row) != RQC_OK)
        bail("put: %s", rqc_txn_error(t));
}

// One session: everything in it belongs to one position. Requests come in order, so the newest
// one's number tells their count.
static bool consistent(rqc_read *r, rqc_list *page)
{
    uint64_t count = 0;
    uint8_t id[16];
    const rqc_record *rec;
    rqc_page_cursor cursor = RQC_PAGE_CURSOR_INIT;
    const rqc_err rc = rqc_read_begin(r);
    if (rc == RQC_UNAVAILABLE)
        return true;
    bool good = rc == RQC_OK && rqc_count(r, workspace, RQC_ANY_TIME, &count) == RQC_OK &&
                rqc_page(r, workspace, RQC_ANY_TIME, NULL, 10, &cursor, page) == RQC_OK;
    if (good && count > 0) {
        id_of(id, (uint32_t)count);
        id[0] = 2;
        good = page->n == (count < 10 ? count : 10) &&
               rqc_record_updated(page->items[0]) == (int64_t)count &&
               rqc_get(r, RQC_HTTP_HEADER, id, &rec) == RQC_OK &&
               rqc_field(rec, RQC_HTTP_HEADER_HEADER_VALUE).n == 599;
    }
    rqc_read_end(r);
    return good;
}

static void *read_loop(void *db)
{
    rqc_read *r;
    rqc_list page = RQC_LIST_INIT;
    if (rqc_read_new(db, &r, NULL) != RQC_OK)
        bail("session");
    while (!atomic_load(&stop)) {
        if (!consistent(r, &page))
            atomic_fetch_add(&failures, 1);
        atomic_fetch_add(&sessions, 1);
    }
    rqc_list_free(&page);
    rqc_read_free(r);
    return NULL;
}

// The other process: reads until the pipe says stop, exits with 0 when every session was
// consistent.
static int attached(int stop_fd)
{
    rqc_db *db;
    rqc_read *r;
    rqc_list page = RQC_LIST_INIT;
    rqc_error e;
    if (rqc_attach(path, NULL, &db, &e) != RQC_OK || rqc_read_new(db, &r, &e) != RQC_OK)
        return 2;
    char byte;
    bool good = true;
    while (good && read(stop_fd, &byte, 1) < 0 && errno == EAGAIN)
        for (int i = 0; i < 50 && good; i++)
            good = consistent(r, &page);
    rqc_list_free(&page);
    rqc_read_free(r);
    rqc_close(db);
    return good ? 0 : 1;
}

static void remove_views(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/reqcast-*", folder);
    if (system(command) != 0)
        bail("%s", command);
}

// One attached handle, and a view whose folder goes again and again: it finds each new one.
static void test_replaced_often(uint32_t before)
{
    rqc_db *other, *db;
    rqc_read *r;
    uint64_t count = before;
    unsigned right = 0;
    if (rqc_attach(path, NULL, &other, NULL) != RQC_OK || rqc_read_new(other, &r, NULL) != RQC_OK)
        bail("attach");
    for (uint32_t i = 1; i <= 40; i++) {
        rqc_txn *t;
        remove_views();
        db = open_owner(0);
        if (rqc_txn_new(db, &t, NULL) != RQC_OK)
            bail("transaction");
        put_pair(t, before + i);
        if (rqc_commit(t, NULL) != RQC_OK)
            bail("commit: %s", rqc_txn_error(t));
        atomic_store(&other->mirror->mirror->next_look_ms, 0); // without the wait of a second
        right += rqc_read_begin(r) == RQC_OK &&
                 rqc_count(r, workspace, RQC_ANY_TIME, &count) == RQC_OK && count == before + i;
        rqc_read_end(r);
        rqc_txn_free(t);
        rqc_close(db);
    }
    is(right, 40u, "an attached handle finds a view that is replaced time after time");
    rqc_read_free(r);
    rqc_close(other);
}

int main(int argc, char **argv)
{
    if (argc == 3) { // the role of the other process
        snprintf(path, sizeof path, "%s", argv[1]);
        return attached(atoi(argv[2]));
    }
    if (mkdtemp(folder) == NULL)
        bail("mkdtemp");
    snprintf(path, sizeof path, "%s/db", folder);
    const uint32_t total = (uint32_t)tap_scaled(8000);
    rqc_db *db = open_owner(1 << 20);
    rqc_txn *t;
    rqc_result result;
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{RQC_ABSENT, 0, NULL, {0}}};
    row[RQC_WORKSPACES_NAME] = rqc_text("w");
    if (rqc_txn_new(db, &t, NULL) != RQC_OK ||
        rqc_put(t, RQC_WORKSPACES, workspace, row) != RQC_OK || rqc_commit(t, &result) != RQC_OK)
        bail("workspace");
    int fds[2];
    if (pipe2(fds, O_NONBLOCK) != 0)
        bail("pipe");
    char fd[16];
    snprintf(fd, sizeof fd, "%d", fds[0]);
    const pid_t child = fork();
    if (child == 0) {
        close(fds[1]);
        execl("/proc/self/exe", argv[0], path, fd, (char *)NULL);
        _exit(9);
    }
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, read_loop, db);
    unsigned invisible = 0;
    for (uint32_t n = 1; n <= total;) {
        for (uint32_t batch = 1 + n % 97; batch > 0 && n <= total; batch--)
            put_pair(t, n++);
        if (rqc_commit(t, &result) != RQC_OK)
            bail("commit: %s", rqc_txn_error(t));
        invisible += !result.visible;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    if (write(fds[1], "s", 1) != 1)
        bail("pipe");
    int status = -1;
    waitpid(child, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
       "another process read consistently all the time (status %d)", status);
    is(atomic_load(&failures), 0u, "so did threads, in %u sessions", atomic_load(&sessions));
    is(invisible, 0u, "every commit was visible when it returned");
    rqc_stats s = {.size = sizeof s};
    if (rqc_stats_read(db, &s, NULL) != RQC_OK)
        bail("stats");
    ok(s.view_map_bytes > (1 << 20) && s.generation > 1,
       "the map grew to %" PRIu64 " bytes, generation %" PRIu64, s.view_map_bytes, s.generation);
    rqc_verified v;
    ok(rqc_verify(db, 0, NULL, NULL, &v, NULL) == RQC_OK && v.differences == 0,
       "verify finds no difference");
    is(v.records, 1 + 2 * (uint64_t)total, "all records are there");
    rqc_txn_free(t);
    rqc_close(db);
    // A build that starts with a map far too small grows too.
    remove_views();
    db = open_owner(1 << 20);
    ok(rqc_verify(db, 0, NULL, NULL, &v, NULL) == RQC_OK && v.differences == 0 &&
           v.records == 1 + 2 * (uint64_t)total,
       "built anew from a map of 1 MiB");
    rqc_close(db);
    test_replaced_often(total);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return tap_done();
}
