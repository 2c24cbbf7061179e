// SPDX-License-Identifier: Apache-2.0
// The C library between this program and itself. Compiled without sanitizers: malloc is called
// before they have begun.
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS
#include "tests/faults.h"
#include "tests/faults_real.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAMES     24
#define ALL_FRAMES 96 // what is deeper has no place of its own

static atomic_bool armed;
static fault_kind kind_wanted;
static uint64_t first;
static bool goes_on;
static int code_wanted;
static atomic_uint_fast64_t counts[FAULTS_KINDS], failed;
static void *frames[FRAMES];
static int frames_n;
static bool placed;           // events are noted with their places
static uint64_t place_wanted; // 0: none, the number of the event counts
static uint32_t down_wanted;  // 0: any
static uintptr_t arm_frame;   // arm_thread's stack where it armed
static atomic_uint_fast64_t place_count;
static int outer; // frames of arm_thread behind the function that armed, with it
static pthread_t arm_thread;
static atomic_bool struck;
static _Thread_local unsigned exempt;

extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

static uintptr_t spared_from, spared_end; // code of the library that faults_spare named

static int find_code(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    if (!strstr(info->dlpi_name, name))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
            spared_from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            spared_end = spared_from + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

void faults_spare(const char *library)
{
    (void)dl_iterate_phdr(find_code, (void *)(uintptr_t)library);
}

// How many frames of this thread are those of the function that `from` is in, and of its callers.
static int frames_from(const void *from)
{
    void *at[ALL_FRAMES];
    const int n = backtrace(at, ALL_FRAMES);
    for (int i = 0; i < n; i++)
        if (at[i] == from)
            return n - i;
    return 0;
}

static void arm(fault_kind kind, uint64_t n, bool lasting, int code, const void *from,
                const void *frame)
{
    static bool warm; // the first backtrace loads a library, which stays
    if (!warm && __lsan_disable)
        __lsan_disable();
    if (!warm)
        (void)backtrace(frames, FRAMES);
    if (!warm && __lsan_enable)
        __lsan_enable();
    warm = true;
    frames_n = 0;
    kind_wanted = kind;
    first = n;
    goes_on = lasting;
    code_wanted = code;
    for (int i = 0; i < FAULTS_KINDS; i++)
        atomic_store(&counts[i], 0);
    atomic_store(&failed, 0);
    if (placed) {
        faults_places_run();
        arm_frame = (uintptr_t)frame;
        atomic_store(&place_count, 0);
        arm_thread = pthread_self();
        outer = frames_from(from);
        atomic_store(&struck, false);
    }
    atomic_store(&armed, true);
}

void faults_arm(fault_kind kind, uint64_t n, bool lasting, int code)
{
    place_wanted = 0;
    arm(kind, n, lasting, code, __builtin_return_address(0), __builtin_frame_address(0));
}

void faults_arm_at(fault_kind kind, uint64_t place, uint32_t down, uint64_t nth, bool lasting,
                   int code)
{
    if (!placed)
        faults_places_begin();
    down_wanted = down;
    place_wanted = place;
    arm(kind, nth, lasting, code, __builtin_return_address(0), __builtin_frame_address(0));
}

void faults_places_begin(void)
{
    placed = true;
    faults_places_modules();
    faults_places_forget();
}

uint64_t faults_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&failed);
}

uint64_t faults_counted(fault_kind kind)
{
    return atomic_load(&counts[kind]);
}

const char *faults_where(void)
{
    static char text[4096];
    text[0] = 0;
    char **names = backtrace_symbols(frames, frames_n);
    for (int i = 1; names && i < frames_n; i++) {
        const char *slash = strrchr(names[i], '/');
        const size_t n = strlen(text);
        (void)snprintf(text + n, sizeof text - n, "%s%s", i > 1 ? " < " : "",
                       slash ? slash + 1 : names[i]);
    }
    free(names);
    return text;
}

