// SPDX-License-Identifier: Apache-2.0
// Small file systems that can be filled. The test gets a mount namespace of its own, so that its
// mounts go with it, however it ends. Files on a tmpfs have no journal and no spare blocks: what is
// left is known to the page.
#ifndef RQC_TESTS_FAULT_MOUNT_H
#define RQC_TESTS_FAULT_MOUNT_H

#include "tests/fault.h"

#include <sched.h>
#include <sys/statvfs.h>

#define MOUNTS     8
#define MOUNT_PAGE 4096u

static char mount_list[MOUNTS][FAULT_PATH];

static inline void mount_end(void)
{
    for (size_t i = 0; i < MOUNTS; i++)
        if (*mount_list[i]) {
            (void)umount2(mount_list[i], MNT_DETACH);
            (void)rmdir(mount_list[i]);
            *mount_list[i] = 0;
        }
}

static inline bool mount_write(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

// Before fault_begin and before there are threads. Whoever is not root tries to be it in a user
// namespace. Leaves the program where the machine allows neither.
static inline void mount_begin(void)
{
    char map[64];
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    if (uid == 0 ? unshare(CLONE_NEWNS) != 0 : unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        skip_all("FULL FILE SYSTEMS ARE NOT TESTED: no mount namespace: %s", strerror(errno));
    if (uid != 0) {
        (void)mount_write("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %ld 1", (long)uid);
        bool good = mount_write("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "0 %ld 1", (long)gid);
        good = mount_write("/proc/self/gid_map", map) && good;
        if (!good)
            skip_all("FULL FILE SYSTEMS ARE NOT TESTED: no user namespace: %s", strerror(errno));
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        skip_all("FULL FILE SYSTEMS ARE NOT TESTED: mounts cannot be private: %s", strerror(errno));
    fault_before_removal = mount_end;
}

// A tmpfs in a folder that is made, or, with an absolute path of something that is there, over it.
static inline bool mount_tmpfs(const char *path, const char *options)
{
    size_t i = 0;
    while (i < MOUNTS && *mount_list[i])
        i++;
    if (i == MOUNTS)
        die("too many mounts");
    (void)mkdir(path, 0750);
    if (mount("reqcast-test", path, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
        return false;
    fault_path(mount_list[i], "%s", path);
    return true;
}

static inline void mount_small(const char *path, const char *options)
{
    if (mount_tmpfs(path, options))
        return;
    fault_end();
    skip_all("FULL FILE SYSTEMS ARE NOT TESTED: tmpfs: %s", strerror(errno));
}

static inline void mount_resize(const char *path, const char *options)
{
    if (mount("reqcast-test", path, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, options) != 0)
        die("%s: %s: %s", path, options, strerror(errno));
}

static inline void mount_gone(const char *path)
{
    for (size_t i = 0; i < MOUNTS; i++)
        if (strcmp(mount_list[i], path) == 0) {
            if (umount2(path, MNT_DETACH) != 0)
                die("umount %s: %s", path, strerror(errno));
            (void)rmdir(path);
            *mount_list[i] = 0;
        }
}

static inline uint64_t mount_room(const char *path)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        die("%s: %s", path, strerror(errno));
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static inline void mount_make_room(const char *path)
{
    char ballast[FAULT_PATH];
    (void)unlink(fault_path(ballast, "%s/ballast", path));
}

// Fills it, but for so many bytes.
static inline void mount_fill(const char *path, uint64_t leave)
{
    static const char bytes[1 << 16];
    char ballast[FAULT_PATH];
    const int fd = open(fault_path(ballast, "%s/ballast", path),
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        die("%s: %s", ballast, strerror(errno));
    for (uint64_t room; (room = mount_room(path)) > leave;) {
        const uint64_t more = room - leave < sizeof bytes ? room - leave : sizeof bytes;
        if (write(fd, bytes, (size_t)more) <= 0)
            break;
    }
    close(fd);
}

#endif
