// SPDX-License-Identifier: Apache-2.0
// The power fails: what was written and not synced is lost, or some of it. The functions that wait
// for the disk are this program's own: each keeps a copy of the file as it was when the call
// returned. At the cut the database's folder is made anew from these copies, with a random part of
// the blocks that were written since; a name that no sync of the folder (or of the new file) made
// durable is gone. The view is gone, too. Every commit that was acknowledged must be there, and
// everything that a reader saw, also what a foreign program wrote with synchronous=OFF.
#include "api/engine.h"
#include "persist/internal.h"
#include "tests/fault_world.h"
#include "tests/fault_writer.h"

#define BLOCK 512 // what a disk writes as a whole

// ---- The disk
// -------------------------------------------------------------------------------------

static const char *shadow(void) // folder of the copies; NULL: syncs are the system's
{
    return getenv("RQC_TEST_SHADOW");
}

// A file's name among the copies: inodes are used again, with another time of birth.
static bool shadow_key(int fd, char ret[64])
{
    struct statx x;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &x) != 0)
        return false;
    snprintf(ret, 64, "%llu-%lld-%u", (unsigned long long)x.stx_ino, (long long)x.stx_btime.tv_sec,
             x.stx_btime.tv_nsec);
    return true;
}

static bool keep_bytes(int fd, const char *path)
{
    static char bytes[1 << 16];
    const int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    off_t at = 0;
    ssize_t n = -1;
    while (out >= 0 && (n = pread(fd, bytes, sizeof bytes, at)) > 0 &&
           write(out, bytes, (size_t)n) == n)
        at += n;
    if (out >= 0)
        close(out);
    return n == 0;
}

// The names in a folder, each with the key of its file.
static bool keep_names(int fd, const char *path)
{
    char key[64];
    FILE *out = fopen(path, "we");
    DIR *d = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (const struct dirent *e; out && d && (e = readdir(d));) {
        const int f = e->d_type == DT_REG ? openat(fd, e->d_name, O_PATH | O_CLOEXEC) : -1;
        if (f >= 0 && shadow_key(f, key))
            fprintf(out, "%s %s\n", key, e->d_name);
        if (f >= 0)
            close(f);
    }
    if (d)
        closedir(d);
    return out && fclose(out) == 0 && d;
}

static int keep(int fd)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    char path[FAULT_PATH], temporary[FAULT_PATH], key[64];
    struct stat st;
    pthread_mutex_lock(&lock);
    bool good = fstat(fd, &st) == 0 && shadow_key(fd, key);
    if (good) {
        fault_path(path, "%s/%s", shadow(), S_ISDIR(st.st_mode) ? "names" : key);
        fault_path(temporary, "%s/new", shadow());
        good = (S_ISDIR(st.st_mode) ? keep_names(fd, temporary) : keep_bytes(fd, temporary)) &&
               rename(temporary, path) == 0;
    }
    pthread_mutex_unlock(&lock);
    if (!good)
        errno = EIO;
    return good ? 0 : -1;
}

// These take the place of the C library's, also in SQLite.
int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd)
{
    return shadow() ? keep(fd) : 0;
}

int fdatasync(int fd)
{
    return shadow() ? keep(fd) : 0;
}

// ---- The cut
// --------------------------------------------------------------------------------------

typedef struct bytes {
    char *p;
    size_t n;
} bytes;

static bytes read_all(const char *path)
{
    bytes b = {NULL, 0};
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return b;
    b.p = calloc(1, (size_t)st.st_size + 1);
    if (!b.p || read(fd, b.p, (size_t)st.st_size) != st.st_size)
        die("%s: %s", path, strerror(errno));
    b.n = (size_t)st.st_size;
    close(fd);
    return b;
}

// The file as the disk has it: what was synced, and of what was written since, any blocks, in any
// order.
static bytes mix(bytes synced, bytes written, unsigned percent)
{
    const size_t longer = synced.n > written.n ? synced.n : written.n;
    bytes out = {calloc(1, longer + BLOCK), fault_rand(100) < percent ? written.n : synced.n};
    if (!out.p)
        die("no memory");
    for (size_t at = 0; at < out.n; at += BLOCK) {
        const bytes *from = fault_rand(100) < percent ? &written : &synced;
        if (at < from->n)
            memcpy(out.p + at, from->p + at, from->n - at < BLOCK ? from->n - at : BLOCK);
    }
    return out;
}

static void write_all(const char *path, bytes b)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0 || write(fd, b.p ? b.p : "", b.n) != (ssize_t)b.n)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

