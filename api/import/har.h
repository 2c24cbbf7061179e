// SPDX-License-Identifier: Apache-2.0
// HAR files (HTTP Archive 1.1 and 1.2) as rows. docs/semantics.md, section Import, says what
// becomes what.
#ifndef RQCI_HAR_H
#define RQCI_HAR_H

#include "api/import/rows.h"

// Is this a HAR file? RQC_INVALID says what is missing, RQC_TOO_LARGE.
rqc_err rqci_har_check(json_t *root, rqci_errbuf *err);

// Gives the rows of every entry to r; entries that were read are dropped from root. A broken entry
// is a warning. RQC_TOO_LARGE, RQC_NO_MEMORY, what the sink returned.
rqc_err rqci_har_read(json_t *root, rqci_rows *r);

// The member that an own export has in its log and in each entry, NULL elsewhere.
json_t *rqci_har_own(json_t *holder);

#endif
