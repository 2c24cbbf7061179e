// SPDX-License-Identifier: Apache-2.0
// The control page: which generation is the view, and how far it is. It is never truncated or
// rewritten in place by another file's content; an unusable one is replaced by renaming a new file
// over it, so that whoever has the old one mapped keeps valid memory.
#include "cache/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static rqc_err write_new(const char *dir, const char *path, rqci_errbuf *err)
{
    char temp[4096];
    const int n = snprintf(temp, sizeof temp, "%s/control.new", dir);
    if (n < 0 || (size_t)n >= sizeof temp)
        return rqci_fail(err, RQC_INVALID, "%s: path is too long", dir);
    if (unlink(temp) != 0 && errno != ENOENT)
        return rqci_fail(err, RQC_IO, "%s: %s", temp, strerror(errno));
    const int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return rqci_fail(err, errno == ENOSPC ? RQC_NO_SPACE : RQC_IO, "%s: %s", temp,
                         strerror(errno));
    uint8_t page[RQCI_CONTROL_BYTES] = {0};
    rqci_control c = {.magic = RQCI_CONTROL_MAGIC, .layout = RQCI_VIEW_LAYOUT};
    memcpy(page, &c, sizeof c);
    // Written, not only truncated to size: a hole on a full tmpfs would be a SIGBUS for whoever
    // touches it.
    const ssize_t wrote = write(fd, page, sizeof page);
    const int why = wrote < 0 ? errno : ENOSPC;
    close(fd);
    if (wrote != (ssize_t)sizeof page) {
        unlink(temp);
        return rqci_fail(err, why == ENOSPC ? RQC_NO_SPACE : RQC_IO, "%s: %s", temp, strerror(why));
    }
    if (rename(temp, path) != 0)
        return rqci_fail(err, RQC_IO, "%s: %s", path, strerror(errno));
    return RQC_OK;
}

// A process that lacks descriptors or memory says nothing about the page.
static bool lacks(int why)
{
    return why == EMFILE || why == ENFILE || why == ENOMEM || why == EIO;
}

// Maps the page when it is one of ours; RQC_UNAVAILABLE when it is not. RQC_IO, RQC_NO_MEMORY:
// nobody knows.
static rqc_err map_existing(const char *path, bool write, rqci_control **ret_control,
                            rqci_errbuf *err)
{
    const int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return rqci_fail(err,
                         errno == ENOMEM ? RQC_NO_MEMORY
                         : lacks(errno)  ? RQC_IO
                                         : RQC_UNAVAILABLE,
                         "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0) {
        const int why = errno;
        close(fd);
        return rqci_fail(err, RQC_IO, "%s: %s", path, strerror(why));
    }
    if (!S_ISREG(st.st_mode) || st.st_size != (off_t)RQCI_CONTROL_BYTES) {
        close(fd);
        return rqci_fail(err, RQC_UNAVAILABLE, "%s: not a control page", path);
    }
    rqci_control *c = mmap(NULL, RQCI_CONTROL_BYTES, write ? PROT_READ | PROT_WRITE : PROT_READ,
                           MAP_SHARED, fd, 0);
    close(fd);
    if (c == MAP_FAILED)
        return rqci_fail(err, RQC_NO_MEMORY, "%s: %s", path, strerror(errno));
    if (c->magic != RQCI_CONTROL_MAGIC || c->layout != RQCI_VIEW_LAYOUT) {
        munmap(c, RQCI_CONTROL_BYTES);
        return rqci_fail(err, RQC_UNAVAILABLE, "%s: a view of another version", path);
    }
    *ret_control = c;
    return RQC_OK;
}

rqc_err rqci_control_map(const char *dir, bool write, rqci_control **ret_control, rqci_errbuf *err)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/control", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return rqci_fail(err, RQC_INVALID, "%s: path is too long", dir);
    rqc_err rc = map_existing(path, write, ret_control, err);
    if (rc != RQC_UNAVAILABLE || !write)
        return rc;
    rc = write_new(dir, path, err);
    return rc != RQC_OK ? rc : map_existing(path, write, ret_control, err);
}

void rqci_control_unmap(rqci_control *c)
{
    if (c != NULL)
        munmap(c, RQCI_CONTROL_BYTES);
}

// ---- What the page shows ----
// One writer. Whoever sees a new field sees the odd turn before it, because every store releases
// and every load acquires; so fields between two equal even turns belong together.

#define LOOKS 1000 // then the writer is taken for dead

static void show(rqci_control *c, const rqci_shown *s)
{
    uint64_t id[2];
    memcpy(id, s->store_id, sizeof id);
    atomic_store(&c->store_id[0], id[0]);
    atomic_store(&c->store_id[1], id[1]);
    atomic_store(&c->term, s->term);
    atomic_store(&c->seq, s->seq);
    atomic_store(&c->generation, s->generation);
}

void rqci_control_show(rqci_control *c, const rqci_shown *s)
{
    const uint32_t odd = atomic_load(&c->turn) | 1u;
    atomic_store(&c->turn, odd);
    show(c, s);
    atomic_store(&c->turn, odd + 1);
    rqci_control_wake(c);
}

void rqci_control_advance(rqci_control *c, uint64_t seq)
{
    atomic_store(&c->seq, seq);
    atomic_fetch_add(&c->turn, 2);
    rqci_control_wake(c);
}

static void look(const rqci_control *c, rqci_shown *s)
{
    uint64_t id[2];
    s->generation = atomic_load_explicit(&c->generation, memory_order_acquire);
    s->seq = atomic_load_explicit(&c->seq, memory_order_acquire);
    s->term = atomic_load_explicit(&c->term, memory_order_acquire);
    id[0] = atomic_load_explicit(&c->store_id[0], memory_order_acquire);
    id[1] = atomic_load_explicit(&c->store_id[1], memory_order_acquire);
    memcpy(s->store_id, id, sizeof id);
}

void rqci_control_look(const rqci_control *c, rqci_shown *ret_shown)
{
    for (int i = 0; i < LOOKS; i++) {
        ret_shown->turn = atomic_load_explicit(&c->turn, memory_order_acquire);
        look(c, ret_shown);
        if ((ret_shown->turn & 1u) == 0 &&
            atomic_load_explicit(&c->turn, memory_order_acquire) == ret_shown->turn)
            return;
    }
    ret_shown->generation = 0;
}

// The kernel finds sleepers by file and offset, so it does not matter that each process has the
// page at an address of its own, and read-only.
void rqci_control_sleep(const rqci_control *c, uint32_t turn, int64_t ms)
{
    if (ms <= 0)
        return;
    const struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    (void)syscall(SYS_futex, &c->turn, FUTEX_WAIT, turn, &t, NULL, 0);
}

void rqci_control_wake(const rqci_control *c)
{
    (void)syscall(SYS_futex, &c->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

rqc_err rqci_boot_id(uint8_t ret_boot[16], rqci_errbuf *err)
{
    static const char file[] = "/proc/sys/kernel/random/boot_id";
    char line[64] = "";
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    const int why = n < 0 ? errno : ENODATA;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return rqci_fail(err, RQC_IO, "%s: %s", file, strerror(why));
    // The text, 36 characters, is folded to 16 bytes; only equality matters.
    memset(ret_boot, 0, 16);
    for (size_t i = 0; line[i] != '\0' && line[i] != '\n'; i++)
        ret_boot[i % 16] = (uint8_t)(ret_boot[i % 16] * 31u + (uint8_t)line[i]);
    return RQC_OK;
}
