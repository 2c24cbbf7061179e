// SPDX-License-Identifier: Apache-2.0
// The database of store_db.h with a sidecar as its owner.
#ifndef RQC_TESTS_STORE_SIDECAR_H
#define RQC_TESTS_STORE_SIDECAR_H

#include "tests/sidecar.h"
#include "tests/store_db.h"

static char sdb_ask_path[108], sdb_url[120];
static pid_t sdb_sidecar;

static inline void sdb_sidecar_start(void)
{
    char log_path[128];
    snprintf(log_path, sizeof log_path, "%s/log", sdb_folder);
    const char *const words[] = {"--create",   "--db",    sdb_path,     "--listen", sdb_url,
                                 "--view-dir", sdb_views, "--log-file", log_path,   NULL};
    sdb_sidecar = sidecar_start(words);
    if (sdb_sidecar == 0)
        bail("the sidecar is not ready");
}

static inline void sdb_sidecar_at_exit(void)
{
    (void)sidecar_end(&sdb_sidecar, SIGKILL);
    sdb_end();
}

// Instead of sdb_begin: also says where the sidecar is to listen, and sees to it that nothing is
// left at the end.
static inline void sdb_sidecar_begin(const char *name)
{
    if (!getenv("REQCASTD"))
        skip_all("REQCASTD is not set: no sidecar to test");
    sdb_begin(name);
    snprintf(sdb_ask_path, sizeof sdb_ask_path, "%s/s", sdb_folder);
    snprintf(sdb_url, sizeof sdb_url, "ipc://%s", sdb_ask_path);
    atexit(sdb_sidecar_at_exit);
}

#endif
