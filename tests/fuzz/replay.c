// SPDX-License-Identifier: Apache-2.0
// Gives each file of a folder to a fuzz target: what once was a finding stays mended.
#include "tests/fuzz/fuzz.h"
#include "tests/tap.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **names = NULL;
    const int n = argc == 2 ? scandir(argv[1], &names, visible, by_name) : -1;
    ok(n > 0, "there is a corpus");
    for (int i = 0; i < n; i++) {
        char path[4096];
        rqci_buf text = {0};
        rqci_errbuf err = {""};
        snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
        if (ok(rqci_import_load(path, &text, &err) == RQC_OK, "%s can be read", names[i]->d_name)) {
            // A finding ends the program: the plan is missing then.
            LLVMFuzzerTestOneInput(text.data, text.len);
            // Cut off at every place of its beginning, where parsers trip.
            for (size_t len = 0; len < text.len && len < 100; len++)
                LLVMFuzzerTestOneInput(text.data, len);
            pass("%s", names[i]->d_name);
        }
        rqci_buf_free(&text);
        free(names[i]);
    }
    free(names);
    return tap_done();
}
