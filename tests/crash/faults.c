/* Make file-system calls fail, or the process die, at a chosen call. Loaded with LD_PRELOAD.

   The method is SQLite's (https://www.sqlite.org/testing.html#i_o_error_testing): count the calls, then let
   the 1st, 2nd, 3rd ... fail, each in a process of its own. A process arms it with arm(); until then, and for
   standard streams, everything goes through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, DIE, FAIL_ONCE, FULL_ONCE, FULL_FROM_HERE };

static enum mode mode;
static long when;
static atomic_long calls;
static const char *last_call = "";
static int fsync_is_ignored;

void arm(int new_mode, long new_when) { mode = OFF; calls = 0; when = new_when; mode = new_mode; }

/* For the test of the test: what would a power cut take if nothing were fsynced? */
void ignore_fsync(void) { fsync_is_ignored = 1; }

/* The name of the call that was hit ("" when none was). */
const char *hit(void) { return last_call; }

/* 0 to go on, or the error number that the call gives. */
static int fault(const char *name, int takes_space, int fd) {
    if (mode == OFF || (fd >= 0 && fd <= 2)) return 0;
    if (mode >= FULL_ONCE && !takes_space) return 0;
    long number = ++calls;
    if (number < when || (number > when && mode != FULL_FROM_HERE)) return 0;
    if (number == when) last_call = name;
    if (mode == DIE) kill(getpid(), SIGKILL);
    return mode == FAIL_ONCE ? EIO : ENOSPC;
}

/* sync_file_range among them: with it, bytes could reach the disk that nothing has made durable. */
static int is_sync(const char *name) {
    return !strcmp(name, "fsync") || !strcmp(name, "fdatasync") || !strcmp(name, "syncfs") ||
           !strcmp(name, "sync_file_range");
}

#define WRAP(type, name, parameters, arguments, takes_space, fd)                 \
    type name parameters {                                                       \
        static type(*real) parameters;                                           \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);           \
        int error = fault(#name, takes_space, fd);                               \
        if (error) { errno = error; return -1; }                                 \
        if (fsync_is_ignored && is_sync(#name)) return 0;                       \
        return real arguments;                                                   \
    }

WRAP(int, rename, (const char *a, const char *b), (a, b), 1, -1)
WRAP(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), 1, -1)
WRAP(int, link, (const char *a, const char *b), (a, b), 1, -1)
WRAP(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), 1, -1)
WRAP(int, unlink, (const char *a), (a), 0, -1)
WRAP(int, unlinkat, (int d, const char *a, int f), (d, a, f), 0, -1)
WRAP(int, rmdir, (const char *a), (a), 0, -1)
WRAP(int, mkdir, (const char *a, mode_t m), (a, m), 1, -1)
WRAP(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m), 1, -1)
WRAP(int, fsync, (int d), (d), 1, d)
WRAP(int, fdatasync, (int d), (d), 1, d)
WRAP(int, syncfs, (int d), (d), 1, d)
WRAP(int, sync_file_range, (int d, off64_t o, off64_t n, unsigned int f), (d, o, n, f), 1, d)
WRAP(int, fallocate, (int d, int m, off_t o, off_t n), (d, m, o, n), 1, d)
WRAP(int, fallocate64, (int d, int m, off64_t o, off64_t n), (d, m, o, n), 1, d)
WRAP(int, ftruncate, (int d, off_t n), (d, n), 0, d)
WRAP(int, ftruncate64, (int d, off64_t n), (d, n), 0, d)
WRAP(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), 1, d)
WRAP(ssize_t, pwrite, (int d, const void *b, size_t n, off_t o), (d, b, n, o), 1, d)
WRAP(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), (d, b, n, o), 1, d)
WRAP(ssize_t, writev, (int d, const struct iovec *v, int n), (d, v, n), 1, d)
WRAP(ssize_t, pwritev, (int d, const struct iovec *v, int n, off_t o), (d, v, n, o), 1, d)
WRAP(ssize_t, pwritev64, (int d, const struct iovec *v, int n, off64_t o), (d, v, n, o), 1, d)
WRAP(ssize_t, pwritev2, (int d, const struct iovec *v, int n, off_t o, int f), (d, v, n, o, f), 1, d)
WRAP(ssize_t, pwritev64v2, (int d, const struct iovec *v, int n, off64_t o, int f), (d, v, n, o, f), 1, d)
WRAP(ssize_t, copy_file_range, (int d, off64_t *o, int e, off64_t *p, size_t n, unsigned int f),
     (d, o, e, p, n, f), 1, e)
WRAP(ssize_t, sendfile, (int e, int d, off_t *o, size_t n), (e, d, o, n), 1, e)
WRAP(ssize_t, sendfile64, (int e, int d, off64_t *o, size_t n), (e, d, o, n), 1, e)
WRAP(ssize_t, readv, (int d, const struct iovec *v, int n), (d, v, n), 0, d)
WRAP(ssize_t, preadv, (int d, const struct iovec *v, int n, off_t o), (d, v, n, o), 0, d)
WRAP(ssize_t, preadv64, (int d, const struct iovec *v, int n, off64_t o), (d, v, n, o), 0, d)
WRAP(ssize_t, preadv2, (int d, const struct iovec *v, int n, off_t o, int f), (d, v, n, o, f), 0, d)
WRAP(ssize_t, preadv64v2, (int d, const struct iovec *v, int n, off64_t o, int f), (d, v, n, o, f), 0, d)
WRAP(ssize_t, read, (int d, void *b, size_t n), (d, b, n), 0, d)
WRAP(ssize_t, pread, (int d, void *b, size_t n, off_t o), (d, b, n, o), 0, d)
WRAP(ssize_t, pread64, (int d, void *b, size_t n, off64_t o), (d, b, n, o), 0, d)

/* These return the error instead of leaving it in errno. */
#define WRAP_ALLOCATE(name, size)                                                \
    int name(int d, size o, size n) {                                            \
        static int (*real)(int, size, size);                                     \
        if (!real) real = (int (*)(int, size, size))dlsym(RTLD_NEXT, #name);     \
        int error = fault(#name, 1, d);                                          \
        return error ? error : real(d, o, n);                                    \
    }

WRAP_ALLOCATE(posix_fallocate, off_t)
WRAP_ALLOCATE(posix_fallocate64, off64_t)

#define WRAP_OPEN(name, parameters, arguments)                                   \
    int name parameters {                                                        \
        static int(*real) parameters;                                            \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);            \
        mode_t rights = 0;                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                     \
            va_list rest;                                                        \
            va_start(rest, flags);                                               \
            rights = va_arg(rest, mode_t);                                       \
            va_end(rest);                                                        \
        }                                                                        \
        int error = fault(#name, (flags & O_CREAT) != 0, -1);                    \
        if (error) { errno = error; return -1; }                                 \
        return real arguments;                                                   \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, rights))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, rights))
WRAP_OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, rights))
WRAP_OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, rights))
