// SPDX-License-Identifier: Apache-2.0
// Where the view of a database lives, and how other processes find it.
//
//   /dev/shm/reqcast-UID/HASH            the view; HASH is XXH3-128 of the database's path
//   /dev/shm/reqcast-UID/HASH.database   that path, and the newest owner's process: a view whose
//   database is gone can be removed FILE.rqc-view                        the view, where shared
//   memory is too small FILE.rqc-view-path                   the note: which of these it is
#include "api/engine.h"

#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SHARED_MEMORY   "/dev/shm"
#define ROOM_FACTOR     3u                   // a view and the one that is built beside it
#define ROOM_BYTES      ((uint64_t)64 << 20) // and what a small database needs at least
#define HASH_TEXT       32
#define JOINED_PATH_MAX 4031 // of RQCI_PATH_MAX: the rooms below append to it
#define DB_PATH_MAX     504u // SQLite opens no longer one
#define DB_NAME_MAX     230u // with ".rqc-view-path" and a process id behind it still a file's name

_Static_assert(JOINED_PATH_MAX < RQCI_PATH_MAX - 64, "room for what is appended");

static rqc_err join(char ret[RQCI_PATH_MAX], rqci_errbuf *err, const char *a, const char *b)
{
    const int n = snprintf(ret, RQCI_PATH_MAX, "%s%s", a, b);
    return n > 0 && n <= JOINED_PATH_MAX
               ? RQC_OK
               : rqci_fail(err, RQC_INVALID, "the path %.64s… is too long", a);
}

static rqc_err fits(const char *path, rqci_errbuf *err)
{
    const char *name = strrchr(path, '/') + 1;
    if (strlen(path) > DB_PATH_MAX)
        return rqci_fail(err, RQC_INVALID, "%.64s…: the path has %zu bytes, at most %u can be used",
                         path, strlen(path), DB_PATH_MAX);
    if (strlen(name) > DB_NAME_MAX)
        return rqci_fail(err, RQC_INVALID, "%.64s…: the name has %zu bytes, at most %u can be used",
                         name, strlen(name), DB_NAME_MAX);
    return RQC_OK;
}

static rqc_err resolve(const char *path, char ret_path[RQCI_PATH_MAX], rqci_errbuf *err)
{
    if (!path || !*path)
        return rqci_fail(err, RQC_INVALID, "no path of a database");
    char *real = realpath(path, NULL);
    if (real) {
        const rqc_err rc = join(ret_path, err, real, "");
        free(real);
        return rc;
    }
    if (errno != ENOENT)
        return rqci_fail(err,
                         errno == ENOMEM                   ? RQC_NO_MEMORY
                         : errno == EACCES || errno == EIO ? RQC_IO
                                                           : RQC_INVALID,
                         "%.256s: %s", path, strerror(errno));
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) // a plain file was made meanwhile
        return rqci_fail(err, RQC_INVALID, "%s: a symbolic link to a file that does not exist",
                         path);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name)
        return rqci_fail(err, RQC_INVALID, "%s: a directory, not a file", path);
    char folder[RQCI_PATH_MAX] = ".";
    if (slash && (size_t)(slash - path) >= sizeof folder)
        return rqci_fail(err, RQC_INVALID, "%.64s…: the path is too long", path);
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    real = realpath(folder, NULL);
    if (!real)
        return rqci_fail(err, errno == ENOMEM ? RQC_NO_MEMORY : RQC_NOT_FOUND, "%s: %s", folder,
                         strerror(errno));
    char with_slash[RQCI_PATH_MAX];
    rqc_err rc = join(with_slash, err, real, strcmp(real, "/") == 0 ? "" : "/");
    free(real);
    return rc == RQC_OK ? join(ret_path, err, with_slash, name) : rc;
}

bool rqci_absent(int why)
{
    return why == ENOENT || why == ENOTDIR || why == EACCES || why == ELOOP;
}

rqc_err rqci_path_of(const char *path, char ret_path[RQCI_PATH_MAX], rqci_errbuf *err)
{
    const rqc_err rc = resolve(path, ret_path, err);
    return rc == RQC_OK ? fits(ret_path, err) : rc;
}

