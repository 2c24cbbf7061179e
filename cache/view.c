// SPDX-License-Identifier: Apache-2.0
// The owner's side: generations, the switch between them, following the log.
#include "cache/view_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_BYTES        4096
#define LARGEST_MAP_BYTES (UINT64_C(1) << 46)
// A view further behind than this is built anew: faster, and the log rows fit in memory.
#define BEHIND_MAX UINT64_C(1000000)

static rqc_err gen_path(const rqci_view *v, uint64_t generation, char ret[PATH_BYTES],
                        rqci_errbuf *err)
{
    const int n = snprintf(ret, PATH_BYTES, "%s/gen-%llu", v->dir, (unsigned long long)generation);
    return n < 0 || n >= PATH_BYTES - 16
               ? rqci_fail(err, RQC_INVALID, "%s: path is too long", v->dir)
               : RQC_OK;
}

// Removes a generation's files. Whoever has them open keeps them until they close.
static void remove_gen(const char *path)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char file[PATH_BYTES];
    for (size_t i = 0; i < 2; i++) {
        const int n = snprintf(file, sizeof file, "%s/%s", path, names[i]);
        if (n > 0 && (size_t)n < sizeof file)
            (void)unlink(file);
    }
    (void)rmdir(path);
}

// Calls remove_gen for every generation but `keep`; returns the highest number seen.
static uint64_t sweep(const rqci_view *v, uint64_t keep, bool remove)
{
    uint64_t highest = keep;
    DIR *d = opendir(v->dir);
    if (d == NULL)
        return highest;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        unsigned long long number;
        int end = 0;
        if (sscanf(e->d_name, "gen-%llu%n", &number, &end) != 1 || e->d_name[end] != '\0')
            continue;
        if (number > highest)
            highest = number;
        char path[PATH_BYTES];
        if (remove && number != keep && gen_path(v, number, path, NULL) == RQC_OK)
            remove_gen(path);
    }
    closedir(d);
    return highest;
}

void rqci_view_remove(const char *dir)
{
    rqci_view v = {.dir = (char *)(uintptr_t)dir};
    char control[PATH_BYTES];
    struct stat st;
    const int n = snprintf(control, sizeof control, "%s/control", dir);
    if (n < 0 || (size_t)n >= sizeof control || lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
        st.st_uid != geteuid())
        return;
    rqci_control *c;
    if (lstat(control, &st) == 0 && rqci_control_map(dir, true, &c, NULL) == RQC_OK) {
        atomic_store(&c->generation, 0);
        atomic_store(&c->state, RQCI_CONTROL_NONE);
        rqci_control_unmap(c);
    }
    sweep(&v, 0, true);
    (void)unlink(control);
    (void)rmdir(dir);
}

static rqc_err make_dir(const char *dir, rqci_errbuf *err)
{
    struct stat st;
    if (mkdir(dir, 0750) != 0 && errno != EEXIST)
        return rqci_fail(err, errno == ENOSPC ? RQC_NO_SPACE : RQC_IO, "%s: %s", dir,
                         strerror(errno));
    if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return rqci_fail(err, RQC_IO, "%s: not a directory", dir);
    if (st.st_uid != geteuid())
        return rqci_fail(err, RQC_IO, "%s: belongs to another user", dir);
    return RQC_OK;
}

static uint64_t last_txn(const rqci_env *e)
{
    MDB_envinfo info;
    return mdb_env_info(e->env, &info) == 0 ? (uint64_t)info.me_last_txnid : 0;
}

static rqc_err read_meta(const rqci_env *e, rqci_meta *ret_meta, rqci_errbuf *err)
{
    MDB_txn *txn = NULL;
    const int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return rqci_lmdb_err(rc, "begin", err);
    const rqc_err got = rqci_meta_get(txn, e, ret_meta, err);
    mdb_txn_abort(txn);
    return got;
}

static off_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

