// SPDX-License-Identifier: Apache-2.0
// Attaches to a database that another process owns and sleeps until something changed, through a
// descriptor that fits into any event loop; counts what did, until so many records have.
//   cc wake.c -o wake $(pkg-config --cflags --libs reqcast) && ./wake example.db 3
#include "follow.h"

#include <poll.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    rqc_error err;
    rqc_db *db;
    rqc_read *read;
    rqc_watch *watch;
    unsigned long left = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    if (rqc_attach(argc > 1 ? argv[1] : "example.db", NULL, &db, &err) != RQC_OK)
        return fail("attach", err.text);
    if (rqc_read_new(db, &read, &err) != RQC_OK || rqc_watch_new(db, &watch, &err) != RQC_OK)
        return fail("handles", err.text);
    rqc_position seen = rqc_watch_clear(watch); // quiet, until the view moves on from here
    rqc_cursor cursor = RQC_CURSOR_INIT(seen.seq);
    printf("ready at %llu\n", (unsigned long long)seen.seq);
    fflush(stdout);
    while (left > 0) {
        struct pollfd fd = {rqc_watch_fd(watch), POLLIN, 0};
        if (poll(&fd, 1, -1) < 0)
            return fail("poll", "interrupted");
        if (rqc_watch_clear(watch).term == 0) // before the look: what comes behind it wakes again
            continue;                         // no view now
        unsigned long n;
        if (follow(read, &cursor, &n, &seen) != 0)
            return 1;
        left -= n < left ? n : left;
    }
    rqc_watch_free(watch);
    rqc_read_free(read);
    rqc_close(db);
    return 0;
}