// The same calls are as far down as they were; of other threads the page is another one.
static uint32_t down_the_stack(const void *frame, bool of_armer)
{
    const uintptr_t at = (uintptr_t)frame;
    return of_armer ? (uint32_t)(arm_frame - at) : (uint32_t)(at & 0xfff) | 1;
}

// Whether an event fails where places are noted: at its place, or as the n-th of its kind.
__attribute__((noinline)) static bool fails_here(fault_kind kind, uint64_t n)
{
    void *at[ALL_FRAMES];
    if (atomic_load(&struck))
        return kind == kind_wanted && goes_on;
    const bool of_armer = pthread_equal(pthread_self(), arm_thread) != 0;
    const uint32_t down = down_the_stack(__builtin_frame_address(0), of_armer);
    if (first > 0 &&
        (kind != kind_wanted || (place_wanted ? down_wanted && down != down_wanted : n != first)))
        return false;
    exempt++; // the unwinder's own calls are no events
    const int all = backtrace(at, ALL_FRAMES);
    const int own = all - (of_armer && all < ALL_FRAMES ? outer : 0);
    // Without the first, which is in here: there may be several copies of that call.
    const uint64_t name = faults_place_name(at + 1, own <= FAULTS_DEPTH ? own - 1 : FAULTS_DEPTH);
    bool hit = first > 0;
    if (!hit)
        faults_place_seen(kind, name, down);
    else if (place_wanted)
        hit = name == place_wanted && atomic_fetch_add(&place_count, 1) + 1 == first;
    if (hit) {
        frames_n = all < FRAMES ? all : FRAMES;
        memcpy(frames, at, sizeof *frames * (size_t)frames_n);
        faults_place_failed(kind, name);
        atomic_store(&struck, true);
    }
    exempt--;
    return hit;
}

bool faults_now(fault_kind kind, int *ret_code)
{
    if (!atomic_load_explicit(&armed, memory_order_acquire) || exempt > 0)
        return false;
    const uint64_t n = atomic_fetch_add(&counts[kind], 1) + 1;
    if (placed ? !fails_here(kind, n)
               : kind != kind_wanted || first == 0 || n < first || (n > first && !goes_on))
        return false;
    if (!placed && n == first)
        frames_n = backtrace(frames, FRAMES);
    atomic_fetch_add(&failed, 1);
    *ret_code = code_wanted;
    return true;
}

static bool fails(fault_kind kind)
{
    int code;
    if (!faults_now(kind, &code))
        return false;
    errno = code;
    return true;
}

// For memory: `from` is where the call returns to.
static bool fails_for(const void *from)
{
    const uintptr_t at = (uintptr_t)from;
    return (at < spared_from || at >= spared_end) && fails(FAULTS_ALLOC);
}

// ---- Memory -------------------------------------------------------------------------------------

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void *__interceptor_malloc(size_t n) __attribute__((weak));
extern void *__interceptor_calloc(size_t n, size_t size) __attribute__((weak));
extern void *__interceptor_realloc(void *p, size_t n) __attribute__((weak));
extern int __interceptor_posix_memalign(void **ret, size_t alignment, size_t n)
    __attribute__((weak));

void *malloc(size_t n)
{
    if (fails_for(__builtin_return_address(0)))
        return NULL;
    return __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    if (fails_for(__builtin_return_address(0)))
        return NULL;
    return __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (fails_for(__builtin_return_address(0)))
        return NULL;
    return __interceptor_realloc ? __interceptor_realloc(p, n) : __libc_realloc(p, n);
}

int posix_memalign(void **ret, size_t alignment, size_t n)
{
    if (fails_for(__builtin_return_address(0)))
        return ENOMEM;
    if (__interceptor_posix_memalign)
        return __interceptor_posix_memalign(ret, alignment, n);
    void *p = __libc_memalign(alignment, n);
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}

// ---- Reading and writing ------------------------------------------------------------------------

REAL(ssize_t, read, int, void *, size_t)
REAL(ssize_t, pread, int, void *, size_t, off_t)
REAL(ssize_t, write, int, const void *, size_t)
REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
REAL(ssize_t, writev, int, const struct iovec *, int)

