// SPDX-License-Identifier: Apache-2.0
// Attaches to a database that another process owns and sleeps until something changed, through a
// descriptor that fits into any event loop; counts what did, until so many records have.
//   cc wake.c -o wake $(pkg-config --cflags --libs reqcast) && ./wake example.db 3
#include <reqcast.h>

#include <poll.h>
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
    rqc_watch *watch;
    rqc_changes_list changes = RQC_CHANGES_INIT;
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
    rqc_watch_free(watch);
    rqc_read_free(read);
    rqc_close(db);
    return 0;
}
