/*
 * Makes calls on the history's files fail, in a process that is started with this library in LD_PRELOAD.
 *
 * TORTURE_CALLS names a file of two numbers (32 bits each). The first one counts down with every call that writes,
 * grows, shrinks or syncs a file whose name begins with TORTURE_FILES. The call that brings it to 0 fails with EIO, and
 * so do the calls after it, as many as the second number says. While the first number is 0, nothing fails.
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

static volatile int *numbers; /* how many calls until one fails; how many more fail after it */
static const char *files;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TORTURE_CALLS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    files = getenv("TORTURE_FILES");
    if (fd < 0 || !files)
        return;
    void *shared = mmap(NULL, 2 * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        numbers = shared;
}

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, files, strlen(files)) == 0;
}

static int failing(int fd) {
    if (!numbers || numbers[0] <= 0 || !ours(fd))
        return 0;
    if (numbers[0] > 1) {
        __sync_fetch_and_sub(&numbers[0], 1);
        return 0;
    }
    if (numbers[1] > 0)
        __sync_fetch_and_sub(&numbers[1], 1);
    else
        numbers[0] = 0;
    errno = EIO;
    return 1;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return failing(fd) ? -1 : REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return failing(fd) ? -1 : REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size) {
    return failing(fd) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(fd, data, size);
}
int ftruncate64(int fd, off64_t size) { return failing(fd) ? -1 : REAL(int, ftruncate64, int, off64_t)(fd, size); }
int ftruncate(int fd, off_t size) { return failing(fd) ? -1 : REAL(int, ftruncate, int, off_t)(fd, size); }
int fsync(int fd) { return failing(fd) ? -1 : REAL(int, fsync, int)(fd); }
int fdatasync(int fd) { return failing(fd) ? -1 : REAL(int, fdatasync, int)(fd); }
int posix_fallocate64(int fd, off64_t at, off64_t size) {
    return failing(fd) ? EIO : REAL(int, posix_fallocate64, int, off64_t, off64_t)(fd, at, size);
}
void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t at) {
    if (fd >= 0 && failing(fd))
        return MAP_FAILED;
    return REAL(void *, mmap64, void *, size_t, int, int, int, off64_t)(address, size, protection, flags, fd, at);
}
