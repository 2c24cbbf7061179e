// SPDX-License-Identifier: Apache-2.0
// What spin.c and wake.c do alike, once they know that something changed.
#include <reqcast.h>

#include <stdio.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

// Counts what changed since the cursor, moves it on and tells it; 0 when that went well.
static int follow(rqc_read *read, rqc_cursor *cursor, unsigned long *ret_n, rqc_position *ret_seen)
{
    rqc_changes_list changes = RQC_CHANGES_INIT;
    int up_to_date = 0;
    rqc_err rc = rqc_read_begin(read);
    *ret_n = 0;
    while (rc == RQC_OK && !up_to_date) {
        // RQC_TOO_OLD and the like: begin again with RQC_CURSOR_INIT(0).
        rc = rqc_changes(read, NULL, cursor, 100, &changes, &up_to_date);
        *ret_n += rc == RQC_OK ? changes.n : 0;
    }
    rqc_changes_free(&changes);
    if (rc != RQC_OK)
        return fail("read", rqc_read_error(read));
    *ret_seen = rqc_read_position(read);
    rqc_read_end(read);
    printf("%lu changed, now at %llu\n", *ret_n, (unsigned long long)ret_seen->seq);
    fflush(stdout);
    return 0;
}
