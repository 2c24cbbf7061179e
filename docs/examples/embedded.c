// SPDX-License-Identifier: Apache-2.0
// Opens a database, writes a request with a header in one transaction, reads a page back in place.
//   cc embedded.c $(pkg-config --cflags --libs reqcast) && ./a.out example.db
#include <reqcast.h>

#include <stdio.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    rqc_options options = RQC_OPTIONS_INIT;
    rqc_error err;
    rqc_db *db;
    rqc_txn *txn;
    rqc_read *read;
    rqc_result result;
    uint8_t workspace[16], request[16], header[16];
    static rqc_value w[RQC_WORKSPACES_NFIELDS]; // zeros are RQC_ABSENT: the column's default
    static rqc_value h[RQC_HTTP_NFIELDS], x[RQC_HTTP_HEADER_NFIELDS];
    options.create = 1;
    if (rqc_open(argc > 1 ? argv[1] : "example.db", &options, &db, &err) != RQC_OK)
        return fail("open", err.text);
    if (rqc_txn_new(db, &txn, &err) != RQC_OK || rqc_read_new(db, &read, &err) != RQC_OK)
        return fail("handles", err.text);
    if (rqc_id_new(workspace) != RQC_OK || rqc_id_new(request) != RQC_OK ||
        rqc_id_new(header) != RQC_OK)
        return fail("id", "no randomness");
    w[RQC_WORKSPACES_NAME] = rqc_text("shop");
    h[RQC_HTTP_WORKSPACE_ID] = rqc_id(workspace);
    h[RQC_HTTP_NAME] = rqc_text("List items");
    h[RQC_HTTP_METHOD] = rqc_text("GET");
    h[RQC_HTTP_URL] = rqc_text("https://api.example.com/items");
    x[RQC_HTTP_HEADER_HTTP_ID] = rqc_id(request);
    x[RQC_HTTP_HEADER_HEADER_KEY] = rqc_text("Accept");
    x[RQC_HTTP_HEADER_HEADER_VALUE] = rqc_text("application/json");
    // Durable, and visible to every process, when rqc_commit has returned.
    if (rqc_put(txn, RQC_WORKSPACES, workspace, w) || rqc_put(txn, RQC_HTTP, request, h) ||
        rqc_put(txn, RQC_HTTP_HEADER, header, x) || rqc_commit(txn, &result))
        return fail("write", rqc_txn_error(txn));
    rqc_list page = RQC_LIST_INIT;
    if (rqc_read_begin(read) != RQC_OK ||
        rqc_page(read, workspace, RQC_ANY_TIME, NULL, 50, NULL, &page) != RQC_OK)
        return fail("read", rqc_read_error(read));
    for (size_t i = 0; i < page.n; i++) {
        rqc_value url = rqc_field(page.items[i], RQC_HTTP_URL); // in place, until rqc_read_end
        printf("%.*s at position %llu\n", (int)url.n, (const char *)url.p,
               (unsigned long long)rqc_read_position(read).seq);
    }
    rqc_read_end(read);
    rqc_list_free(&page);
    rqc_read_free(read);
    rqc_txn_free(txn);
    rqc_close(db);
    return 0;
}
