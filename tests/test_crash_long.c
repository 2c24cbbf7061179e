// SPDX-License-Identifier: Apache-2.0
// The same, longer.
#define CRASH_KILLS 400
#include "tests/test_crash.c"
