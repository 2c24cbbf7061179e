// SPDX-License-Identifier: Apache-2.0
// No room for the view. Writes stay durable and are acknowledged as such, the owner reads a spare
// view, readers of other processes keep the old position, and the view catches up by itself when
// there is room. A view that cannot
// be made at open is a clear error, or goes beside the database. Nobody dies of a full tmpfs: a
// page that is touched there for the first time is a SIGBUS.
#include "tests/full_rows.h"

// Writes until the view cannot follow; returns what was visible last.
static uint64_t write_until_lagging(rows *w)
{
    rqc_result res = {.visible = 1};
    uint64_t visible = w->count;
    for (int i = 0; i < 5000; i++) {
        const rqc_err rc = rows_commit(w, 1, &res);
        if (rc != RQC_OK)
            die("a full view refuses a write: %s: %s", rqc_err_text(rc), rqc_txn_error(w->txn));
        if (!res.visible)
            return visible;
        visible = w->count;
    }
    die("the view never lags");
}

static bool comes_back(rows *w)
{
    for (int i = 0; i < 1000; i++) {
        const rqc_stats s = rows_stats(w);
        if (!s.view_lagging && s.position.seq == s.head)
            return true;
        fault_sleep_us(10000);
    }
    return false;
}

static bool spare_files(const rows *w)
{
    char dir[FAULT_PATH + 16];
    bool any = false;
    snprintf(dir, sizeof dir, "%s.rqc-spare", w->path);
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        any = any || strncmp(e->d_name, "gen-", 4) == 0;
    if (d)
        closedir(d);
    return any;
}

static bool same_files(const char *view, unsigned want)
{
    unsigned n = 0;
    DIR *d = opendir(view);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += strncmp(e->d_name, "gen-", 4) == 0;
    if (d)
        closedir(d);
    return n == want;
}

// Reads while the view lags: the owner's of all that was acknowledged, those of other processes at
// the last position that was visible, with many sessions at once.
static void check_lagging(rows *w, const fault_child *watch, uint64_t visible, const char *when)
{
    rqc_stats s = rows_stats(w);
    ok(s.view_lagging == 1 && s.head > s.position.seq, "%s: stats tell that the view lags", when);
    is(rows_seen(w->db, true), w->count, "%s: a session sees all that was acknowledged", when);
    s = rows_stats(w);
    ok(s.view_lagging == 1 && s.spare == 1, "%s: in a spare view, and stats tell", when);
    is(rqc_position_now(w->db).seq, s.head, "%s: whose position is shown", when);
    is(rqc_wait(w->db, &w->position, 0, NULL, NULL), RQC_OK, "%s: and waited for", when);
    is(rows_watched(watch, 'l'), visible, "%s: so does another process", when);
    is(rows_watched(watch, 'm'), visible, "%s: with hundreds of sessions", when);
    fault_child late = rows_watch(w);
    is(rows_watched(&late, 'm'), visible, "%s: one that attaches now, too", when);
    ok(fault_stop(&late), "%s: and ends well", when);
}

static void test_view_full(const char *shm)
{
    rows w;
    check_text why = {""};
    rqc_result res = {.visible = 0};
    rqc_error err = {.text = ""};
    rows_new(&w, fault_disk, "view", shm);
    rows_open(&w);
    rows_write(&w, 40);
    fault_child watch = rows_watch(&w);
    is(rows_watched(&watch, 'l'), 40, "another process reads");
    mount_fill(shm, 0);
    uint64_t visible = write_until_lagging(&w);
    check_lagging(&w, &watch, visible, "full");
    bool good = true;
    for (int i = 0; i < 50; i++)
        good = rows_commit(&w, 1, &res) == RQC_OK && !res.visible && good;
    ok(good, "writes go on, durable and not visible");
    is(rqc_sync(w.db, &err), RQC_NO_SPACE, "sync tells why: %s", err.text);
    is(rqc_position_now(w.db).seq, w.position.seq, "the spare view follows without being asked");
    is(rows_seen(w.db, true), w.count, "and sessions see all of it");
    is(rows_watched(&watch, 'l'), visible, "another process reads where it was");
    ok(spare_files(&w), "a spare view is beside the database");
    mount_resize(shm, "size=16m");
    ok(comes_back(&w), "a larger tmpfs: the view catches up by itself");
    ok(!spare_files(&w) && !rows_stats(&w).spare, "the spare view is given up");
    is(rows_seen(w.db, true), w.count, "and sessions see all in the shared one");
    is(rows_watched(&watch, 'l'), w.count, "other processes see all of it");
    ok(rows_whole(&w, &why), "the view is whole: %s", why.text);

    mount_fill(shm, 3 * MOUNT_PAGE);
    visible = write_until_lagging(&w);
    check_lagging(&w, &watch, visible, "full again");
    mount_make_room(shm);
    ok(comes_back(&w), "a file was removed: the view catches up by itself");
    rows_write(&w, 20);
    is(rows_watched(&watch, 'l'), w.count, "and follows");
    ok(rows_whole(&w, &why), "the view is whole: %s", why.text);
    ok(fault_stop(&watch), "the reader ends well");
    rows_close(&w);
}

