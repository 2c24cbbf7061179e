// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. Each is linked with libFuzzer (-Dfuzz=true), and with replay.c as a
// test that runs its corpus.
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "api/import/import.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Something does not hold: a finding.
_Noreturn static inline void fuzz_broken(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s\n", what, detail);
    abort();
}

// Reads the text as a file of this format, twice. Ends the program where a row could not be stored,
// comes before its owner, a warning is no line of text, or the second reading differs.
void fuzz_import(const uint8_t *data, size_t size, rqci_import_format format);

#endif
