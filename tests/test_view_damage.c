// SPDX-License-Identifier: Apache-2.0
// A damaged view: whatever is done to its files while nobody has them open, the next owner opens,
// never crashes, and answers what the database holds; and so it does after further writes, for a
// fault may lie where only a writer looks. Opening runs in a child. Damage of a view that was
// closed cleanly is noticed where its files tell; bytes are changed only in views whose owner was
// killed.
#include "tests/fault_check.h"

#ifndef DAMAGE_FLIPS
#define DAMAGE_FLIPS 60
#endif

#define WRITERS 3
#define PAGE    4096

static bool built; // by the last opening

static void note_log(void *ctx, int level, const char *text)
{
    fault_log(ctx, level, text);
    if (strstr(text, "the view will be built") || strstr(text, "view built"))
        built = true;
}

static rqc_options options(void)
{
    rqc_options o = RQC_OPTIONS_INIT;
    o.create = 1;
    o.view_dir = getenv("RQC_TEST_VIEW");
    o.log = note_log;
    return o;
}

// ---- Children
// -------------------------------------------------------------------------------------

static void write_some(rqc_db *db, unsigned rounds)
{
    rqc_txn *t;
    rqc_read *r;
    uint64_t n = 0;
    if (rqc_txn_new(db, &t, NULL) != RQC_OK || rqc_read_new(db, &r, NULL) != RQC_OK)
        fault_bad("no transaction");
    for (unsigned i = 0; i < rounds * WRITERS; i++) {
        const unsigned who = i % WRITERS;
        rqc_result res = {.visible = 1};
        bool refused;
        rqc_err rc = rqc_read_begin(r);
        if (rc == RQC_OK)
            rc = work_number(r, who, &n);
        rqc_read_end(r);
        if (rc == RQC_NOT_FOUND) {
            n = 0;
            rc = work_begin(db, who, NULL);
        }
        for (n++; work_refused(who, n); n++)
            continue;
        if (rc == RQC_OK)
            rc = work_commit(t, who, n, &res, &refused);
        if (rc != RQC_OK || !res.visible)
            fault_bad("write: %s, %s, visible %d", rqc_err_text(rc), rqc_txn_error(t), res.visible);
    }
    rqc_read_free(r);
    rqc_txn_free(t);
}

static rqc_db *open_db(const char *path, rqc_stats *stats)
{
    const rqc_options o = options();
    rqc_db *db;
    rqc_error err = {.text = ""};
    stats->size = sizeof *stats;
    built = false;
    if (rqc_open(path, &o, &db, &err) != RQC_OK) {
        fault_msg m = {.kind = FAULT_TOLD, .code = (int32_t)err.code};
        snprintf(m.text, sizeof m.text, "%.150s", err.text);
        fault_send(&m);
        exit(0);
    }
    if (rqc_stats_read(db, stats, &err) != RQC_OK)
        fault_bad("stats: %.150s", err.text);
    return db;
}

// Makes the database and its view; closes it, or waits to be killed.
static int fill_role(const char *path, const char *rounds, const char *how)
{
    rqc_stats stats;
    rqc_db *db = open_db(path, &stats);
    write_some(db, (unsigned)atoi(rounds));
    if (strcmp(how, "clean") == 0)
        rqc_close(db);
    fault_tell(FAULT_TOLD, stats.generation);
    (void)fault_go_on(-1);
    return 0;
}

static void check_all(rqc_db *db, const char *path, const char *when)
{
    check_text why = {""};
    uint64_t numbers[WORK_WRITERS];
    rqc_read *r;
    sqlite3 *sql = work_sql_open(path);
    for (unsigned who = 0; who < WORK_WRITERS; who++)
        numbers[who] = work_sql_number(sql, who);
    sqlite3_close(sql);
    if (rqc_read_new(db, &r, NULL) != RQC_OK || rqc_read_begin(r) != RQC_OK)
        fault_bad("%s: no session", when);
    if (!check_model(r, numbers, &why))
        fault_bad("%s: %.150s", when, why.text);
    rqc_read_free(r);
    if (!check_sql(db, path, &why) || !check_verify(db, &why))
        fault_bad("%s: %.150s", when, why.text);
}

