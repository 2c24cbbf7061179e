// SPDX-License-Identifier: Apache-2.0
// Postman collections (format 2.0 and 2.1) as rows. docs/semantics.md, section Import, says what
// becomes what.
#ifndef RQCI_POSTMAN_H
#define RQCI_POSTMAN_H

#include "api/import/rows.h"

// Is this a collection that can be read? RQC_INVALID says what it is instead (a collection of
// format 1, an environment …). *ret_collection: the collection itself, which some exports wrap in
// an object.
rqc_err rqci_postman_check(json_t *root, json_t **ret_collection, rqci_errbuf *err);

// The collection's own name, NULL when it has none.
const char *rqci_postman_name(json_t *collection);

// Gives all rows to r. RQC_TOO_LARGE, RQC_NO_MEMORY, what the sink returned.
rqc_err rqci_postman_read(json_t *collection, rqci_rows *r);

#endif