// Makes the folder `disk` what it would be after the power came back.
static void cut(const char *disk, const char *after)
{
    char path[FAULT_PATH], key[64], name[200];
    const unsigned percent =
        (unsigned)(fault_rand(3) * 50); // nothing that was not synced, half of it, all of it
    fault_remove(after);
    if (mkdir(after, 0750) != 0)
        die("%s: %s", after, strerror(errno));
    FILE *names = fopen(fault_path(path, "%s/names", shadow()), "re");
    while (names && fscanf(names, "%63s %199s", key, name) == 2) {
        const size_t n = strlen(name);
        if (n > 4 && strcmp(name + n - 4, "-shm") == 0)
            continue;
        const bytes synced = read_all(fault_path(path, "%s/%s", shadow(), key));
        // The file that has this name now may be another one: then all that is left is what was
        // synced.
        char now[64] = "";
        const int fd = open(fault_path(path, "%s/%s", disk, name), O_PATH | O_CLOEXEC);
        if (fd >= 0 && !shadow_key(fd, now))
            die("%s: no key", name);
        if (fd >= 0)
            close(fd);
        bytes written = {NULL, 0};
        if (strcmp(now, key) == 0)
            written = read_all(path);
        const bytes out = mix(synced, strcmp(now, key) == 0 ? written : synced, percent);
        write_all(fault_path(path, "%s/%s", after, name), out);
        free(synced.p);
        free(written.p);
        free(out.p);
    }
    if (names)
        fclose(names);
    fault_remove(disk);
    if (rename(after, disk) != 0)
        die("%s: %s", disk, strerror(errno));
    fault_remove(shadow());
    if (mkdir(shadow(), 0750) != 0)
        die("%s: %s", shadow(), strerror(errno));
    // From here on what is there is durable.
    const int dir = open(disk, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = opendir(disk);
    bool good = dir >= 0 && d && keep(dir) == 0;
    for (const struct dirent *e; d && (e = readdir(d));) {
        const int fd = e->d_type == DT_REG ? openat(dir, e->d_name, O_RDONLY | O_CLOEXEC) : -1;
        if (fd >= 0) {
            good = keep(fd) == 0 && good;
            close(fd);
        }
    }
    if (d)
        closedir(d);
    close(dir);
    if (!good)
        die("the new disk cannot be kept");
}

// ---- Children
// -------------------------------------------------------------------------------------

// Tells what a reader saw of the foreign program's work, and where.
static void *watch(void *arg)
{
    rqc_read *r;
    uint64_t last = 0;
    if (rqc_read_new(arg, &r, NULL) != RQC_OK)
        fault_bad("no session");
    while (!writers_stop) {
        uint64_t n = 0;
        if (rqc_read_begin(r) != RQC_OK)
            fault_bad("begin: %s", rqc_read_error(r));
        const rqc_position p = rqc_read_position(r);
        if (p.seq > last && work_number(r, WORK_FOREIGN, &n) == RQC_OK)
            fault_send(
                &(fault_msg){.kind = FAULT_SEEN, .who = WORK_FOREIGN, .n = n, .position = p});
        last = p.seq;
        rqc_read_end(r);
        fault_sleep_us(200);
    }
    rqc_read_free(r);
    return NULL;
}

static rqc_err checkpoint_call(rqci_store *s, void *arg, rqci_errbuf *err)
{
    (void)arg;
    (void)err;
    (void)rqci_checkpoint(s, fault_rand(2) == 1);
    return RQC_OK;
}

static rqc_err checkpoint_as(rqci_store *s, void *keep, rqci_errbuf *err)
{
    (void)err;
    return rqci_checkpoint(s, *(const bool *)keep) ? RQC_OK : RQC_BUSY;
}

// Opens, lets its writers write, now and then syncs and checkpoints, and closes again.
static void own(const char *path, unsigned threads)
{
    static writer w[WORK_WRITERS];
    pthread_t watcher;
    const rqc_options o = world_options();
    rqc_db *db;
    rqc_error err = {.text = ""};
    if (rqc_open(path, &o, &db, &err) != RQC_OK)
        fault_bad("open: %.150s", err.text);
    fault_tell(FAULT_TOLD, 0);
    for (unsigned i = 0; i < threads; i++) {
        w[i] = (writer){.db = db, .who = i};
        writer_begin(&w[i]);
    }
    writers_stop = false;
    if (pthread_create(&watcher, NULL, watch, db) != 0)
        fault_bad("no thread");
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&w[i].thread, NULL, writer_main, &w[i]) != 0)
            fault_bad("no thread");
    for (const int64_t until = fault_now_us() + 200000;
         fault_now_us() < until && fault_go_on((int)fault_rand(10));) {
        if (fault_rand(2) && rqc_sync(db, &err) != RQC_OK)
            fault_bad("sync: %.150s", err.text);
        if (fault_rand(4) == 0 &&
            rqci_writer_call(db->store, checkpoint_call, NULL, NULL) != RQC_OK)
            fault_bad("checkpoint");
    }
    writers_stop = true;
    for (unsigned i = 0; i < threads; i++)
        pthread_join(w[i].thread, NULL);
    pthread_join(watcher, NULL);
    for (unsigned i = 0; i < threads; i++)
        writer_end(&w[i]);
    rqc_close(db);
}

static int owner_role(const char *path, const char *threads)
{
    while (fault_go_on(0))
        own(path, (unsigned)atoi(threads));
    return 0;
}

