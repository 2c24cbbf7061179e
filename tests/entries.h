// SPDX-License-Identifier: Apache-2.0
// What a process has: descriptors are the entries of /proc/self/fd, threads those of
// /proc/self/task.
#ifndef RQC_TESTS_ENTRIES_H
#define RQC_TESTS_ENTRIES_H

#include <dirent.h>

// How many a folder has, itself, its parent and (of descriptors) the look included.
static inline unsigned entries(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

#endif
