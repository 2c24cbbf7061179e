// SPDX-License-Identifier: Apache-2.0
// The same, longer.
#define CRASH_KILLS 300
#include "tests/test_crash.c"