// Takes over the view that the control page names, when it is ours in every respect.
// RQC_UNAVAILABLE with the reason otherwise.
static rqc_err adopt(rqci_view *v, rqci_errbuf *err)
{
    rqci_control *c = v->control;
    char path[PATH_BYTES], data[PATH_BYTES + 16];
    const uint32_t state = atomic_load(&c->state);
    const uint64_t generation = atomic_load(&c->generation);
    if (generation == 0 || state == RQCI_CONTROL_NONE)
        return rqci_fail(err, RQC_UNAVAILABLE, "there is none");
    if (memcmp(c->boot, v->boot, 16) != 0)
        return rqci_fail(err, RQC_UNAVAILABLE, "it is from another boot of the machine");
    rqc_err rc = gen_path(v, generation, path, err);
    if (rc != RQC_OK)
        return rc;
    snprintf(data, sizeof data, "%s/data.mdb", path);
    if (state == RQCI_CONTROL_CLEAN && file_size(data) != (off_t)c->clean_size)
        return rqci_fail(err, RQC_UNAVAILABLE, "its file has another size than when it was closed");
    if (state != RQCI_CONTROL_CLEAN && !rqci_check_in_child(path, &v->opt.log))
        return rqci_fail(err, RQC_UNAVAILABLE, "it was not closed cleanly and is damaged");
    rqci_meta meta;
    rc = rqci_env_open(path, false, true, 0, &v->env, err);
    if (rc == RQC_OK)
        rc = read_meta(v->env, &meta, err);
    if (rc == RQC_OK && state == RQCI_CONTROL_CLEAN && last_txn(v->env) != c->clean_txn)
        rc = rqci_fail(err, RQC_UNAVAILABLE, "it changed after it was closed");
    if (rc == RQC_OK && (meta.layout != RQCI_VIEW_LAYOUT || meta.schema_hash != rqci_schema_hash()))
        rc = rqci_fail(err, RQC_UNAVAILABLE, "it is of another version");
    if (rc == RQC_OK && (memcmp(meta.store_id, v->store_id, 16) != 0 || meta.term != v->term))
        rc = rqci_fail(err, RQC_UNAVAILABLE, "it belongs to another history");
    if (rc != RQC_OK) {
        rqci_env_close(v->env);
        v->env = NULL;
        return rc;
    }
    v->generation = generation;
    v->seq = meta.seq;
    return RQC_OK;
}

// The control page tells what the owner has now.
static void show(const rqci_view *v)
{
    rqci_shown s = {.generation = v->generation, .seq = v->seq, .term = v->term};
    memcpy(s.store_id, v->store_id, 16);
    rqci_control_show(v->control, &s);
}

// The page of the directory, made anew where it is missing.
static rqc_err take_page(rqci_view *v, rqci_control **ret_control, rqci_errbuf *err)
{
    char path[PATH_BYTES + 16];
    rqc_err rc = make_dir(v->dir, err);
    if (rc == RQC_OK)
        rc = rqci_control_map(v->dir, true, ret_control, err);
    snprintf(path, sizeof path, "%s/control", v->dir);
    if (rc == RQC_OK && stat(path, &v->page) != 0)
        memset(&v->page, 0, sizeof v->page); // gone again: the next look finds out
    return rc;
}

rqc_err rqci_view_open(const rqci_view_options *opt, const rqci_source_state *identity,
                       rqci_view **ret_view, rqci_errbuf *err)
{
    rqci_view *v = calloc(1, sizeof *v);
    if (v == NULL || (v->dir = strdup(opt->dir)) == NULL) {
        free(v);
        return RQC_NO_MEMORY;
    }
    v->opt = *opt;
    v->opt.dir = v->dir;
    memcpy(v->store_id, identity->store_id, 16);
    v->term = identity->term;
    rqc_err rc = take_page(v, &v->control, err);
    if (rc == RQC_OK)
        rc = rqci_boot_id(v->boot, err);
    if (rc != RQC_OK) {
        rqci_view_close(v);
        return rc;
    }
    rqci_errbuf why = {""};
    const rqc_err adopted = adopt(v, &why);
    if (adopted != RQC_OK) {
        rqci_logf(&v->opt.log, RQCI_INFO, "%s: the view will be built: %s", v->dir, why.text);
        show(v); // that there is none
    }
    sweep(v, v->generation, v->env != NULL);
    memcpy(v->control->boot, v->boot, 16);
    atomic_store(&v->control->state, RQCI_CONTROL_OPEN);
    show(v);
    *ret_view = v;
    return RQC_OK;
}

void rqci_view_no_progress(rqci_view *v)
{
    v->opt.progress = NULL;
}

static void drop_lookup(rqci_view *v)
{
    if (v->lookup != NULL)
        mdb_txn_abort(v->lookup);
    v->lookup = NULL;
}

static void switch_to(rqci_view *v, rqci_env *env, uint64_t generation, uint64_t seq)
{
    drop_lookup(v);
    rqci_env_close(v->env);
    v->env = env;
    v->generation = generation;
    v->seq = seq;
    show(v);
    sweep(v, generation, true);
}