ssize_t read(int fd, void *p, size_t n)
{
    return fails(FAULTS_READ) ? -1 : real_read()(fd, p, n);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    return fails(FAULTS_READ) ? -1 : real_pread()(fd, p, n, at);
}

ssize_t pread64(int fd, void *p, size_t n, off_t at) __attribute__((alias("pread")));

static size_t cut(size_t n)
{
    const int keep = errno;
    const bool half = n > 1 && fails(FAULTS_SHORT);
    errno = keep;
    return half ? n / 2 : n;
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fails(FAULTS_WRITE) ? -1 : real_write()(fd, p, cut(n));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return fails(FAULTS_WRITE) ? -1 : real_pwrite()(fd, p, cut(n), at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at) __attribute__((alias("pwrite")));

ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (fails(FAULTS_WRITE))
        return -1;
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += v[i].iov_len;
    return cut(all) < all ? real_write()(fd, v[0].iov_base, v[0].iov_len / 2)
                          : real_writev()(fd, v, n);
}

REAL(int, fsync, int)
REAL(int, fdatasync, int)

int fsync(int fd)
{
    return fails(FAULTS_SYNC) ? -1 : real_fsync()(fd);
}

int fdatasync(int fd)
{
    return fails(FAULTS_SYNC) ? -1 : real_fdatasync()(fd);
}

// ---- Maps and sizes -----------------------------------------------------------------------------

REAL(void *, mmap, void *, size_t, int, int, int, off_t)
REAL(int, ftruncate, int, off_t)
REAL(int, posix_fallocate, int, off_t, off_t)

void *mmap(void *p, size_t n, int protection, int flags, int fd, off_t at)
{
    return fails(FAULTS_MAP) ? MAP_FAILED : real_mmap()(p, n, protection, flags, fd, at);
}

void *mmap64(void *p, size_t n, int protection, int flags, int fd, off_t at)
    __attribute__((alias("mmap")));

int ftruncate(int fd, off_t n)
{
    return fails(FAULTS_SIZE) ? -1 : real_ftruncate()(fd, n);
}

int ftruncate64(int fd, off_t n) __attribute__((alias("ftruncate")));

int posix_fallocate(int fd, off_t at, off_t n)
{
    int code;
    return faults_now(FAULTS_SIZE, &code) ? code : real_posix_fallocate()(fd, at, n);
}

int posix_fallocate64(int fd, off_t at, off_t n) __attribute__((alias("posix_fallocate")));

// ---- Names --------------------------------------------------------------------------------------

REAL(int, open, const char *, int, ...)
REAL(FILE *, fopen, const char *, const char *)
REAL(DIR *, opendir, const char *)
REAL(int, eventfd, unsigned, int)
REAL(int, epoll_create1, int)
REAL(int, timerfd_create, int, int)
REAL(int, rename, const char *, const char *)
REAL(int, renameat2, int, const char *, int, const char *, unsigned)
REAL(int, link, const char *, const char *)
REAL(int, unlink, const char *)
REAL(int, mkdir, const char *, mode_t)
REAL(int, rmdir, const char *)
REAL(int, fchmod, int, mode_t)

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return fails(FAULTS_OPEN) ? -1 : real_open()(path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

FILE *fopen(const char *path, const char *mode)
{
    return fails(FAULTS_OPEN) ? NULL : real_fopen()(path, mode);
}

FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));

DIR *opendir(const char *path)
{
    return fails(FAULTS_OPEN) ? NULL : real_opendir()(path);
}

int eventfd(unsigned n, int flags)
{
    return fails(FAULTS_OPEN) ? -1 : real_eventfd()(n, flags);
}

int epoll_create1(int flags)
{
    return fails(FAULTS_OPEN) ? -1 : real_epoll_create1()(flags);
}

int timerfd_create(int clock, int flags)
{
    return fails(FAULTS_OPEN) ? -1 : real_timerfd_create()(clock, flags);
}

