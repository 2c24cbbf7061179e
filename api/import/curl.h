// SPDX-License-Identifier: Apache-2.0
// curl command lines as rows. Nothing is run and no file is opened that they name.
// docs/semantics.md, section Import, says what becomes what.
#ifndef RQCI_CURL_H
#define RQCI_CURL_H

#include "api/import/rows.h"

// Does a line of the text begin with curl (behind a prompt, variables, sudo …)?
bool rqci_curl_likely(const char *text, size_t len);

// Gives the rows of every command to r. A command that cannot be read is a warning. RQC_INVALID
// when there is no curl command at all; RQC_TOO_LARGE, RQC_NO_MEMORY, what the sink returned.
rqc_err rqci_curl_read(const char *text, size_t len, rqci_rows *r);

#endif