// Says of a lack of room where it is. To be asked before anything is removed: LMDB calls a write
// that was cut short an I/O error, and only a file system without room tells it from others.
static rqc_err placed(const rqci_view *v, rqc_err rc, rqci_errbuf *err)
{
    struct statvfs fs;
    if (rc == RQC_IO && statvfs(v->dir, &fs) == 0 && fs.f_bavail == 0)
        rc = RQC_NO_SPACE;
    return rc == RQC_NO_SPACE ? rqci_fail_within(err, rc, "%s: no room for the view", v->dir) : rc;
}

// An empty directory for the generation behind all that there are.
static rqc_err new_gen(const rqci_view *v, uint64_t *ret_generation, char ret_path[PATH_BYTES],
                       rqci_errbuf *err)
{
    const uint64_t last = sweep(v, v->generation, false);
    const uint64_t generation = (last > v->dropped ? last : v->dropped) + 1;
    const rqc_err rc = gen_path(v, generation, ret_path, err);
    if (rc != RQC_OK)
        return rc;
    *ret_generation = generation;
    return make_dir(ret_path, err);
}

// Before others on the file system are left without any.
static rqc_err room_for(const rqci_view *v, uint64_t bytes, rqci_errbuf *err)
{
    struct statvfs fs;
    if (statvfs(v->dir, &fs) != 0 || fs.f_blocks == 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize >= bytes)
        return RQC_OK;
    return rqci_fail(err, RQC_NO_SPACE, "no room for a second copy");
}

// Takes a copy with full pages in place of what was built; when there is no room for both, or
// anything else is in the way, that stays.
static void repack(const rqci_view *v, rqci_env **env, uint64_t *generation, char path[PATH_BYTES])
{
    char packed_path[PATH_BYTES];
    const uint64_t packed_generation = *generation + 1; // what was built has the highest number
    rqci_env *packed = NULL;
    rqci_errbuf why = {""};
    MDB_envinfo info;
    rqc_err rc = rqci_lmdb_err(mdb_env_info((*env)->env, &info), "info", &why);
    if (rc == RQC_OK)
        rc = room_for(v, ((uint64_t)info.me_last_pgno + 1) * 4096, &why);
    if (rc == RQC_OK)
        rc = gen_path(v, packed_generation, packed_path, &why);
    if (rc == RQC_OK)
        rc = make_dir(packed_path, &why);
    if (rc != RQC_OK) {
        rqci_logf(&v->opt.log, RQCI_INFO, "%s: the view stays as it was built: %s", v->dir,
                  why.text);
        return;
    }
    rc = rqci_env_open(packed_path, true, true, (uint64_t)info.me_mapsize, &packed, &why);
    if (rc == RQC_OK)
        rc = rqci_repack(*env, packed, &v->opt, &why);
    if (rc != RQC_OK) {
        rqci_logf(&v->opt.log, RQCI_INFO, "%s: the view stays as it was built: %s", v->dir,
                  why.text);
        rqci_env_close(packed);
        remove_gen(packed_path);
        return;
    }
    rqci_env_close(*env);
    remove_gen(path);
    *env = packed;
    *generation = packed_generation;
}

static rqc_err rebuild(rqci_view *v, const rqci_source *src, const rqci_source_state *state,
                       rqci_errbuf *err)
{
    char path[PATH_BYTES];
    uint64_t generation;
    uint64_t map = v->opt.map_bytes;
    for (;;) {
        rqci_env *env = NULL;
        rqc_err rc = new_gen(v, &generation, path, err);
        if (rc != RQC_OK)
            return rc;
        rc = rqci_env_open(path, true, true, map, &env, err);
        if (rc == RQC_OK)
            rc = rqci_build(env, src, state, &v->opt, err);
        rc = placed(v, rc, err);
        if (rc == RQC_OK) {
            repack(v, &env, &generation, path);
            memcpy(v->store_id, state->store_id, 16);
            v->term = state->term;
            switch_to(v, env, generation, state->head);
            rqci_logf(&v->opt.log, RQCI_INFO, "%s: view built, generation %llu", v->dir,
                      (unsigned long long)generation);
            return RQC_OK;
        }
        MDB_envinfo info = {0};
        if (env != NULL)
            mdb_env_info(env->env, &info);
        rqci_env_close(env);
        remove_gen(path);
        if (rc != RQCI_MAP_FULL)
            return rc;
        map = 2 * (uint64_t)info.me_mapsize;
        if (map == 0 || map > LARGEST_MAP_BYTES)
            return rqci_fail(err, RQC_NO_SPACE, "%s: the view's map cannot grow further", v->dir);
    }
}

