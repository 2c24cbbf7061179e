// SPDX-License-Identifier: Apache-2.0
// For faults*.c: what stands behind a function of ours. A sanitizer's function where there is one,
// else the next library's.
#ifndef RQC_TESTS_FAULTS_REAL_H
#define RQC_TESTS_FAULTS_REAL_H

#include <dlfcn.h>

#define REAL(ret, name, ...)                                            \
    extern ret __interceptor_##name(__VA_ARGS__) __attribute__((weak)); \
    static ret (*real_##name(void))(__VA_ARGS__)                        \
    {                                                                   \
        static ret (*_Atomic found)(__VA_ARGS__);                       \
        ret (*f)(__VA_ARGS__) = found;                                  \
        if (!f) {                                                       \
            f = __interceptor_##name;                                   \
            if (!f)                                                     \
                f = (ret(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);       \
            found = f;                                                  \
        }                                                               \
        return f;                                                       \
    }

#endif
