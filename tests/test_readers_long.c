// SPDX-License-Identifier: Apache-2.0
// test_readers with many more kills.
#define READER_KILLS 800
#include "tests/test_readers.c"
