/*
 * Makes calls on the history's files fail, in a process that is started with this library in LD_PRELOAD.
 *
 * TORTURE_CALLS names a file of four numbers (32 bits each). The first one counts down with every call that writes,
 * maps, grows, shrinks or syncs a file whose name begins with TORTURE_FILES. The call that brings it to 0 fails,
 * and so do the calls after it, as many as the second number says. The third one is the error, 0 for EIO. If the fourth
 * one is 1, the call is carried out and reported as failed all the same; if it is 2, so it is, and only the last write
 * of a commit to SQLite's log counts. While the first number is 0, nothing fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static volatile int *numbers;
static const char *files;
static __thread int last_of_commit; /* whether this write is */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TORTURE_CALLS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    files = getenv("TORTURE_FILES");
    if (fd < 0 || !files)
        return;
    void *shared = mmap(NULL, 4 * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        numbers = shared;
}

static int ours(int fd) {
    if (fd < 0)
        return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, files, strlen(files)) == 0;
}

/* The error that a call fails with, or 0. */
static int failing(int fd) {
    if (!numbers || numbers[0] <= 0 || (numbers[3] == 2 && !last_of_commit) || !ours(fd))
        return 0;
    if (numbers[0] > 1) {
        __sync_fetch_and_sub(&numbers[0], 1);
        return 0;
    }
    if (numbers[1] > 0)
        __sync_fetch_and_sub(&numbers[1], 1);
    else
        numbers[0] = 0;
    return numbers[2] ? numbers[2] : EIO;
}

/* Defines a call that returns ``bad``, with errno, when it fails; ``fd`` is the descriptor among its arguments. */
#define WRAP(type, name, bad, parameters, arguments)                        \
    type name parameters {                                                  \
        int error = failing(fd);                                            \
        type result = bad;                                                  \
        if (!error || numbers[3])                                           \
            result = ((type(*) parameters)dlsym(RTLD_NEXT, #name))arguments; \
        if (error)                                                          \
            errno = error;                                                  \
        return error ? bad : result;                                        \
    }


/* A frame of the log is written in two calls: a header of 24 bytes, with the size of the file in the last frame of a
 * commit and 0 in the others, and a page (https://sqlite.org/walformat.html). */
static __thread int commits;
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    last_of_commit = commits;
    commits = size == 24 && memcmp((const char *)data + 4, "\0\0\0\0", 4) != 0;
    int error = failing(fd);
    last_of_commit = 0;
    ssize_t result = -1;
    if (!error || numbers[3])
        result = ((ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, data, size, at);
    if (error)
        errno = error;
    return error ? -1 : result;
}

WRAP(ssize_t, pwrite, -1, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRAP(ssize_t, write, -1, (int fd, const void *data, size_t size), (fd, data, size))
WRAP(int, ftruncate64, -1, (int fd, off64_t size), (fd, size))
WRAP(int, ftruncate, -1, (int fd, off_t size), (fd, size))
WRAP(int, fsync, -1, (int fd), (fd))
WRAP(int, fdatasync, -1, (int fd), (fd))
WRAP(int, posix_fallocate64, error, (int fd, off64_t at, off64_t size), (fd, at, size))
WRAP(int, posix_fallocate, error, (int fd, off_t at, off_t size), (fd, at, size))
WRAP(void *, mmap64, MAP_FAILED, (void *address, size_t size, int protection, int flags, int fd, off64_t at),
     (address, size, protection, flags, fd, at))
