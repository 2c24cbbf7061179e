// SPDX-License-Identifier: Apache-2.0
// Vectors that are `observed` or `ambiguous`: what this library does there, and by which rule of
// docs/semantics.md. A vector of that kind without a line here fails.
#include "tests/vectors.h"

static const decision decisions[] = {
    {"ov-s-09", DIFFERENT, "{\"error\": \"invalid\"}",
     "Overlay: the delta's parent must be the base"},
    {"ov-s-10", AS_EXPECTED, NULL, "Overlay: one level"},
    {"ov-c-09", AS_EXPECTED, NULL, "Overlay: delta_display_order is never used"},
    {"ov-c-10", AS_EXPECTED, NULL, "Overlay: an addition shows its plain columns"},
    {"ov-a-04", AS_EXPECTED, NULL, "Overlay: overrides of an assert accumulate"},
    {"ov-r-03", AS_EXPECTED, NULL, "Overlay: an empty body override inherits"},
    {"ov-r-06", AS_EXPECTED, NULL, "Overlay: no body row at the base, no row id"},
    {"ov-r-08", AS_RECOMMENDED, NULL, "Overlay: the codec goes with the bytes"},
    {"ch-09", CHOSEN, "21000000000000000000000000000002", "Chains: the newest sibling"},
    {"ch-10", CHOSEN, "21000000000000000000000000000003", "Chains: equal times, the highest id"},
    {"ch-16", AS_EXPECTED, NULL, "Chains: deltas of other workspaces are followed"},
    {"ch-19", AS_EXPECTED, NULL, "Chains: from a base or a snapshot"},
    {"sp-12", DIFFERENT,
     "{\"pages\": [[\"22000000000000000000000000000001\", \"22000000000000000000000000000002\","
     " \"22000000000000000000000000000003\"], [\"22000000000000000000000000000004\","
     " \"22000000000000000000000000000005\", \"22000000000000000000000000000006\"],"
     " [\"22000000000000000000000000000007\"]]}",
     "Pages: a walk continues at (updated_at, id), whatever cursor the vector names"},
    {"sp-13", AS_EXPECTED, NULL, "Pages: a walk continues at (updated_at, id)"},
    {"in-06", AS_EXPECTED, NULL, "Pages, updates: times are compared as they are; see changes"},
    {"in-07", AS_EXPECTED, NULL, "Pages, updates: the tombstone is in changes"},
    {"in-09", AS_EXPECTED, NULL, "Pages, updates: the cleared link is in changes"},
    {"in-10", AS_EXPECTED, NULL, "Pages, updates: times can step back; see changes"},
    {"cs-06", AS_EXPECTED, NULL, "Pages, children: milliseconds are beyond a cutoff in seconds"},
};

// Operations of the layer above: what a client makes of events, and how they reach it.
static const struct {
    const char *op, *why;
} elsewhere[] = {
    {"client_apply", "how a client applies events"},
    {"route", "which stream an event belongs to"},
    {"batching", "when a stream flushes"},
    {"slow_subscriber", "queues of subscribers"},
    {"timeline", "subscribing against reading"},
    {"permission", "who may do what"},
    {"har_entry", "import of HAR files has a test of its own"},
};

const decision *decision_at(size_t i)
{
    return i < sizeof decisions / sizeof *decisions ? &decisions[i] : NULL;
}

const decision *decision_of(const char *id)
{
    for (size_t i = 0; decision_at(i); i++) {
        if (strcmp(decisions[i].id, id) == 0)
            return &decisions[i];
    }
    return NULL;
}

const char *not_here(const char *op)
{
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        if (strcmp(elsewhere[i].op, op) == 0)
            return elsewhere[i].why;
    }
    return NULL;
}