// A directory of this user that nobody else can write to, made when missing. Other users can make
// names in shared memory: a directory of theirs, or a symbolic link, must never be used.
static rqc_err private_dir(const char *dir, rqci_errbuf *err)
{
    if (mkdir(dir, 0750) != 0 && errno != EEXIST)
        return rqci_fail(err, errno == ENOSPC ? RQC_NO_SPACE : RQC_IO, "%s: %s", dir,
                         strerror(errno));
    struct stat st;
    if (lstat(dir, &st) != 0)
        return rqci_fail(err, RQC_IO, "%s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return rqci_fail(err, RQC_IO, "%s: not a directory", dir);
    if (st.st_uid != geteuid())
        return rqci_fail(err, RQC_IO, "%s: belongs to another user", dir);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return rqci_fail(err, RQC_IO, "%s: others may write to it", dir);
    return RQC_OK;
}

static void hash_text(const char *path, char ret_text[HASH_TEXT + 1])
{
    uint8_t hash[16];
    rqci_xxh128_bytes(path, strlen(path), hash);
    for (int i = 0; i < 16; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", hash[i]);
}

// Where the database's view is in shared memory.
static rqc_err shared_dir(const char *db_path, char ret[RQCI_PATH_MAX], rqci_errbuf *err)
{
    char name[HASH_TEXT + 48];
    const int n = snprintf(name, sizeof name, "/reqcast-%lu/", (unsigned long)geteuid());
    hash_text(db_path, name + n);
    return join(ret, err, SHARED_MEMORY, name);
}

// What the view that is there already takes: it needs that room no more than once.
static uint64_t taken(const char *db_path)
{
    char dir[RQCI_PATH_MAX], data[RQCI_PATH_MAX + 300];
    uint64_t bytes = 0;
    struct stat st;
    DIR *d = shared_dir(db_path, dir, NULL) == RQC_OK ? opendir(dir) : NULL;
    for (const struct dirent *e; d && (e = readdir(d));) {
        snprintf(data, sizeof data, "%s/%s/data.mdb", dir, e->d_name);
        if (lstat(data, &st) == 0 && S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_blocks * 512;
    }
    if (d)
        closedir(d);
    return bytes;
}

// Says why there is not enough room, or returns true.
static bool has_room(const char *db_path, char *why, size_t size)
{
    struct statvfs fs;
    if (statvfs(SHARED_MEMORY, &fs) != 0) {
        snprintf(why, size, "%s: %s", SHARED_MEMORY, strerror(errno));
        return false;
    }
    struct stat st;
    const uint64_t db = stat(db_path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    const uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize + taken(db_path),
                   need = ROOM_FACTOR * db + ROOM_BYTES;
    if (room < need)
        snprintf(why, size, "%s has %llu MiB left, %llu MiB are wanted", SHARED_MEMORY,
                 (unsigned long long)(room >> 20), (unsigned long long)(need >> 20));
    return room >= need;
}

static rqc_err write_file(const char *path, const char *text, rqci_errbuf *err)
{
    char temporary[RQCI_PATH_MAX], suffix[32];
    snprintf(suffix, sizeof suffix, ".%ld", (long)getpid());
    const rqc_err rc = join(temporary, err, path, suffix);
    if (rc != RQC_OK)
        return rc;
    (void)unlink(temporary);
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    const size_t n = strlen(text);
    bool ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;
    int error = errno;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (ok && rename(temporary, path) != 0) {
        error = errno;
        ok = false;
    }
    if (ok)
        return RQC_OK;
    (void)unlink(temporary);
    return rqci_fail(err, error == ENOSPC ? RQC_NO_SPACE : RQC_IO, "%s: %s", path, strerror(error));
}

// The view's directory below `parent`, and the file that tells whose it is.
static rqc_err below(const char *parent, const char *db_path, char ret_dir[RQCI_PATH_MAX],
                     rqci_errbuf *err)
{
    char name[HASH_TEXT + 2] = "/", note[RQCI_PATH_MAX];
    hash_text(db_path, name + 1);
    rqc_err rc = private_dir(parent, err);
    if (rc == RQC_OK)
        rc = join(ret_dir, err, parent, name);
    if (rc == RQC_OK)
        rc = private_dir(ret_dir, err);
    if (rc == RQC_OK)
        rc = join(note, err, ret_dir, ".database");
    if (rc != RQC_OK)
        return rc;
    char text[RQCI_PATH_MAX + 32];
    snprintf(text, sizeof text, "%s\n%ld\n", db_path, (long)getpid());
    return write_file(note, text, err);
}

rqc_err rqci_view_dir(const char *db_path, const char *view_dir, bool beside, const rqci_log *log,
                      char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err)
{
    char parent[RQCI_PATH_MAX], name[48], why[512] = "";
    snprintf(name, sizeof name, "/reqcast-%lu", (unsigned long)geteuid());
    rqc_err rc = join(parent, err, view_dir ? view_dir : SHARED_MEMORY, name);
    if (rc != RQC_OK)
        return rc;
    if (view_dir && !beside)
        return below(parent, db_path, ret_dir, err);
    if (!beside && has_room(db_path, why, sizeof why)) {
        rqci_errbuf detail = {""};
        rc = below(parent, db_path, ret_dir, &detail);
        if (rc == RQC_OK)
            return RQC_OK;
        snprintf(why, sizeof why, "%s", detail.text);
    }
    rc = join(ret_dir, err, db_path, ".rqc-view");
    if (rc == RQC_OK)
        rc = private_dir(ret_dir, err);
    if (rc == RQC_OK && *why)
        rqci_logf(log, RQCI_WARN, "%s: the view is kept here, not in shared memory: %s", ret_dir,
                  why);
    return rc;
}

rqc_err rqci_spare_dir(const char *db_path, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err)
{
    const rqc_err rc = join(ret_dir, err, db_path, ".rqc-spare");
    return rc == RQC_OK ? private_dir(ret_dir, err) : rc;
}

rqc_err rqci_note_write(const char *db_path, const char *dir, rqci_errbuf *err)
{
    char note[RQCI_PATH_MAX], text[RQCI_PATH_MAX + 1];
    const rqc_err rc = join(note, err, db_path, ".rqc-view-path");
    if (rc != RQC_OK)
        return rc;
    snprintf(text, sizeof text, "%s\n", dir);
    return write_file(note, text, err);
}

// Whoever can write the database can also make it say anything; a view by him is trusted as much.
static bool trusted(const struct stat *st, const struct stat *db)
{
    return st->st_uid == geteuid() || st->st_uid == 0 || st->st_uid == db->st_uid;
}

// The one line of a note beside the database, by somebody to trust.
static rqc_err note_line(const char *db_path, const char *suffix, const char *absent,
                         char ret_text[RQCI_PATH_MAX], struct stat *ret_db, rqci_errbuf *err)
{
    char note[RQCI_PATH_MAX];
    struct stat st;
    if (stat(db_path, ret_db) != 0)
        return rqci_fail(err, rqci_absent(errno) ? RQC_NOT_FOUND : RQC_IO, "%s: %s", db_path,
                         strerror(errno));
    const rqc_err rc = join(note, err, db_path, suffix);
    if (rc != RQC_OK)
        return rc;
    const int fd = open(note, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return rqci_fail(err, errno == ENOENT ? RQC_UNAVAILABLE : RQC_IO, "%s: %s: %s", note,
                         strerror(errno), absent);
    ssize_t n = -1;
    const bool known = fstat(fd, &st) == 0;
    const bool good = known && S_ISREG(st.st_mode) && trusted(&st, ret_db);
    if (good)
        n = read(fd, ret_text, RQCI_PATH_MAX - 1);
    const int why = errno;
    close(fd);
    if (!known || (good && n < 0))
        return rqci_fail(err, RQC_IO, "%s: %s", note, strerror(why));
    if (!good)
        return rqci_fail(err, RQC_INVALID, "%s: no plain file of the database's owner", note);
    if (n < 3 || ret_text[n - 1] != '\n' || memchr(ret_text, 0, (size_t)n))
        return rqci_fail(err, RQC_UNAVAILABLE, "%s: does not hold what it should", note);
    ret_text[n - 1] = 0;
    return RQC_OK;
}

rqc_err rqci_note_read(const char *db_path, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err)
{
    char text[RQCI_PATH_MAX];
    struct stat db, st;
    const rqc_err rc =
        note_line(db_path, ".rqc-view-path", "nobody has opened the database yet", text, &db, err);
    if (rc != RQC_OK)
        return rc;
    if (text[0] != '/')
        return rqci_fail(err, RQC_UNAVAILABLE, "%s: does not hold a path", db_path);
    if (lstat(text, &st) != 0)
        return rqci_fail(err, rqci_absent(errno) ? RQC_UNAVAILABLE : RQC_IO, "%s: %s: no view now",
                         text, strerror(errno));
    if (!S_ISDIR(st.st_mode) || !trusted(&st, &db) || (st.st_mode & S_IWOTH))
        return rqci_fail(err, RQC_INVALID, "%s: no directory of the database's owner", text);
    return join(ret_dir, err, text, "");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

// True when the database named in the file is gone and so is its last owner, while the directory
// that it was in, or the one above that, is there (a volume that is not mounted now may come back).
static bool database_gone(const char *note)
{
    char text[RQCI_PATH_MAX + 32];
    const int fd = open(note, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 2 || text[0] != '/')
        return false;
    text[n] = 0;
    char *line = strchr(text, '\n');
    if (!line)
        return false;
    *line = 0;
    const long pid = strtol(line + 1, NULL, 10);
    struct stat st;
    if (pid <= 1 || kill((pid_t)pid, 0) == 0 || errno != ESRCH || lstat(text, &st) == 0 ||
        errno != ENOENT)
        return false;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(text, '/');
        slash[slash == text] = 0;
        if (stat(text, &st) == 0)
            return true;
    }
    return false;
}

void rqci_views_leave(const char *db_path, const char *dir)
{
    char place[RQCI_PATH_MAX], note[RQCI_PATH_MAX];
    if (shared_dir(db_path, place, NULL) == RQC_OK && strcmp(place, dir) != 0) {
        rqci_view_remove(place);
        if (join(note, NULL, place, ".database") == RQC_OK)
            (void)unlink(note);
    }
    if (join(place, NULL, db_path, ".rqc-view") == RQC_OK && strcmp(place, dir) != 0)
        rqci_view_remove(place);
    if (join(place, NULL, db_path, ".rqc-spare") == RQC_OK)
        rqci_view_remove(place);
}

void rqci_views_sweep(const char *dir, const rqci_log *log)
{
    char parent[RQCI_PATH_MAX], path[RQCI_PATH_MAX + 300];
    snprintf(parent, sizeof parent, "%s", dir);
    char *slash = strrchr(parent, '/');
    struct stat st;
    if (!slash || slash == parent)
        return;
    *slash = 0;
    DIR *d = opendir(parent);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));) {
        const size_t n = strlen(e->d_name);
        if (n != HASH_TEXT + 9 || strcmp(e->d_name + HASH_TEXT, ".database") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", parent, e->d_name);
        if (!database_gone(path))
            continue;
        (void)unlink(path);
        path[strlen(path) - 9] = 0;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
            nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
            rqci_logf(log, RQCI_INFO, "%s: removed, its database is gone", path);
    }
    closedir(d);
}

// Only what is called as we would call it: the note could be anybody's.
static bool is_view_of(const char *dir, const char *db_path)
{
    char beside[RQCI_PATH_MAX], name[HASH_TEXT + 1];
    hash_text(db_path, name);
    const char *slash = strrchr(dir, '/');
    return (join(beside, NULL, db_path, ".rqc-view") == RQC_OK && strcmp(dir, beside) == 0) ||
           (slash && strcmp(slash + 1, name) == 0);
}

void rqci_view_forget(const char *db_path)
{
    char dir[RQCI_PATH_MAX], note[RQCI_PATH_MAX];
    if (rqci_note_read(db_path, dir, NULL) == RQC_OK && is_view_of(dir, db_path)) {
        rqci_view_remove(dir);
        if (join(note, NULL, dir, ".database") == RQC_OK)
            (void)unlink(note);
    }
    if (join(dir, NULL, db_path, ".rqc-spare") == RQC_OK)
        rqci_view_remove(dir);
    if (join(note, NULL, db_path, ".rqc-view-path") == RQC_OK)
        (void)unlink(note);
}

// ---- Sidecars -----------------------------------------------------------------------------------

rqc_err rqci_sidecar_note_write(const char *db_path, const char *url, rqci_errbuf *err)
{
    char note[RQCI_PATH_MAX], text[RQCI_PATH_MAX + 1];
    const rqc_err rc = join(note, err, db_path, ".rqc-sidecar");
    if (rc != RQC_OK)
        return rc;
    if (!*url) {
        (void)unlink(note);
        return RQC_OK;
    }
    snprintf(text, sizeof text, "%s\n", url);
    return write_file(note, text, err);
}

rqc_err rqci_sidecar_note_read(const char *db_path, char ret_url[RQCI_PATH_MAX], rqci_errbuf *err)
{
    struct stat db;
    char text[RQCI_PATH_MAX];
    const rqc_err rc =
        note_line(db_path, ".rqc-sidecar", "no reqcastd runs for this database", text, &db, err);
    return rc == RQC_OK ? join(ret_url, err, text, "") : rc;
}

rqc_err rqci_socket_dir(const char *dir, char ret_dir[RQCI_PATH_MAX], rqci_errbuf *err)
{
    char name[48];
    snprintf(name, sizeof name, "/reqcast-%lu", (unsigned long)geteuid());
    const rqc_err rc = join(ret_dir, err, dir ? dir : SHARED_MEMORY, name);
    return rc == RQC_OK ? private_dir(ret_dir, err) : rc;
}