// Opens what was damaged, writes, closes, opens again. Tells whether the view was used, and not
// built anew.
static int reopen_role(const char *path)
{
    rqc_stats stats;
    rqc_db *db = open_db(path, &stats);
    const bool used = !built;
    check_all(db, path, "opened");
    write_some(db, 8);
    check_all(db, path, "written to");
    rqc_close(db);
    db = open_db(path, &stats);
    if (built)
        fault_bad("closed cleanly, and built anew all the same");
    check_all(db, path, "opened again");
    rqc_close(db);
    fault_tell(FAULT_TOLD, used);
    return 0;
}

// Attaches to what was damaged while nobody owns it: right answers, or a clear error.
static int attach_role(const char *path)
{
    const rqc_options o = options();
    rqc_db *db;
    rqc_read *r = NULL;
    rqc_error err = {.text = ""};
    check_text why = {""};
    rqc_err rc = rqc_attach(path, &o, &db, &err);
    if (rc == RQC_OK) {
        rc = rqc_read_new(db, &r, &err);
        if (rc == RQC_OK && (rc = rqc_read_begin(r)) == RQC_OK) {
            rqc_read_end(r);
            if (!check_sql(db, path, &why))
                fault_bad("attached: %.150s", why.text);
        }
        rqc_read_free(r);
        rqc_close(db);
    }
    fault_send(&(fault_msg){.kind = FAULT_TOLD, .code = (int32_t)rc});
    return 0;
}

// ---- The view's files
// -----------------------------------------------------------------------------

static char db_path[FAULT_PATH], view_path[FAULT_PATH];
static uint64_t generation;

typedef struct target {
    char control[FAULT_PATH], data[FAULT_PATH], lock[FAULT_PATH];
} target;

static target files(void)
{
    target t;
    fault_path(t.control, "%s/control", view_path);
    fault_path(t.data, "%s/gen-%" PRIu64 "/data.mdb", view_path, generation);
    fault_path(t.lock, "%s/gen-%" PRIu64 "/lock.mdb", view_path, generation);
    return t;
}

static off_t size_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        die("%s: %s", path, strerror(errno));
    return st.st_size;
}

static void poke(const char *path, off_t at, const void *bytes, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, bytes, n, at) != (ssize_t)n)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

static void peek(const char *path, off_t at, void *bytes, size_t n)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, bytes, n, at) != (ssize_t)n)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

static void fill_random(const char *path, off_t from, off_t to)
{
    for (off_t at = from; at < to; at += 8) {
        const uint64_t x = fault_rand(UINT64_MAX);
        poke(path, at, &x, to - at < 8 ? (size_t)(to - at) : 8);
    }
}

static void resize(const char *path, off_t size)
{
    if (truncate(path, size) != 0)
        die("%s: %s", path, strerror(errno));
}

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        die("%s: %s", path, strerror(errno));
}

// ---- Ways to damage
// -------------------------------------------------------------------------------

static void no_damage(const target *t, uint64_t arg)
{
    (void)t;
    (void)arg;
}

static void remove_view(const target *t, uint64_t arg)
{
    (void)t;
    (void)arg;
    fault_remove(view_path);
}

static void control_size(const target *t, uint64_t arg)
{
    resize(t->control, (off_t)arg);
}

static void control_gone(const target *t, uint64_t arg)
{
    (void)arg;
    (void)unlink(t->control);
}

static void control_garbage(const target *t, uint64_t arg)
{
    fill_random(t->control, (off_t)arg, PAGE);
}

static void control_word(const target *t, uint64_t arg) // arg: offset · 2^32 + value
{
    const uint32_t word = (uint32_t)arg;
    poke(t->control, (off_t)(arg >> 32), &word, sizeof word);
}

static void control_folder(const target *t, uint64_t arg)
{
    (void)arg;
    (void)unlink(t->control);
    if (mkdir(t->control, 0750) != 0)
        die("mkdir");
}

static char victim[FAULT_PATH]; // a file that nobody may touch
#define VICTIM_TEXT "not to be touched, whoever points here\n"

static void control_link(const target *t, uint64_t arg)
{
    (void)arg;
    (void)unlink(t->control);
    if (symlink(victim, t->control) != 0)
        die("symlink");
}

static void data_percent(const target *t, uint64_t arg)
{
    resize(t->data, size_of(t->data) * (off_t)arg / 100);
}

static void data_size(const target *t, uint64_t arg)
{
    resize(t->data, (off_t)arg);
}

static void data_less(const target *t, uint64_t arg)
{
    resize(t->data, size_of(t->data) - (off_t)arg);
}