// The same content with a map of twice the size, as a new generation.
static rqc_err grow(rqci_view *v, rqci_errbuf *err)
{
    char path[PATH_BYTES];
    uint64_t generation;
    MDB_envinfo info;
    rqci_env *env = NULL;
    rqc_err rc = rqci_lmdb_err(mdb_env_info(v->env->env, &info), "info", err);
    if (rc == RQC_OK && (uint64_t)info.me_mapsize > LARGEST_MAP_BYTES / 2)
        rc = rqci_fail(err, RQC_NO_SPACE, "%s: the view's map cannot grow further", v->dir);
    if (rc == RQC_OK)
        rc = new_gen(v, &generation, path, err);
    if (rc != RQC_OK)
        return rc;
    drop_lookup(v);
    rc = rqci_lmdb_err(mdb_env_copy(v->env->env, path), "copy to a larger map", err);
    if (rc == RQC_OK)
        rc = rqci_env_open(path, false, true, 2 * (uint64_t)info.me_mapsize, &env, err);
    // One commit writes the new size into the file, where readers of other processes take it from.
    if (rc == RQC_OK)
        rc = rqci_wtxn_begin(&v->w, env, err);
    if (rc == RQC_OK)
        rc = rqci_wtxn_commit(&v->w);
    rc = placed(v, rc, err);
    if (rc != RQC_OK) {
        rqci_env_close(env);
        remove_gen(path);
        return rc == RQCI_MAP_FULL ? RQC_NO_SPACE : rc;
    }
    switch_to(v, env, generation, v->seq);
    rqci_logf(&v->opt.log, RQCI_INFO, "%s: the view's map grew to %llu MiB", v->dir,
              (unsigned long long)(2 * (uint64_t)info.me_mapsize >> 20));
    return RQC_OK;
}

// Everything up to state->head into a transaction that is left open, unless it fails.
static rqc_err replay(rqci_view *v, const rqci_source *src, const rqci_source_state *state,
                      rqci_errbuf *err)
{
    rqci_log_rows log;
    rqc_err rc = rqci_log_load(&log, src, v->seq, state->head, BEHIND_MAX, err);
    if (rc == RQC_OK)
        rc = rqci_wtxn_begin(&v->w, v->env, err);
    if (rc == RQC_OK && state->horizon > v->w.meta.horizon && v->w.bounded)
        rc = RQC_TOO_LARGE; // there may be many tombstones to remove
    if (rc == RQC_OK && state->horizon > v->w.meta.horizon) {
        rc = rqci_prune_tombs(&v->w, v->w.meta.horizon, state->horizon);
        v->w.meta.horizon = state->horizon;
    }
    if (rc == RQC_OK)
        rc = rqci_replay(&v->w, src, &log, NULL, NULL);
    v->w.meta.seq = state->head;
    if (rc != RQC_OK)
        rqci_wtxn_abort(&v->w);
    rqci_log_free(&log);
    return rc;
}

// Commits it.
static rqc_err reveal(rqci_view *v, uint64_t head, rqci_errbuf *err)
{
    const rqc_err rc = placed(v, rqci_wtxn_commit(&v->w), err);
    if (rc == RQC_OK) {
        v->seq = head;
        rqci_control_advance(v->control, head);
    }
    return rc;
}

static rqc_err follow(rqci_view *v, const rqci_source *src, const rqci_source_state *state,
                      rqci_errbuf *err)
{
    const rqc_err rc = placed(v, replay(v, src, state, err), err);
    return rc == RQC_OK ? reveal(v, state->head, err) : rc;
}

static bool must_rebuild(const rqci_view *v, const rqci_source_state *s)
{
    return v->env == NULL || memcmp(v->store_id, s->store_id, 16) != 0 || v->term != s->term ||
           s->head < v->seq || v->seq < s->horizon || s->head - v->seq > BEHIND_MAX;
}

static rqc_err bring(rqci_view *v, const rqci_source *src, bool anew, uint64_t *ret_seq,
                     rqci_errbuf *err)
{
    rqci_source_state state;
    rqc_err rc = src->begin(src->ctx, &state, err);
    if (rc != RQC_OK)
        return rc;
    if (anew || must_rebuild(v, &state)) {
        rc = rebuild(v, src, &state, err);
    } else if (state.head != v->seq) {
        rc = follow(v, src, &state, err);
        while (rc == RQCI_MAP_FULL && (rc = grow(v, err)) == RQC_OK)
            rc = follow(v, src, &state, err);
        if (rc == RQC_CORRUPT) {
            rqci_logf(&v->opt.log, RQCI_ERROR, "%s: %s: building the view anew", v->dir,
                      err != NULL ? err->text : "damaged");
            rc = rebuild(v, src, &state, err);
        }
    }
    src->end(src->ctx);
    if (rc == RQC_OK)
        *ret_seq = v->seq;
    return rc;
}

