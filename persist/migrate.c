// SPDX-License-Identifier: Apache-2.0
// Older versions of our own tables. A step is appended here with the version that it leads to, and
// the newest form goes into rqci_facts_tables; steps are never changed.
#include "persist/internal.h"

static const rqci_migration steps[] = {
    // Every term, not just the newest one.
    {2, "CREATE TABLE reqcast_terms (term INTEGER PRIMARY KEY, forked_at INT, begun INT,"
        " reason TEXT);"
        "INSERT INTO reqcast_terms (term, forked_at, begun, reason)"
        " SELECT t.value, f.value, NULL, '' FROM reqcast_meta AS t, reqcast_meta AS f"
        " WHERE t.key = 'term' AND f.key = 'forked_at'"},
};
_Static_assert(sizeof steps / sizeof *steps == RQCI_STORE_FORMAT - 1, "a step for each version");

rqc_err rqci_migrate(sqlite3 *db, int from, rqci_errbuf *err)
{
    return rqci_migrate_by(db, steps, sizeof steps / sizeof *steps, from, err);
}

rqc_err rqci_migrate_by(sqlite3 *db, const rqci_migration *list, size_t n, int from,
                        rqci_errbuf *err)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].to <= from)
            continue;
        if (list[i].to != from + 1)
            return rqci_fail(err, RQC_INTERNAL, "no step leads from version %d", from);
        const rqc_err e = rqci_db_exec(db, list[i].sql, err);
        if (e)
            return rqci_fail_within(err, e, "to version %d of the capture", list[i].to);
        from = list[i].to;
    }
    return RQC_OK;
}