static void data_gone(const target *t, uint64_t arg)
{
    (void)arg;
    (void)unlink(t->data);
}

static void data_garbage(const target *t, uint64_t arg)
{
    fill_random(t->data, (off_t)arg, size_of(t->data));
}

static void lock_gone(const target *t, uint64_t arg)
{
    (void)arg;
    (void)unlink(t->lock);
}

static void lock_size(const target *t, uint64_t arg)
{
    resize(t->lock, (off_t)arg);
}

static void lock_garbage(const target *t, uint64_t arg)
{
    fill_random(t->lock, (off_t)arg, size_of(t->lock));
}

static void two_generations(const target *t, uint64_t arg)
{
    char from[FAULT_PATH], to[FAULT_PATH];
    (void)t;
    fault_path(from, "%s/gen-%" PRIu64, view_path, generation);
    if (!fault_copy_tree(from, fault_path(to, "%s/gen-%" PRIu64, view_path, generation + arg)))
        die("%s: %s", to, strerror(errno));
}

// Somewhere in the file, or at the head of a page, where its number, kind and size stand.
static off_t somewhere(const target *t)
{
    const off_t size = size_of(t->data), page = (off_t)fault_rand((uint64_t)(size / PAGE)) * PAGE;
    switch (fault_rand(4)) {
    case 0: return page + (off_t)fault_rand(16);
    case 1: return page + 16 + (off_t)fault_rand(32);
    case 2: return (off_t)fault_rand(2 * PAGE) % (2 * PAGE) / 32; // the meta pages' first bytes
    default: return (off_t)fault_rand((uint64_t)size);
    }
}

static void flip_bit(const target *t, uint64_t arg)
{
    (void)arg;
    uint8_t byte;
    const off_t at = somewhere(t);
    peek(t->data, at, &byte, 1);
    byte ^= (uint8_t)(1u << fault_rand(8));
    poke(t->data, at, &byte, 1);
}

static void change_byte(const target *t, uint64_t arg)
{
    (void)arg;
    const uint8_t byte = (uint8_t)fault_rand(256);
    poke(t->data, somewhere(t), &byte, 1);
}

// A page that is valid by itself stands where another one should.
static void repeat_page(const target *t, uint64_t arg)
{
    static uint8_t page[PAGE];
    const uint64_t pages = (uint64_t)size_of(t->data) / PAGE;
    (void)arg;
    peek(t->data, (off_t)fault_rand(pages) * PAGE, page, sizeof page);
    poke(t->data, (off_t)(2 + fault_rand(pages - 2)) * PAGE, page, sizeof page);
}

static void zero_page(const target *t, uint64_t arg)
{
    static const uint8_t page[PAGE];
    (void)arg;
    poke(t->data, (off_t)fault_rand((uint64_t)size_of(t->data) / PAGE) * PAGE, page, sizeof page);
}

// ---- Trials
// ---------------------------------------------------------------------------------------

static void restore(const char *name)
{
    char from[FAULT_PATH], to[FAULT_PATH];
    bool good = fault_copy_tree(fault_path(from, "%s/%s-db", fault_disk, name),
                                fault_path(to, "%s/db", fault_disk));
    good = good && fault_copy_tree(fault_path(from, "%s/%s-view", fault_disk, name),
                                   fault_path(to, "%s/view", fault_memory));
    if (!good)
        die("%s: %s", to, strerror(errno));
}

// Fills a database, stops its owner in this way, and keeps a copy of all files.
static void prepare(const char *name, const char *rounds)
{
    char from[FAULT_PATH], to[FAULT_PATH];
    fault_remove(fault_path(from, "%s/db", fault_disk));
    fault_remove(fault_path(to, "%s/view", fault_memory));
    if (mkdir(from, 0750) != 0 || mkdir(to, 0750) != 0)
        die("mkdir: %s", strerror(errno));
    fault_child c = fault_spawn("fill", db_path, rounds, name);
    fault_msg m;
    fault_expect(&c, FAULT_TOLD, &m);
    generation = m.value;
    fault_kill(&c);
    fault_reap(&c);
    if (!fault_view_of(db_path, view_path))
        die("no view");
    if (!fault_copy_tree(from, fault_path(to, "%s/%s-db", fault_disk, name)) ||
        !fault_copy_tree(fault_path(from, "%s/view", fault_memory),
                         fault_path(to, "%s/%s-view", fault_disk, name)))
        die("%s: %s", to, strerror(errno));
}