// The map is full, and there is no room for a larger one beside it.
static void test_growth_full(const char *shm)
{
    rows w;
    char view[FAULT_PATH];
    check_text why = {""};
    rows_new(&w, fault_disk, "growth", shm);
    w.options.view_map_bytes = 1 << 20;
    rows_open(&w);
    rows_write(&w, 100);
    const uint64_t generation = rows_stats(&w).generation;
    fault_child watch = rows_watch(&w);
    mount_fill(shm, 900 << 10);
    const uint64_t visible = write_until_lagging(&w);
    check_lagging(&w, &watch, visible, "no room to grow");
    ok(fault_view_of(w.path, view) && same_files(view, 1), "the attempt leaves nothing behind");
    mount_make_room(shm);
    ok(comes_back(&w), "with room the map grows by itself");
    ok(rows_stats(&w).generation > generation, "into a new generation");
    is(rows_watched(&watch, 'l'), w.count, "which other processes find");
    ok(rows_whole(&w, &why), "the view is whole: %s", why.text);
    ok(fault_stop(&watch), "the reader ends well");
    rows_close(&w);
}

// Opens with so many bytes left. False when it was refused for lack of room.
static bool open_with(rows *w, const char *shm, uint64_t leave, check_text *why)
{
    rqc_error err = {.text = ""};
    mount_fill(shm, leave);
    const rqc_err rc = rows_try_open(w, &err);
    if (rc == RQC_OK) {
        if (!rows_whole(w, why))
            die("opened with %" PRIu64 " bytes left: %s", leave, why->text);
        rows_close(w);
    } else if (rc != RQC_NO_SPACE || !strstr(err.text, shm)) {
        die("open with %" PRIu64 " bytes left: %s: %s", leave, rqc_err_text(rc), err.text);
    } else {
        snprintf(why->text, sizeof why->text, "%.170s", err.text);
    }
    return rc == RQC_OK;
}

// From no room at all to enough, each time with the view gone.
static void test_open_full(const char *shm)
{
    rows w;
    char view[FAULT_PATH];
    check_text why = {""};
    unsigned refused = 0, opened = 0;
    rows_new(&w, fault_disk, "open", shm);
    rows_open(&w);
    rows_write(&w, 150);
    rows_close(&w);
    const uint64_t step = MOUNT_PAGE * (1 + 8 / tap_scaled(8));
    if (!fault_view_of(w.path, view))
        die("no note");
    for (uint64_t leave = 0; opened < 3 && leave < (2 << 20);
         leave += leave < (64 << 10) ? MOUNT_PAGE : step) {
        fault_remove(view);
        if (open_with(&w, shm, leave, &why))
            opened++;
        else if (opened > 0)
            die("refused with %" PRIu64 " bytes, not with less", leave);
        else
            refused++;
        mount_make_room(shm);
    }
    ok(refused > 3, "%u times there was no room for a view at open: %s", refused, why.text);
    is(opened, 3, "with room it opens");
    fault_remove(view);
    mount_fill(shm, 0);
    w.options.view_dir = fault_memory;
    rows_open(&w);
    ok(rows_whole(&w, &why), "elsewhere it opens at once: %s", why.text);
    rows_write(&w, 5);
    rows_close(&w);
    mount_make_room(shm);
    ok(rows_sound(w.path, &why), "the database is unharmed: %s", why.text);
}

// A view that is there and cannot follow at open.
static void test_reopen_full(const char *shm)
{
    rows w;
    check_text why = {""};
    rqc_error err = {.text = ""};
    rows_new(&w, fault_disk, "reopen", shm);
    rows_open(&w);
    rows_write(&w, 40);
    fault_child watch = rows_watch(&w);
    mount_fill(shm, 0);
    const uint64_t visible = write_until_lagging(&w);
    rows_close(&w);
    is(rows_watched(&watch, 'l'), visible, "closed while it lags: others still read");
    is(rows_try_open(&w, &err), RQC_NO_SPACE, "opened again without room: %s", err.text);
    ok(strstr(err.text, shm) != NULL, "the place is named");
    is(rows_watched(&watch, 'l'), visible, "others read what they read before");
    mount_make_room(shm);
    rows_open(&w);
    ok(rows_whole(&w, &why), "with room nothing is lost: %s", why.text);
    is(rows_watched(&watch, 'l'), w.count, "and others see it");
    ok(fault_stop(&watch), "the reader ends well");
    rows_close(&w);
}

// ---- Shared memory that is too small, as in a container -----------------------------------------

