// SPDX-License-Identifier: Apache-2.0
// The few things that a test must do at times of its own choice, which the public header leaves to
// the library.
#include "api/engine.h"
#include "persist/schema_sql.h"
#include "tests/property.h"

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

void engine_hush(rqc_db *db)
{
    rqci_keeper_stop(db);
}

void engine_compact(rqc_db *db)
{
    rqci_errbuf err = {""};
    const int64_t before = oracle_number("SELECT count(*) FROM change_log");
    for (bool more = true; more;)
        if (rqci_store_compact(db->store, rqci_keeper_needs, db, &more, &err) != RQC_OK)
            broken(C_REBUILD, "compaction: %s", err.text);
    g.cover.compacted += (uint64_t)(before - oracle_number("SELECT count(*) FROM change_log"));
}

void engine_rebuild(rqc_db *db)
{
    rqci_errbuf err = {""};
    uint64_t seq = 0;
    pthread_mutex_lock(&db->apply);
    const rqc_err rc = rqci_view_rebuild(db->view, &db->source, &seq, &err);
    pthread_mutex_unlock(&db->apply);
    if (rc != RQC_OK)
        broken(C_REBUILD, "rebuild: %d %s", (int)rc, err.text);
}

void engine_lag(rqc_db *db, bool lag)
{
    pthread_mutex_lock(&db->apply);
    if (lag) {
        db->lag_code = RQC_NO_SPACE;
        atomic_store(&db->no_room, true);
        atomic_store(&db->lagging, true);
    }
    db->lag_until_ms = lag ? INT64_MAX : 0;
    pthread_mutex_unlock(&db->apply);
    if (!lag && (rqci_committed(db, 0, &db->source, false) != RQC_OK || atomic_load(&db->lagging)))
        broken(C_SPARE, "the view does not come back");
}

const char *engine_schema(void)
{
    return rqci_schema_sql;
}

size_t engine_record_size(const rqc_record *r)
{
    return rqci_rec_size(r);
}

void engine_mark_unclean(const char *views)
{
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*/control", views);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const int fd = open(found.gl_pathv[i], O_WRONLY | O_CLOEXEC);
        const uint32_t open_state = 1;
        if (fd < 0 || pwrite(fd, &open_state, sizeof open_state, 12) != sizeof open_state)
            bail("cannot write %s", found.gl_pathv[i]);
        close(fd);
    }
    globfree(&found);
}