enum { BUILT = 0, USED = 1, REFUSED = 2 };

// What became of the view when an owner opened it.
static int reopen(const char *what)
{
    fault_msg m;
    fault_child c = fault_spawn("reopen", db_path, NULL, NULL);
    const int got = fault_next(&c, FAULT_PATIENCE_MS, &m);
    const int status = got == 0 ? -1 : fault_reap(&c);
    if (got != 1 || status != 0)
        die("%s: the owner %s, status %d", what, got == 0 ? "hung" : "died", status);
    if (m.code == 0)
        return m.value ? USED : BUILT;
    tap_note("%s: %s: %s", what, rqc_err_text((rqc_err)m.code), m.text);
    return m.code == RQC_IO && strstr(m.text, fault_memory) ? REFUSED : -1;
}

typedef struct way {
    const char *text;
    void (*damage)(const target *t, uint64_t arg);
    uint64_t arg;
    int want; // USED, BUILT, REFUSED with a clear error, -1: used or built anew
} way;

#define OTHER_BOOT (UINT64_C(16) << 32 | 12345)

static const way clean_ways[] = {
    {"nothing", no_damage, 0, USED},
    {"the view removed", remove_view, 0, BUILT},
    {"control removed", control_gone, 0, BUILT},
    {"control emptied", control_size, 0, BUILT},
    {"control cut to 100 bytes", control_size, 100, BUILT},
    {"control cut by one byte", control_size, PAGE - 1, BUILT},
    {"control twice as long", control_size, 2 * PAGE, BUILT},
    {"control all garbage", control_garbage, 0, BUILT},
    {"control garbage behind magic and layout", control_garbage, 12, BUILT},
    {"control of another layout", control_word, UINT64_C(8) << 32 | 1, BUILT},
    {"control of no state", control_word, UINT64_C(12) << 32 | 0, BUILT},
    {"control of another boot", control_word, OTHER_BOOT, BUILT},
    {"control of a generation that is not there", control_word, UINT64_C(32) << 32 | 77, BUILT},
    {"control of no generation", control_word, UINT64_C(32) << 32 | 0, BUILT},
    {"control of another size", control_word, UINT64_C(48) << 32 | PAGE, BUILT},
    {"control of another transaction", control_word, UINT64_C(56) << 32 | 1, BUILT},
    {"a folder in place of control", control_folder, 0, REFUSED},
    {"a symbolic link in place of control", control_link, 0, BUILT},
    {"data.mdb removed", data_gone, 0, BUILT},
    {"data.mdb emptied", data_size, 0, BUILT},
    {"data.mdb cut to 1 byte", data_size, 1, BUILT},
    {"data.mdb cut to a page", data_size, PAGE, BUILT},
    {"data.mdb cut to two pages", data_size, 2 * PAGE, BUILT},
    {"data.mdb cut to a half", data_percent, 50, BUILT},
    {"data.mdb cut by a page", data_less, PAGE, BUILT},
    {"data.mdb cut by a byte", data_less, 1, BUILT},
    {"data.mdb twice as long", data_percent, 200, BUILT},
    {"data.mdb all garbage", data_garbage, 0, BUILT},
    {"data.mdb garbage behind its first page", data_garbage, PAGE, -1},
    {"lock.mdb removed", lock_gone, 0, USED},
    {"lock.mdb emptied", lock_size, 0, -1},
    {"lock.mdb cut", lock_size, 100, -1},
    {"lock.mdb all garbage", lock_garbage, 0, -1},
    {"lock.mdb garbage behind its head", lock_garbage, 16, -1},
    {"a newer generation beside it", two_generations, 1, USED},
};

