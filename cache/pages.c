// SPDX-License-Identifier: Apache-2.0
// LMDB's own pages. LMDB believes what its files say: a wrong offset or page number kills the
// reader, and a wrong free list or count kills the writer much later. So a file that may be damaged
// is walked here first, byte by byte, before LMDB sees it: every page of every tree, each in one
// place only, with nodes that fill it exactly and keys in order; every page of the free list; every
// count.
//
// The format is that of LMDB 0.9, data version 1, on machines of 64 bits, in their byte order
// (MDB_page, MDB_node, MDB_db and MDB_meta in its mdb.c). Anything else is no view of ours.
#include "cache/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_HEAD    16u // number u64, pad u16, flags u16, lower u16 and upper u16 or pages u32
#define NODE_HEAD    8u  // size or page number (low u16, high u16), flags u16, key size u16
#define TREE_BYTES   48u // pad u32, flags u16, depth u16, branch, leaf, overflow, entries, root u64
#define META_MAGIC   0xbeefc0deu
#define META_VERSION 1u
#define PAGE_BRANCH  1u
#define PAGE_LEAF    2u
#define PAGE_LONG    4u
#define PAGE_META    8u
#define NODE_LONG    1u // the data is the number of its first overflow page
#define NODE_TREE    2u // the data is a tree
#define INTEGER_KEYS 8u // flag of the free list's tree
#define NO_ROOT      UINT64_MAX
#define DEPTH_MAX    32u
#define KEY_MAX      511u

typedef struct pages {
    const uint8_t *map;
    uint64_t n;    // pages 0 … n - 1 were used or are free
    uint64_t file; // pages of the file: free ones behind its end were never written
    uint32_t size;
    uint8_t *taken; // a byte for every page
    uint8_t *units; // a byte for every two bytes of one page
    rqci_errbuf *err;
} pages;

typedef struct tree {
    bool free_list, main;
    uint16_t depth;
    uint64_t branch, leaf, overflow, entries; // found
} tree;

typedef struct span {
    const uint8_t *p; // NULL: no bound
    size_t n;
} span;

typedef struct node {
    span key;
    const uint8_t *data;
    uint64_t size; // of the data; of a branch: the child's page
    uint16_t flags;
} node;

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static rqc_err bad(const pages *p, uint64_t page, const char *what)
{
    return rqci_fail(p->err, RQC_CORRUPT, "view: page %llu: %s", (unsigned long long)page, what);
}

static const uint8_t *page_at(const pages *p, uint64_t number)
{
    return p->map + number * p->size;
}

// The pages belong to one place only.
static rqc_err take(pages *p, uint64_t first, uint64_t count, uint64_t end)
{
    if (first < 2 || first >= end || count > end - first)
        return bad(p, first, "is outside");
    for (uint64_t i = first; i < first + count; i++) {
        if (p->taken[i])
            return bad(p, i, "is used twice");
        p->taken[i] = 1;
    }
    return RQC_OK;
}

