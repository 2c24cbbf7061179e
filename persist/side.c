// SPDX-License-Identifier: Apache-2.0
// FILE.rqc-state, the side file: text, one value a line. The head comes first, at a fixed place,
// because it is rewritten there after every commit without waiting for the disk: that survives the
// death of the process, and a head that is too old only notices less. Everything else changes by a
// new file that is renamed over the old one, with both synced.
#include "base/hash.h"
#include "persist/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST       "reqcast-state 1\nhead "
#define HEAD_AT     (sizeof FIRST - 1)
#define HEAD_DIGITS 20
#define REST_AT     (HEAD_AT + HEAD_DIGITS + 1)
#define SIDE_MAX    (4u * PATH_MAX)

static void put_hex(char *at, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snprintf(at + 2 * i, 3, "%02x", bytes[i]);
}

// The path on one line, whatever bytes it has.
static void put_path(char *at, const char *path)
{
    for (; *path; path++) {
        const unsigned char c = (unsigned char)*path;
        if (c <= 0x20 || c == '%' || c >= 0x7f)
            at += sprintf(at, "%%%02X", c);
        else
            *at++ = (char)c;
    }
    *at = '\0';
}

// Everything behind the head but the last line, which is its check value.
static int format_rest(char *out, size_t size, const char *db_path, const rqci_side *side)
{
    char store[33], nonce[33], next[33];
    put_hex(store, side->store_id, 16);
    put_hex(nonce, side->nonce, 16);
    put_hex(next, side->next, 16);
    char *path = malloc(3 * strlen(db_path) + 1);
    if (!path)
        return -1;
    put_path(path, db_path);
    const int n = snprintf(out, size, "store %s\nterm %" PRIu32 "\nnonce %s\nnext %s\npath %s\n",
                           store, side->term, nonce, next, path);
    free(path);
    return n < 0 || (size_t)n >= size ? -1 : n;
}

static rqc_err failed(const char *path, rqci_errbuf *err)
{
    const int e = errno;
    const rqc_err code = e == ENOSPC || e == EDQUOT || e == EFBIG ? RQC_NO_SPACE
                         : e == EROFS                             ? RQC_READ_ONLY
                                                                  : RQC_IO;
    return rqci_fail(err, code, "%s: %s", path, strerror(e));
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

static rqc_err sync_dir(const char *db_path, rqci_errbuf *err)
{
    char *copy = strdup(db_path);
    if (!copy)
        return RQC_NO_MEMORY;
    const char *dir = dirname(copy);
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rqc_err e = fd < 0 || fsync(fd) != 0 ? failed(dir, err) : RQC_OK;
    if (fd >= 0)
        close(fd);
    free(copy);
    return e;
}

static rqc_err replace(const char *db_path, const char *path, const char *text, size_t len, int *fd,
                       rqci_errbuf *err)
{
    char *temp;
    if (asprintf(&temp, "%s.tmp", path) < 0)
        return RQC_NO_MEMORY;
    unlink(temp); // what a crash left; the lock says that nobody else writes it
    const int f = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);
    rqc_err e = f < 0 ? failed(temp, err) : RQC_OK;
    struct stat st;
    if (!e && stat(db_path, &st) == 0)
        (void)fchmod(f, st.st_mode & 0666);
    if (!e && (!write_all(f, text, len) || fsync(f) != 0 || rename(temp, path) != 0)) {
        e = failed(temp, err);
        unlink(temp);
    }
    if (!e)
        e = sync_dir(db_path, err);
    free(temp);
    if (e) {
        if (f >= 0)
            close(f);
        return e;
    }
    if (*fd >= 0)
        close(*fd);
    *fd = f;
    return RQC_OK;
}

rqc_err rqci_side_write(const char *db_path, const rqci_side *side, int *fd, rqci_errbuf *err)
{
    char *path = NULL, *text = malloc(SIDE_MAX);
    if (!text || asprintf(&path, "%s.rqc-state", db_path) < 0) {
        free(text);
        return RQC_NO_MEMORY;
    }
    rqc_err e = RQC_OK;
    snprintf(text, SIDE_MAX, FIRST "%020" PRIu64 "\n", side->head);
    const int n = format_rest(text + REST_AT, SIDE_MAX - REST_AT - 32, db_path, side);
    if (n < 0) {
        e = rqci_fail(err, RQC_NO_MEMORY, "%s", path);
    } else {
        const int c = sprintf(text + REST_AT + n, "check %016" PRIx64 "\n",
                              rqci_xxh64(text + REST_AT, (size_t)n));
        e = replace(db_path, path, text, REST_AT + (size_t)n + (size_t)c, fd, err);
    }
    free(path);
    free(text);
    return e;
}