static const way dirty_ways[] = {
    {"nothing", no_damage, 0, -1},
    {"the view removed", remove_view, 0, BUILT},
    {"control emptied", control_size, 0, BUILT},
    {"control all garbage", control_garbage, 0, BUILT},
    {"control of another layout", control_word, UINT64_C(8) << 32 | 1, BUILT},
    {"control of another boot", control_word, OTHER_BOOT, BUILT},
    {"control of another generation", control_word, UINT64_C(32) << 32 | 77, BUILT},
    {"data.mdb emptied", data_size, 0, BUILT},
    {"data.mdb cut to 1 byte", data_size, 1, BUILT},
    {"data.mdb cut to a page", data_size, PAGE, BUILT},
    {"data.mdb cut to two pages", data_size, 2 * PAGE, BUILT},
    {"data.mdb cut to a tenth", data_percent, 10, BUILT},
    {"data.mdb cut to a half", data_percent, 50, BUILT},
    {"data.mdb cut to nine tenths", data_percent, 90, BUILT},
    {"data.mdb cut by a page", data_less, PAGE, -1},
    {"data.mdb cut by a byte", data_less, 1, -1},
    {"data.mdb all garbage", data_garbage, 0, BUILT},
    {"data.mdb garbage behind its first page", data_garbage, PAGE, BUILT},
    {"data.mdb garbage behind its meta pages", data_garbage, 2 * PAGE, BUILT},
    {"lock.mdb removed", lock_gone, 0, -1},
    {"lock.mdb cut", lock_size, 100, -1},
    {"lock.mdb all garbage", lock_garbage, 0, -1},
    {"lock.mdb garbage behind its head", lock_garbage, 16, -1},
    {"a newer generation beside it", two_generations, 1, -1},
};

// Both ends: the next owner, and a reader that comes before him.
static void run_way(const char *name, const way *w)
{
    fault_msg m;
    restore(name);
    target t = files();
    w->damage(&t, w->arg);
    fault_child c = fault_spawn("attach", db_path, NULL, NULL);
    const int got = fault_next(&c, FAULT_PATIENCE_MS, &m);
    const int status = got == 0 ? -1 : fault_reap(&c);
    if (got != 1 || status != 0)
        die("%s view, %s: a reader %s, status %d", name, w->text, got == 0 ? "hung" : "died",
            status);
    if (w->arg == OTHER_BOOT && m.code != RQC_UNAVAILABLE)
        die("%s view, %s: a reader used it", name, w->text);
    const int became = reopen(w->text);
    static const char *const texts[] = {"built anew", "used", "refused"};
    ok(became == w->want || (w->want < 0 && (became == USED || became == BUILT)),
       "%s view, %s: %s; a reader before: %s", name, w->text,
       became >= 0 ? texts[became] : "failed", rqc_err_text((rqc_err)m.code));
}

static void test_bytes(uint64_t count)
{
    static void (*const damages[])(const target *t, uint64_t arg) = {flip_bit, flip_bit,
                                                                     change_byte, repeat_page,
                                                                     zero_page};
    static const char *const names[] = {"a bit flipped", "a bit flipped", "a byte changed",
                                        "a page repeated", "a page emptied"};
    unsigned used = 0;
    for (uint64_t i = 0; i < count; i++) {
        const size_t d = (size_t)(i % (sizeof damages / sizeof *damages));
        restore("dirty");
        const target t = files();
        damages[d](&t, 0);
        const int became = reopen(names[d]);
        if (became != USED && became != BUILT)
            die("%s", names[d]);
        used += became == USED;
    }
    ok(count < 40 || used < count,
       "%" PRIu64
       " views of killed owners with a bit, byte or page changed: %u used, the others built anew",
       count, used);
}

int main(int argc, char **argv)
{
    char view[FAULT_PATH], text[100] = "";
    if (argc > 2) {
        fault_child_begin();
        if (strcmp(argv[1], "fill") == 0)
            return fill_role(argv[2], argv[3], argv[4]);
        return strcmp(argv[1], "reopen") == 0 ? reopen_role(argv[2]) : attach_role(argv[2]);
    }
    fault_begin();
    fault_path(db_path, "%s/db/test.db", fault_disk);
    setenv("RQC_TEST_VIEW", fault_path(view, "%s/view", fault_memory), 1);
    put_file(fault_path(victim, "%s/victim", fault_disk), VICTIM_TEXT);
    const size_t turn = (size_t)time(NULL) % 5; // which fifth, where it is a fifth
    prepare("clean", "40");
    for (size_t i = 0; i < sizeof clean_ways / sizeof *clean_ways; i++)
        if ((i + turn) % 5 < tap_scaled(5))
            run_way("clean", &clean_ways[i]);
    prepare("dirty", "40");
    for (size_t i = 0; i < sizeof dirty_ways / sizeof *dirty_ways; i++)
        if ((i + turn) % 5 < tap_scaled(5))
            run_way("dirty", &dirty_ways[i]);
    test_bytes(tap_scaled(DAMAGE_FLIPS));
    peek(victim, 0, text, strlen(VICTIM_TEXT));
    is(text, VICTIM_TEXT, "the file that a link pointed to is as it was");
    fault_end();
    return tap_done();
}