rqc_err rqci_view_apply(rqci_view *v, const rqci_source *src, uint64_t *ret_seq, rqci_errbuf *err)
{
    return bring(v, src, false, ret_seq, err);
}

rqc_err rqci_view_rebuild(rqci_view *v, const rqci_source *src, uint64_t *ret_seq, rqci_errbuf *err)
{
    return bring(v, src, true, ret_seq, err);
}

bool rqci_view_prepare(rqci_view *v, const rqci_source *src, rqci_source_state *ret_state)
{
    rqci_source_state *s = ret_state;
    if (src->begin(src->ctx, s, NULL) != RQC_OK)
        return false;
    v->w.bounded = true;
    v->w.left = RQCI_PREPARE_MAX;
    const bool ready = !must_rebuild(v, s) && s->head > v->seq &&
                       s->head - v->seq <= RQCI_PREPARE_MAX && replay(v, src, s, NULL) == RQC_OK;
    src->end(src->ctx);
    v->w.bounded = false;
    v->prepared = ready ? s->head : 0;
    return ready;
}

rqc_err rqci_view_reveal(rqci_view *v, uint64_t *ret_seq, rqci_errbuf *err)
{
    v->w.err = err;
    const rqc_err rc = reveal(v, v->prepared, err);
    v->prepared = 0;
    if (rc == RQC_OK)
        *ret_seq = v->seq;
    return rc;
}

void rqci_view_undo(rqci_view *v)
{
    rqci_wtxn_abort(&v->w);
    v->prepared = 0;
}

void rqci_view_drop(rqci_view *v)
{
    drop_lookup(v);
    rqci_env_close(v->env);
    v->env = NULL;
    if (v->generation > v->dropped)
        v->dropped = v->generation;
    v->generation = v->seq = 0;
    show(v);
    sweep(v, 0, true);
}

static bool same_file(const char *dir, const char *name, dev_t dev, ino_t ino)
{
    char path[PATH_BYTES + 32];
    struct stat st;
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && st.st_dev == dev &&
           st.st_ino == ino;
}

bool rqci_view_lost(const rqci_view *v)
{
    char path[PATH_BYTES];
    return !same_file(v->dir, "control", v->page.st_dev, v->page.st_ino) ||
           (v->env != NULL && (gen_path(v, v->generation, path, NULL) != RQC_OK ||
                               !same_file(path, "data.mdb", v->env->dev, v->env->ino)));
}

// The directory that the view's is in, when somebody took that away, too. One that is there may be
// anybody's: the application named it.
static rqc_err make_parent(const char *dir, rqci_errbuf *err)
{
    char parent[PATH_BYTES];
    struct stat st;
    const char *end = strrchr(dir, '/');
    const int n = end == NULL ? 0 : snprintf(parent, sizeof parent, "%.*s", (int)(end - dir), dir);
    if (n <= 0 || (size_t)n >= sizeof parent || lstat(parent, &st) == 0 || errno != ENOENT)
        return RQC_OK;
    return make_dir(parent, err);
}

rqc_err rqci_view_remake(rqci_view *v, rqci_errbuf *err)
{
    rqci_control *c;
    rqc_err rc = make_parent(v->dir, err);
    if (rc == RQC_OK)
        rc = take_page(v, &c, err);
    if (rc != RQC_OK)
        return rc;
    rqci_view_drop(v); // tells those who look at the old page
    rqci_control_unmap(v->control);
    v->control = c;
    memcpy(c->boot, v->boot, 16);
    atomic_store(&c->state, RQCI_CONTROL_OPEN);
    show(v);
    return RQC_OK;
}

void rqci_view_tidy(rqci_view *v)
{
    int dead = 0;
    if (v->env != NULL && mdb_reader_check(v->env->env, &dead) == 0 && dead > 0)
        rqci_logf(&v->opt.log, RQCI_INFO, "%s: cleared %d readers of dead processes", v->dir, dead);
}

void rqci_view_close(rqci_view *v)
{
    if (v == NULL)
        return;
    drop_lookup(v);
    rqci_wtxn_free(&v->w);
    if (v->env != NULL) {
        char path[PATH_BYTES], data[PATH_BYTES + 16];
        if (gen_path(v, v->generation, path, NULL) == RQC_OK) {
            snprintf(data, sizeof data, "%s/data.mdb", path);
            v->control->clean_size = (uint64_t)file_size(data);
            v->control->clean_txn = last_txn(v->env);
            atomic_store(&v->control->state, RQCI_CONTROL_CLEAN);
        }
    }
    rqci_env_close(v->env);
    rqci_control_unmap(v->control);
    free(v->dir);
    free(v);
}