// ---- The test
// -------------------------------------------------------------------------------------

static void one_cut(world *w, bool foreign)
{
    char threads[8], path[FAULT_PATH], view[FAULT_PATH];
    // An owner that writes makes the foreign program's commits durable with its own: it must do so
    // without, too.
    snprintf(threads, sizeof threads, "%d",
             foreign && fault_rand(2) ? 0 : (int)(1 + fault_rand(3)));
    fault_child c = fault_spawn("owner", w->path, threads, NULL), f = {0, -1, -1, NULL};
    if (foreign) {
        fault_expect(&c, FAULT_TOLD, NULL);
        f = fault_spawn("foreign", w->path, "OFF", NULL);
    }
    hear(w, &c, (int64_t)fault_rand(300000));
    // Both stop before either is killed, as at a power cut.
    kill(c.pid, SIGSTOP);
    if (foreign) {
        hear(w, &f, 1000);
        finish_off(w, &f);
    }
    finish_off(w, &c);
    w->loses[WORK_FOREIGN] = true;
    w->foreign_first = UINT64_MAX;
    if (fault_view_of(w->path, view))
        fault_remove(view);
    fault_path(path, "%s/after", fault_disk);
    char disk[FAULT_PATH];
    cut(fault_path(disk, "%s/disk", fault_disk), path);
}

static void test_cuts(uint64_t cuts, bool foreign)
{
    world *w = world_new(foreign ? "disk/foreign" : "disk/own", NULL);
    // On a slow machine the first cuts may all come before anything was told.
    uint64_t done = 0;
    while (done < cuts ||
           (done < 20 * cuts && (w->acked == 0 || (foreign && w->seen[WORK_FOREIGN] == 0)))) {
        one_cut(w, foreign);
        check_world(w);
        done++;
    }
    ok(w->acked > 0,
       "%" PRIu64 " power cuts%s: %" PRIu64
       " acknowledged commits kept, the foreign program's up to %" PRIu64 " seen",
       done, foreign ? " beside a foreign program with synchronous=OFF" : "", w->acked,
       w->seen[WORK_FOREIGN]);
    if (foreign)
        ok(w->seen[WORK_FOREIGN] > 0, "readers saw the foreign program's work");
    world_free(w);
}

// What the disk has of the -wal after a checkpoint is nothing that a restart would read: the next
// writer may be one that does not wait for the disk, and some of its blocks may be there between
// those of before.
static void test_log_begins_anew(bool keep_size)
{
    char path[FAULT_PATH], wal[FAULT_PATH], copy[FAULT_PATH], key[64];
    rqc_value row[RQC_WORKSPACES_NFIELDS] = {{0}};
    const uint8_t id[16] = {1};
    bool keeps = keep_size;
    rqc_db *db;
    rqc_txn *t;
    rqc_options o = world_options();
    o.create = 1;
    fault_path(path, "%s/disk/anew-%d.db", fault_disk, keep_size);
    fault_path(wal, "%s-wal", path);
    row[RQC_WORKSPACES_NAME] = rqc_text("anew");
    if (rqc_open(path, &o, &db, NULL) != RQC_OK || rqc_txn_new(db, &t, NULL) != RQC_OK ||
        rqc_put(t, RQC_WORKSPACES, id, row) != RQC_OK || rqc_commit(t, NULL) != RQC_OK ||
        rqci_writer_call(db->store, checkpoint_as, &keeps, NULL) != RQC_OK)
        die("%s: no checkpoint", path);
    const int fd = open(wal, O_PATH | O_CLOEXEC);
    if (fd < 0 || !shadow_key(fd, key))
        die("%s: %s", wal, strerror(errno));
    close(fd);
    const bytes now = read_all(wal), there = read_all(fault_path(copy, "%s/%s", shadow(), key));
    static const char nothing[32];
    is(now.n > 0, keep_size, "the -wal %s its size", keep_size ? "keeps" : "loses");
    ok(there.n == 0 || (there.n > 32 && memcmp(there.p, nothing, 32) == 0),
       "and nothing of it would be read after a power cut");
    free(now.p);
    free(there.p);
    rqc_txn_free(t);
    rqc_close(db);
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fault_child_begin();
        return strcmp(argv[1], "owner") == 0 ? owner_role(argv[2], argv[3])
                                             : foreign_role(argv[2], argv[3]);
    }
    char path[FAULT_PATH];
    fault_begin();
    setenv("RQC_TEST_VIEW", fault_memory, 1);
    setenv("RQC_TEST_SHADOW", fault_path(path, "%s/shadow", fault_disk), 1);
    if (mkdir(path, 0750) != 0 || mkdir(fault_path(path, "%s/disk", fault_disk), 0750) != 0)
        die("%s: %s", path, strerror(errno));
    test_cuts(tap_scaled(12), false);
    test_cuts(tap_scaled(12), true);
    test_log_begins_anew(false);
    test_log_begins_anew(true);
    fault_end();
    return tap_done();
}
