// SPDX-License-Identifier: Apache-2.0
//
// Values as initialisers of constant tables; texts and bytes are string literals.
#ifndef RQC_TESTS_VALUE_LITERALS_H
#define RQC_TESTS_VALUE_LITERALS_H

#define I(v)                        \
    {                               \
        .type = RQC_INT, .u.i = (v) \
    }
#define R(v)                         \
    {                                \
        .type = RQC_REAL, .u.d = (v) \
    }
#define BO(v)                        \
    {                                \
        .type = RQC_BOOL, .u.i = (v) \
    }
#define T(text)                                            \
    {                                                      \
        .type = RQC_TEXT, .n = sizeof(text) - 1, .p = text \
    }
#define BY(text)                                            \
    {                                                       \
        .type = RQC_BYTES, .n = sizeof(text) - 1, .p = text \
    }
#define NUL              \
    {                    \
        .type = RQC_NULL \
    }

#endif
