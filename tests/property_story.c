// SPDX-License-Identifier: Apache-2.0
// What was done to the database, for the one who looks for a fault: the statements of the last
// transaction, and earlier ones that name the record in question.
#include "tests/property.h"

#define SHOWN_BYTES 700
#define EARLIER     40

typedef struct told {
    unsigned transaction;
    char *text;
} told;

static told *all;
static size_t nall, cap;
static unsigned transactions;
static int blamed = NO_ID;

static void keep(const char *what)
{
    if (nall == cap) {
        cap = cap == 0 ? 1024 : 2 * cap;
        all = realloc(all, cap * sizeof *all);
        if (all == NULL)
            bail("no memory");
    }
    all[nall].transaction = transactions;
    all[nall++].text = strndup(what, SHOWN_BYTES);
}

void story_begin(const char *what)
{
    transactions++;
    keep(what);
}

void story_add(const char *what)
{
    keep(what);
}

void story_blame(int number)
{
    blamed = number;
}

static bool names(const char *what, const char *hex)
{
    return strstr(what, hex) != NULL;
}

static void show(const told *t)
{
    tap_note("  [%u] %s", t->transaction, t->text);
}

void story_tell(void)
{
    const char *want = getenv("RQC_TEST_STORY"); // so many transactions as a whole
    const unsigned whole = want != NULL ? (unsigned)strtoul(want, NULL, 10) : 1;
    size_t from = nall;
    while (from > 0 && all[from - 1].transaction + whole > transactions)
        from--;
    if (blamed != NO_ID) {
        char hex[33];
        for (unsigned i = 0; i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x", g.ids[blamed][i]);
        size_t first = from;
        for (unsigned n = 0; first > 0 && n < EARLIER;)
            n += names(all[--first].text, hex);
        tap_note("earlier statements that name %s:", hex);
        for (; first < from; first++)
            if (names(all[first].text, hex))
                show(&all[first]);
    }
    tap_note("the last transaction%s:", whole > 1 ? "s" : "");
    for (; from < nall; from++)
        show(&all[from]);
}

void story_forget(void)
{
    for (size_t i = 0; i < nall; i++)
        free(all[i].text);
    free(all);
    all = NULL;
    nall = cap = 0;
    transactions = 0;
    blamed = NO_ID;
}

// ---- A growing text ----

static void room(text *t, size_t n)
{
    if (t->len + n + 1 <= t->cap)
        return;
    while (t->len + n + 1 > t->cap)
        t->cap = t->cap == 0 ? 1024 : 2 * t->cap;
    t->p = realloc(t->p, t->cap);
    if (t->p == NULL)
        bail("no memory");
}

void text_add(text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    room(t, (size_t)n);
    va_start(ap, fmt);
    vsnprintf(t->p + t->len, t->cap - t->len, fmt, ap);
    va_end(ap);
    t->len += (size_t)n;
}

void text_bytes(text *t, const void *p, size_t n)
{
    room(t, n);
    if (n > 0)
        memcpy(t->p + t->len, p, n);
    t->len += n;
    t->p[t->len] = 0;
}

void text_free(text *t)
{
    free(t->p);
    *t = (text){0};
}
