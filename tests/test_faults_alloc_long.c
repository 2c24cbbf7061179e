// SPDX-License-Identifier: Apache-2.0
// The same, longer. With RQC_TEST_SCALE=100000 nearly every fault, which takes hours.
#define FAULTS_BUDGET 40u
#define FAULTS_BOTH   true
#include "tests/test_faults_alloc.c"