static int order(const tree *t, span a, span b)
{
    if (t->free_list) {
        const uint64_t x = load64(a.p), y = load64(b.p);
        return x < y ? -1 : x > y;
    }
    const int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

// ---- Nodes ----

static rqc_err check_long(pages *p, tree *t, uint64_t page, const node *d)
{
    const uint64_t first = load64(d->data), count = (PAGE_HEAD - 1 + d->size) / p->size + 1;
    const rqc_err rc = take(p, first, count, p->file);
    if (rc != RQC_OK)
        return rc;
    const uint8_t *h = page_at(p, first);
    if (load64(h) != first || load16(h + 10) != PAGE_LONG || load32(h + 12) != count)
        return bad(p, page, "has a long value that is none");
    t->overflow += count;
    return RQC_OK;
}

static rqc_err check_tree(pages *p, const uint8_t *db, bool free_list, bool is_main);

// A transaction's free pages: their count, and their numbers, descending.
static rqc_err check_free(pages *p, uint64_t page, const node *d)
{
    const uint8_t *ids = d->flags & NODE_LONG ? page_at(p, load64(d->data)) + PAGE_HEAD : d->data;
    if (d->key.n != 8 || d->size < 8 || load64(ids) > d->size / 8 - 1)
        return bad(p, page, "has a free list that is none");
    uint64_t last = p->n;
    for (uint64_t i = 1, n = load64(ids); i <= n; i++) {
        const uint64_t id = load64(ids + 8 * i);
        if (id >= last)
            return bad(p, page, "has a free list without order");
        const rqc_err rc = take(p, id, 1, p->n);
        if (rc != RQC_OK)
            return rc;
        last = id;
    }
    return RQC_OK;
}

static rqc_err check_leaf_node(pages *p, tree *t, uint64_t page, const node *d)
{
    rqc_err rc = RQC_OK;
    t->entries++;
    if (d->flags & ~(unsigned)(t->main ? NODE_TREE : NODE_LONG))
        return bad(p, page, "has a node of an unknown kind");
    if (d->flags & NODE_LONG)
        rc = check_long(p, t, page, d);
    if (rc == RQC_OK && t->free_list)
        rc = check_free(p, page, d);
    if (rc == RQC_OK && d->flags & NODE_TREE)
        rc = d->size == TREE_BYTES ? check_tree(p, d->data, false, false)
                                   : bad(p, page, "has no tree");
    return rc;
}

// Reads node i; its bytes are inside of the page and behind `upper`. Adds them up.
static rqc_err read_node(const pages *p, uint64_t page, unsigned i, bool branch, node *ret,
                         uint32_t *space)
{
    const uint8_t *h = page_at(p, page);
    const uint32_t at = load16(h + PAGE_HEAD + 2 * i), upper = load16(h + 14);
    if (at < upper || (at & 1) || at + NODE_HEAD > p->size)
        return bad(p, page, "has a node outside");
    const uint8_t *n = h + at;
    const uint64_t low = (uint64_t)load16(n) | (uint64_t)load16(n + 2) << 16;
    ret->flags = branch ? 0 : load16(n + 4);
    ret->size = branch ? low | (uint64_t)load16(n + 4) << 32 : low;
    ret->key = (span){n + NODE_HEAD, load16(n + 6)};
    ret->data = n + NODE_HEAD + ret->key.n;
    const uint64_t inside = branch ? 0 : ret->flags & NODE_LONG ? 8 : ret->size;
    const uint64_t bytes = (NODE_HEAD + ret->key.n + inside + 1) & ~UINT64_C(1);
    if (ret->key.n > KEY_MAX || bytes > p->size - at)
        return bad(p, page, "has a node that does not fit");
    *space += (uint32_t)bytes;
    return RQC_OK;
}

// No two nodes overlap. (Together they are as long as the page from `upper` on, so they leave no
// gap either.)
static rqc_err check_space(const pages *p, uint64_t page, unsigned n, bool branch)
{
    const uint8_t *h = page_at(p, page);
    memset(p->units, 0, p->size / 2);
    for (unsigned i = 0; i < n; i++) {
        node d;
        uint32_t bytes = 0;
        const rqc_err rc = read_node(p, page, i, branch, &d, &bytes);
        if (rc != RQC_OK)
            return rc;
        const uint32_t at = load16(h + PAGE_HEAD + 2 * i);
        for (uint32_t unit = at / 2; unit < (at + bytes) / 2; unit++)
            if (p->units[unit]++)
                return bad(p, page, "has nodes that overlap");
    }
    return RQC_OK;
}

// ---- Pages ----

// The keys below a node are `from` or greater and less than `to`; the page's are within its own
// bounds.
static bool in_order(const tree *t, span low, span from, span to)
{
    return from.p == NULL || ((to.p == NULL || order(t, from, to) < 0) &&
                              (low.p == NULL || order(t, from, low) >= 0));
}

static bool good_key(const tree *t, span key)
{
    return t->free_list ? key.n == 8 : key.n > 0;
}

static rqc_err check_page(pages *p, tree *t, uint64_t page, unsigned level, span low, span high)
{
    const bool branch = level < t->depth;
    rqc_err rc = take(p, page, 1, p->file);
    if (rc != RQC_OK)
        return rc;
    const uint8_t *h = page_at(p, page);
    const uint32_t lower = load16(h + 12), upper = load16(h + 14);
    if (load64(h) != page || load16(h + 10) != (branch ? PAGE_BRANCH : PAGE_LEAF))
        return bad(p, page, "is of another kind");
    if (lower < PAGE_HEAD || (lower & 1) || lower > upper || upper > p->size)
        return bad(p, page, "has wrong bounds");
    const unsigned n = (lower - PAGE_HEAD) / 2;
    if (n < (branch && !t->free_list ? 2u : 1u))
        return bad(p, page, "is empty");
    *(branch ? &t->branch : &t->leaf) += 1;
    uint32_t space = 0;
    node now, next = {.flags = 0};
    rc = read_node(p, page, 0, branch, &next, &space);
    for (unsigned i = 0; rc == RQC_OK && i < n; i++) {
        now = next;
        if (i + 1 < n)
            rc = read_node(p, page, i + 1, branch, &next, &space);
        if (rc != RQC_OK)
            return rc;
        // The first key of a branch page stands for everything below the second.
        const bool first = branch && i == 0;
        if ((!first && !good_key(t, now.key)) || (i + 1 < n && !good_key(t, next.key)))
            return bad(p, page, "has a key of a wrong size");
        const span from = first ? low : now.key, to = i + 1 < n ? next.key : high;
        if (!in_order(t, low, from, to))
            return bad(p, page, "has keys without order");
        rc = branch ? check_page(p, t, now.size, level + 1, from, to)
                    : check_leaf_node(p, t, page, &now);
    }
    if (rc == RQC_OK && space != p->size - upper)
        rc = bad(p, page, "has a gap");
    return rc == RQC_OK ? check_space(p, page, n, branch) : rc;
}

static rqc_err check_tree(pages *p, const uint8_t *db, bool free_list, bool is_main)
{
    tree t = {.free_list = free_list, .main = is_main, .depth = load16(db + 6)};
    const uint64_t root = load64(db + 40);
    if (load16(db + 4) != (free_list ? INTEGER_KEYS : 0) || t.depth > DEPTH_MAX ||
        (t.depth == 0) != (root == NO_ROOT))
        return bad(p, root, "is the root of no tree of ours");
    const span none = {NULL, 0};
    const rqc_err rc = t.depth == 0 ? RQC_OK : check_page(p, &t, root, 1, none, none);
    if (rc != RQC_OK)
        return rc;
    if (load64(db + 8) != t.branch || load64(db + 16) != t.leaf || load64(db + 24) != t.overflow ||
        load64(db + 32) != t.entries)
        return bad(p, root, "is the root of a tree with wrong counts");
    return RQC_OK;
}

// ---- The file ----

static bool is_meta(const uint8_t *page, uint64_t number, uint32_t size)
{
    const uint8_t *m = page + PAGE_HEAD;
    const uint64_t last = load64(m + 120);
    return load64(page) == number && load16(page + 10) == PAGE_META && load32(m) == META_MAGIC &&
           load32(m + 4) == META_VERSION && load64(m + 8) == 0 && load32(m + 24) == size &&
           last >= 1 && load64(m + 16) / size > last;
}

static rqc_err check_file(pages *p, uint64_t bytes)
{
    p->size = (uint32_t)sysconf(_SC_PAGESIZE);
    if (sizeof(size_t) != 8 || p->size > UINT16_MAX || bytes < 2 * (uint64_t)p->size)
        return bad(p, 0, "is of another format");
    if (!is_meta(p->map, 0, p->size) || !is_meta(p->map + p->size, 1, p->size))
        return bad(p, 0, "or the one behind it is no meta page");
    // Transactions take the two meta pages in turn; the newer one is in force.
    const uint8_t *m[2] = {p->map + PAGE_HEAD, p->map + p->size + PAGE_HEAD};
    const uint64_t txn[2] = {load64(m[0] + 128), load64(m[1] + 128)};
    const unsigned newer = txn[1] > txn[0];
    if (txn[newer] - txn[!newer] > 1 || txn[newer] % 2 != newer)
        return bad(p, newer, "is of a transaction that cannot be");
    p->n = load64(m[newer] + 120) + 1;
    p->file = bytes / p->size < p->n ? bytes / p->size : p->n;
    p->taken = calloc(p->n, 1);
    p->units = malloc(p->size / 2);
    rqc_err rc = p->taken == NULL || p->units == NULL ? RQC_NO_MEMORY : RQC_OK;
    if (rc == RQC_OK)
        rc = check_tree(p, m[newer] + 24, true, false);
    if (rc == RQC_OK)
        rc = check_tree(p, m[newer] + 24 + TREE_BYTES, false, true);
    free(p->taken);
    free(p->units);
    return rc;
}

rqc_err rqci_check_pages(const char *gen_path, rqci_errbuf *err)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/data.mdb", gen_path);
    if (n < 0 || (size_t)n >= sizeof path)
        return rqci_fail(err, RQC_INVALID, "%s: path is too long", gen_path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return rqci_fail(err, RQC_UNAVAILABLE, "%s: no view", path);
    }
    const size_t bytes = (size_t)st.st_size;
    pages p = {.err = err};
    p.map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p.map == MAP_FAILED)
        return rqci_fail(err, RQC_NO_MEMORY, "%s: cannot be mapped", path);
    const rqc_err rc = check_file(&p, bytes);
    munmap((void *)(uintptr_t)p.map, bytes);
    return rc;
}