static char log_text[8192];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_log(void *ctx, int level, const char *text)
{
    fault_log(ctx, level, text);
    pthread_mutex_lock(&log_lock);
    const size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%d %s\n", level, text);
    pthread_mutex_unlock(&log_lock);
}

static void child_open(rows *w, uint64_t count)
{
    rqc_error err = {.text = ""};
    check_text why = {""};
    *log_text = 0;
    if (rqc_open(w->path, &w->options, &w->db, &err) != RQC_OK)
        fault_bad("open: %.150s", err.text);
    if (rqc_txn_new(w->db, &w->txn, &err) != RQC_OK)
        fault_bad("transaction: %.150s", err.text);
    w->count = count;
    if (!rows_whole(w, &why))
        fault_bad("%.170s", why.text);
}

// Opens in a /dev/shm of its own, twice, and tells where the view was the second time, and what was
// said the first time.
static int small_role(const char *path, const char *options, const char *count)
{
    rows w;
    char view[FAULT_PATH], told[FAULT_PATH];
    rows_new(&w, fault_disk, "", NULL);
    fault_path(w.path, "%s", path);
    w.options.log = keep_log;
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("reqcast-test", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
        fault_bad("mount: %s", strerror(errno));
    child_open(&w, strtoull(count, NULL, 10));
    rqc_result res = {.visible = 0};
    if (rows_commit(&w, 1, &res) != RQC_OK || !res.visible)
        fault_bad("commit: %.150s", rqc_txn_error(w.txn));
    fault_msg m = {.kind = FAULT_TOLD, .value = w.count, .position = res.position};
    const char *said = strstr(log_text, "beside the database");
    said = said ? said : strstr(log_text, "not in shared memory");
    snprintf(m.text, sizeof m.text, "%.*s", said ? (int)strcspn(said, "\n") : 0, said ? said : "");
    rows_close(&w);
    child_open(&w, m.value);
    if (!fault_view_of(path, told))
        fault_bad("no note");
    m.code = strcmp(told, fault_path(view, "%s.rqc-view", path)) == 0;
    fault_send(&m);
    char what;
    while (fault_asked(&what))
        ;
    rows_close(&w);
    return 0;
}

static void check_place(rows *w, const char *options, bool beside, bool reads)
{
    fault_msg m;
    char count[24];
    snprintf(count, sizeof count, "%" PRIu64, w->count);
    fault_child c = fault_spawn("small", w->path, options, count);
    fault_expect(&c, FAULT_TOLD, &m);
    w->count = m.value;
    is(m.code, beside, "/dev/shm with %s: the view is %s", options,
       beside ? "beside the database" : "in it");
    ok((*m.text != 0) == beside, "and it says so: %s", m.text);
    if (reads) {
        fault_child watch = rows_watch(w);
        is(rows_watched(&watch, 'm'), w->count, "other processes find it there");
        ok(fault_stop(&watch), "the reader ends well");
    }
    ok(fault_stop(&c), "the owner ends well");
}

static void test_beside(void)
{
    rows w;
    struct stat st;
    char beside[FAULT_PATH], enough[64];
    rqc_result res = {.visible = 0};
    rows_new(&w, fault_disk, "beside", fault_memory);
    rows_open(&w);
    for (int i = 0; i < 15; i++)
        if (rows_commit(&w, 100, &res) != RQC_OK)
            die("commit: %s", rqc_txn_error(w.txn));
    rows_close(&w);
    fault_path(beside, "%s.rqc-view", w.path);
    check_place(&w, "size=4m", true, true);
    check_place(&w, "size=500m,nr_inodes=3", true, true); // too few for the view's folder
    check_place(&w, "size=500m,nr_inodes=6", true, true); // and for the files in it
    ok(access(beside, F_OK) == 0, "the view is kept there");
    // Just enough: no more of it once the view is there. It is not to be seen from here.
    if (stat(w.path, &st) != 0)
        die("%s: %s", w.path, strerror(errno));
    snprintf(enough, sizeof enough, "size=%" PRIu64 "k",
             (uint64_t)(3 * st.st_size) / 1024 + (64 << 10) + 1100);
    check_place(&w, enough, false, false);
    ok(access(beside, F_OK) != 0, "a view that moved leaves none behind");
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fault_child_begin();
        return strcmp(argv[1], "small") == 0 ? small_role(argv[2], argv[3], argv[4])
                                             : rows_watch_role(argv[2]);
    }
    char shm[FAULT_PATH];
    mount_begin();
    fault_begin();
    mount_small(fault_path(shm, "%s/shm", fault_memory), "size=8m");
    test_view_full(shm);
    mount_resize(shm, "size=8m");
    test_growth_full(shm);
    test_open_full(shm);
    test_reopen_full(shm);
    test_beside();
    fault_end();
    return tap_done();
}
