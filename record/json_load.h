// SPDX-License-Identifier: Apache-2.0
// JSON text as jansson's values, with a clear answer when there is no memory.
#ifndef RQCI_JSON_LOAD_H
#define RQCI_JSON_LOAD_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

// As json_loadb. RQC_INVALID: *ret_error says where and why; RQC_NO_MEMORY.
rqc_err rqci_json_load(const char *text, size_t len, size_t flags, json_t **ret_root,
                       json_error_t *ret_error);

#endif
