// SPDX-License-Identifier: Apache-2.0
#include "base/version.h"

const char *rqci_version(void)
{
    return RQCI_VERSION;
}
