// SPDX-License-Identifier: Apache-2.0
// A file that is there completely or not at all: made as PATH.rqc-tmp, brought to the disk,
// renamed. A lock on its first byte (SQLite locks others) keeps two makers apart; what a crash left
// is used again by the next.
#include "persist/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const companions[] = {"-wal", "-shm", "-journal"};

rqc_err rqci_file_failed(const char *path, rqci_errbuf *err)
{
    const int e = errno;
    const rqc_err code = e == ENOSPC || e == EDQUOT || e == EFBIG     ? RQC_NO_SPACE
                         : e == EROFS                                 ? RQC_READ_ONLY
                         : e == ENOENT                                ? RQC_NOT_FOUND
                         : e == EEXIST || e == EISDIR || e == ENOTDIR ? RQC_INVALID
                         : e == ENOMEM                                ? RQC_NO_MEMORY
                                                                      : RQC_IO;
    return rqci_fail(err, code, "%s: %s", path, strerror(e));
}

rqc_err rqci_file_allowed(const char *path, int mode, rqci_errbuf *err)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 || errno == ENOENT
               ? RQC_OK
               : rqci_file_failed(path, err);
}

bool rqci_folder_allowed(const char *path, int mode)
{
    char *copy = strdup(path);
    const bool allowed = copy && rqci_file_allowed(dirname(copy), mode, NULL) == RQC_OK;
    free(copy);
    return allowed;
}

rqc_err rqci_dir_sync(const char *path, rqci_errbuf *err)
{
    char *copy = strdup(path);
    if (!copy)
        return RQC_NO_MEMORY;
    const char *dir = dirname(copy);
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const rqc_err e = fd < 0 || fsync(fd) != 0 ? rqci_file_failed(dir, err) : RQC_OK;
    if (fd >= 0)
        close(fd);
    free(copy);
    return e;
}

rqc_err rqci_file_beside(const char *path, const char *suffix, bool *ret_there, rqci_errbuf *err)
{
    char *name;
    struct stat st;
    if (asprintf(&name, "%s%s", path, suffix) < 0)
        return RQC_NO_MEMORY;
    *ret_there = lstat(name, &st) == 0;
    const rqc_err e = *ret_there || errno == ENOENT ? RQC_OK : rqci_file_failed(name, err);
    free(name);
    return e;
}

// *ret_again: somebody else finished or gave up the file between our open and our lock.
static rqc_err take(rqci_newfile *f, bool *ret_again, rqci_errbuf *err)
{
    struct stat mine, now;
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    *ret_again = false;
    f->fd = open(f->temp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (f->fd < 0)
        return rqci_file_failed(f->temp, err);
    if (fstat(f->fd, &mine) != 0)
        return rqci_file_failed(f->temp, err);
    if (!S_ISREG(mine.st_mode) || mine.st_nlink > 1)
        return rqci_fail(err, RQC_INVALID, "%s is not a file of ours", f->temp);
    if (fcntl(f->fd, F_OFD_SETLK, &fl) != 0)
        return errno == EAGAIN || errno == EACCES
                   ? rqci_fail(err, RQC_BUSY, "%s is being made by another process", f->path)
                   : rqci_file_failed(f->temp, err);
    *ret_again = lstat(f->temp, &now) != 0 || now.st_ino != mine.st_ino;
    return RQC_OK;
}

static void unlink_companions(const char *path)
{
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++) {
        char *name;
        if (asprintf(&name, "%s%s", path, companions[i]) < 0)
            continue;
        (void)unlink(name);
        free(name);
    }
}

rqc_err rqci_newfile_begin(const char *path, rqci_newfile *f, rqci_errbuf *err)
{
    f->fd = -1;
    f->placed = f->locked = false;
    f->temp = NULL;
    f->path = strdup(path);
    if (!f->path || asprintf(&f->temp, "%s.rqc-tmp", path) < 0) {
        f->temp = NULL;
        return RQC_NO_MEMORY;
    }
    bool again;
    do {
        if (f->fd >= 0)
            close(f->fd);
        const rqc_err e = take(f, &again, err);
        if (e)
            return e;
    } while (again);
    f->locked = true;
    unlink_companions(f->temp);
    return ftruncate(f->fd, 0) == 0 ? RQC_OK : rqci_file_failed(f->temp, err);
}

// Where the file system cannot refuse to overwrite by itself, we look before.
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    struct stat st;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

rqc_err rqci_newfile_sync(rqci_newfile *f, unsigned mode, rqci_errbuf *err)
{
    (void)fchmod(f->fd, mode & 0666);
    return fsync(f->fd) == 0 ? RQC_OK : rqci_file_failed(f->temp, err);
}

rqc_err rqci_newfile_place(rqci_newfile *f, bool replace, rqci_errbuf *err)
{
    if ((replace ? rename(f->temp, f->path) : rename_new(f->temp, f->path)) != 0)
        return rqci_file_failed(f->path, err);
    f->placed = true;
    return rqci_dir_sync(f->path, err);
}

void rqci_newfile_end(rqci_newfile *f)
{
    if (f->locked && !f->placed) {
        unlink_companions(f->temp);
        (void)unlink(f->temp);
    }
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f->temp);
}
