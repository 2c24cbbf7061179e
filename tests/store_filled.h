// SPDX-License-Identifier: Apache-2.0
//
// A store with two workspaces and two requests of the first, and ids by their numbers.
#ifndef RQC_TESTS_STORE_FILLED_H
#define RQC_TESTS_STORE_FILLED_H

#include "tests/store_fixture.h"

FIX const uint8_t *W(unsigned n)
{
    return fix_id(RQCI_WORKSPACES, n);
}

FIX const uint8_t *H(unsigned n)
{
    return fix_id(RQCI_HTTP, n);
}

FIX const uint8_t *X(unsigned n)
{
    return fix_id(RQCI_HTTP_HEADER, n);
}

// At position 5.
FIX rqci_store *filled(const char *name, char ret_path[FIX_PATH])
{
    rqci_store *s = fix_started(fix_path(ret_path, "%s", name));
    rqc_value w[RQCI_FIELD_MAX], h[RQCI_FIELD_MAX];
    fix_workspace_row(w, "w");
    fix_http_row(h, W(1), "https://svc.test/");
    rqci_write list[] = {fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, W(1), w),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_WORKSPACES, W(2), w),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(1), h),
                         fix_write_of(RQCI_WRITE_PUT, RQCI_HTTP, H(2), h)};
    rqci_job j;
    if (fix_run(s, list, 4, &j) || j.seq != 5)
        bail("filling: %d %s", j.err, j.detail.text);
    return s;
}

#endif