int rename(const char *from, const char *to)
{
    return fails(FAULTS_NAME) ? -1 : real_rename()(from, to);
}

int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags)
{
    return fails(FAULTS_NAME) ? -1 : real_renameat2()(at, from, to_at, to, flags);
}

int link(const char *from, const char *to)
{
    return fails(FAULTS_NAME) ? -1 : real_link()(from, to);
}

int unlink(const char *path)
{
    return fails(FAULTS_NAME) ? -1 : real_unlink()(path);
}

int mkdir(const char *path, mode_t mode)
{
    return fails(FAULTS_NAME) ? -1 : real_mkdir()(path, mode);
}

int rmdir(const char *path)
{
    return fails(FAULTS_NAME) ? -1 : real_rmdir()(path);
}

int fchmod(int fd, mode_t mode)
{
    return fails(FAULTS_NAME) ? -1 : real_fchmod()(fd, mode);
}

REAL(int, stat, const char *, struct stat *)
REAL(int, lstat, const char *, struct stat *)
REAL(int, fstat, int, struct stat *)

int stat(const char *path, struct stat *st)
{
    return fails(FAULTS_STAT) ? -1 : real_stat()(path, st);
}

int lstat(const char *path, struct stat *st)
{
    return fails(FAULTS_STAT) ? -1 : real_lstat()(path, st);
}

int fstat(int fd, struct stat *st)
{
    return fails(FAULTS_STAT) ? -1 : real_fstat()(fd, st);
}

int stat64(const char *path, struct stat64 *st)
{
    return stat(path, (struct stat *)st); // the same on every machine with 64 bits
}

int lstat64(const char *path, struct stat64 *st)
{
    return lstat(path, (struct stat *)st);
}

int fstat64(int fd, struct stat64 *st)
{
    return fstat(fd, (struct stat *)st);
}

int __fxstat(int version, int fd, struct stat *st); // of programs linked with an older C library

int __fxstat(int version, int fd, struct stat *st)
{
    (void)version;
    return fstat(fd, st);
}

REAL(int, fcntl, int, int, ...)

// Only locks that are taken: one that is given up never fails.
int fcntl(int fd, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    const bool lock = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
                      command == F_OFD_SETLKW;
    if (lock && ((const struct flock *)arg)->l_type != F_UNLCK && fails(FAULTS_LOCK))
        return -1;
    return real_fcntl()(fd, command, arg);
}

int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

// ---- Sockets ------------------------------------------------------------------------------------

REAL(int, socket, int, int, int)
REAL(int, connect, int, const struct sockaddr *, socklen_t)
REAL(ssize_t, send, int, const void *, size_t, int)
REAL(ssize_t, recv, int, void *, size_t, int)

int socket(int domain, int type, int protocol)
{
    return fails(FAULTS_CONNECT) ? -1 : real_socket()(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *addr, socklen_t n)
{
    return fails(FAULTS_CONNECT) ? -1 : real_connect()(fd, addr, n);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    return fails(FAULTS_SEND) ? -1 : real_send()(fd, p, n, flags);
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
    return fails(FAULTS_RECV) ? -1 : real_recv()(fd, p, n, flags);
}

// ---- Threads and processes ----------------------------------------------------------------------

REAL(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)
REAL(int, pthread_getattr_np, pthread_t, pthread_attr_t *)
REAL(pid_t, fork, void)

// Only sanitizers ask for it, when a thread begins, and take no for an answer badly.
int pthread_getattr_np(pthread_t thread, pthread_attr_t *ret)
{
    exempt++;
    const int rc = real_pthread_getattr_np()(thread, ret);
    exempt--;
    return rc;
}

int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    int code;
    return faults_now(FAULTS_THREAD, &code) ? code : real_pthread_create()(ret, attr, fn, arg);
}

pid_t fork(void)
{
    return fails(FAULTS_THREAD) ? -1 : real_fork()();
}
