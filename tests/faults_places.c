// SPDX-License-Identifier: Apache-2.0
// Places of faults.h: which calls led to which events. Nothing here allocates, since an event may
// be an allocation.
#include "tests/faults.h"

#include <link.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define PLACES  (1u << 16)
#define MODULES 64

typedef struct module {
    uintptr_t from, end;
    uint64_t name;
} module;

static struct {
    faults_place p;
    uint64_t seen; // in this run
    uint32_t run;
} places[PLACES];
static uint32_t slots[2 * PLACES]; // index + 1, by name; 0: free
static size_t count;
static uint32_t run;
static bool full;
static module modules[MODULES];
static size_t nmodules;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        (void)sched_yield();
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 32);
}

// ---- Names --------------------------------------------------------------------------------------

static int note_module(struct dl_phdr_info *info, size_t size, void *unused)
{
    const char *slash = strrchr(info->dlpi_name, '/');
    uint64_t name = 1;
    (void)size;
    (void)unused;
    for (const char *p = slash ? slash + 1 : info->dlpi_name; *p; p++)
        name = mix(name, (uint8_t)*p);
    for (int i = 0; i < info->dlpi_phnum && nmodules < MODULES; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
            const uintptr_t from = info->dlpi_addr + ph->p_vaddr;
            modules[nmodules++] = (module){from, from + ph->p_memsz, mix(name, ph->p_vaddr)};
        }
    }
    return 0;
}

void faults_places_modules(void)
{
    nmodules = 0;
    (void)dl_iterate_phdr(note_module, NULL);
}

// Where a module lies differs between two runs of a program; what is behind its start does not.
uint64_t faults_place_name(void *const *frames, int n)
{
    uint64_t name = 1;
    for (int i = 0; i < n; i++) {
        const uintptr_t at = (uintptr_t)frames[i];
        size_t m = 0;
        while (m < nmodules && (at < modules[m].from || at >= modules[m].end))
            m++;
        name = m < nmodules ? mix(mix(name, modules[m].name), at - modules[m].from)
                            : mix(name, at & 0xfff);
    }
    return name ? name : 1; // 0 is none
}

// ---- The list -----------------------------------------------------------------------------------

void faults_places_forget(void)
{
    memset(slots, 0, sizeof slots);
    count = 0;
    full = false;
}

void faults_places_run(void)
{
    run++;
}

void faults_places_anew(void)
{
    for (size_t i = 0; i < count; i++)
        places[i].p.failed = false;
}

// Under the lock: its index, PLACES when there is no room.
static size_t find(fault_kind kind, uint64_t name)
{
    size_t at = (size_t)mix(name, (uint64_t)kind) % (2 * PLACES);
    for (; slots[at]; at = (at + 1) % (2 * PLACES)) {
        const faults_place *p = &places[slots[at] - 1].p;
        if (p->name == name && p->kind == kind)
            return slots[at] - 1;
    }
    if (count == PLACES) {
        full = true;
        return PLACES;
    }
    places[count].p = (faults_place){.kind = kind, .name = name};
    places[count].run = run - 1;
    slots[at] = (uint32_t)++count;
    return count - 1;
}

void faults_place_seen(fault_kind kind, uint64_t name, uint32_t down)
{
    lock();
    const size_t i = find(kind, name);
    if (i < PLACES) {
        faults_place *p = &places[i].p;
        if (places[i].run != run)
            places[i].seen = 0;
        places[i].run = run;
        if (p->most == 0)
            p->down = down;
        else if (p->down != down)
            p->down = 0;
        if (++places[i].seen > p->most)
            p->most = places[i].seen;
    }
    unlock();
}

void faults_place_failed(fault_kind kind, uint64_t name)
{
    lock();
    const size_t i = find(kind, name);
    if (i < PLACES)
        places[i].p.failed = true;
    unlock();
}

bool faults_place_get(size_t i, faults_place *ret)
{
    lock();
    const bool there = i < count;
    if (there)
        *ret = places[i].p;
    unlock();
    return there;
}

bool faults_places_full(void)
{
    return full;
}
