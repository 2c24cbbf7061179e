// SPDX-License-Identifier: Apache-2.0
// Attaches to a database that another process owns, spins on the position of its view and counts
// what changes, until so many records have: a few microseconds after a commit, for a whole
// processor.
//   cc spin.c -o spin $(pkg-config --cflags --libs reqcast) && ./spin example.db 3
#include <reqcast.h>

#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    rqc_error err;
    rqc_db *db;
    rqc_read *read;
    rqc_changes_list changes = RQC_CHANGES_INIT;
    unsigned long left = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    if (rqc_attach(argc > 1 ? argv[1] : "example.db", NULL, &db, &err) != RQC_OK)
        return fail("attach", err.text);
    if (rqc_read_new(db, &read, &err) != RQC_OK)
        return fail("session", err.text);
    rqc_position seen = rqc_position_now(db);
    rqc_cursor cursor = RQC_CURSOR_INIT(seen.seq);
    printf("ready at %llu\n", (unsigned long long)seen.seq);
    fflush(stdout);
    while (left > 0) {
        // One look into shared memory: no session, no lock, no call to anybody.
        rqc_position now = rqc_position_now(db);
        if (now.term == 0 || (now.seq == seen.seq && now.term == seen.term))
            continue; // no view now, or nothing new
        int up_to_date = 0;
        unsigned long n = 0;
        if (rqc_read_begin(read) != RQC_OK)
            return fail("read", rqc_read_error(read));
        while (!up_to_date) {
            // RQC_TOO_OLD and the like: begin again with RQC_CURSOR_INIT(0).
            if (rqc_changes(read, NULL, &cursor, 100, &changes, &up_to_date) != RQC_OK)
                return fail("changes", rqc_read_error(read));
            n += changes.n;
        }
        seen = rqc_read_position(read);
        rqc_read_end(read);
        printf("%lu changed, now at %llu\n", n, (unsigned long long)seen.seq);
        fflush(stdout);
        left -= n < left ? n : left;
    }
    rqc_changes_free(&changes);
    rqc_read_free(read);
    rqc_close(db);
    return 0;
}
