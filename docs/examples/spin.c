// SPDX-License-Identifier: Apache-2.0
// Attaches to a database that another process owns, spins on the position of its view and counts
// what changes, until so many records have: a few microseconds after a commit, for a whole
// processor.
//   cc spin.c -o spin $(pkg-config --cflags --libs reqcast) && ./spin example.db 3
#include "follow.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    rqc_error err;
    rqc_db *db;
    rqc_read *read;
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
        unsigned long n;
        if (follow(read, &cursor, &n, &seen) != 0)
            return 1;
        left -= n < left ? n : left;
    }
    rqc_read_free(read);
    rqc_close(db);
    return 0;
}
