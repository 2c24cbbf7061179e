// SPDX-License-Identifier: Apache-2.0
#ifndef RQCI_BASE_VERSION_H
#define RQCI_BASE_VERSION_H

// The version of this build as "MAJOR.MINOR.PATCH". A constant; never NULL; any thread.
const char *rqci_version(void);

#endif