void rqci_side_head(int fd, uint64_t head)
{
    char digits[HEAD_DIGITS + 1];
    snprintf(digits, sizeof digits, "%020" PRIu64, head);
    if (fd >= 0 && pwrite(fd, digits, HEAD_DIGITS, HEAD_AT) != HEAD_DIGITS)
        return;
}

void rqci_side_flush(int fd)
{
    if (fd >= 0 && fdatasync(fd) != 0)
        return;
}

static bool get_hex(const char *at, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned v = 0;
        for (int k = 0; k < 2; k++) {
            const char c = at[2 * i + (size_t)k];
            if (c >= '0' && c <= '9')
                v = v * 16 + (unsigned)(c - '0');
            else if (c >= 'a' && c <= 'f')
                v = v * 16 + (unsigned)(c - 'a') + 10;
            else
                return false;
        }
        bytes[i] = (uint8_t)v;
    }
    return true;
}

static bool get_number(const char *at, size_t n, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (at[i] < '0' || at[i] > '9' || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(at[i] - '0');
    }
    *ret = v;
    return n > 0 && v <= max;
}

// A line "name value\n" at *at; moves behind it. The value's length must be `want` unless that is
// 0.
static const char *line(char **at, const char *name, size_t want, size_t *ret_len)
{
    const size_t n = strlen(name);
    char *end = strchr(*at, '\n');
    if (!end || strncmp(*at, name, n) != 0 || (*at)[n] != ' ')
        return NULL;
    const char *value = *at + n + 1;
    *ret_len = (size_t)(end - value);
    *at = end + 1;
    return want == 0 || want == *ret_len ? value : NULL;
}

// `mine` is room for the path as the file has it.
static bool parse(char *text, const char *db_path, char *mine, rqci_side *side)
{
    uint64_t term;
    if (strncmp(text, FIRST, HEAD_AT) != 0 || strlen(text) <= REST_AT ||
        !get_number(text + HEAD_AT, HEAD_DIGITS, INT64_MAX, &side->head) ||
        text[REST_AT - 1] != '\n')
        return false;
    char *at = text + REST_AT, *rest = at;
    size_t n;
    const char *v = line(&at, "store", 32, &n);
    if (!v || !get_hex(v, side->store_id, 16))
        return false;
    v = line(&at, "term", 0, &n);
    if (!v || !get_number(v, n, UINT32_MAX, &term))
        return false;
    side->term = (uint32_t)term;
    v = line(&at, "nonce", 32, &n);
    if (!v || !get_hex(v, side->nonce, 16))
        return false;
    v = line(&at, "next", 32, &n);
    if (!v || !get_hex(v, side->next, 16))
        return false;
    v = line(&at, "path", 0, &n);
    if (!v)
        return false;
    put_path(mine, db_path);
    side->same_path = strlen(mine) == n && memcmp(mine, v, n) == 0;
    char check[17];
    snprintf(check, sizeof check, "%016" PRIx64, rqci_xxh64(rest, (size_t)(at - rest)));
    v = line(&at, "check", 16, &n);
    return v && memcmp(v, check, 16) == 0 && *at == '\0';
}

// Only what the file says may be taken for damage: a new term follows from that.
rqc_err rqci_side_read(const char *db_path, rqci_side *ret_side, rqci_errbuf *err)
{
    char *path = NULL, *text = malloc(SIDE_MAX), *mine = malloc(3 * strlen(db_path) + 1);
    if (!text || !mine || asprintf(&path, "%s.rqc-state", db_path) < 0) {
        free(text);
        free(mine);
        return RQC_NO_MEMORY;
    }
    rqc_err e = RQC_OK;
    rqci_side side;
    memset(&side, 0, sizeof side);
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 ? errno != ENOENT && errno != ELOOP : fstat(fd, &st) != 0)
        e = failed(path, err);
    else if (fd < 0 || !S_ISREG(st.st_mode))
        e = RQC_NOT_FOUND;
    if (!e) {
        const ssize_t n = read(fd, text, SIDE_MAX - 1);
        if (n < 0) {
            e = failed(path, err);
        } else {
            text[n] = '\0';
            e = parse(text, db_path, mine, &side) ? RQC_OK : RQC_NOT_FOUND;
        }
    }
    if (fd >= 0)
        close(fd);
    free(path);
    free(mine);
    free(text);
    if (!e)
        *ret_side = side;
    return e;
}
