/* Sets TCP_NODELAY on each connection that a program accepts. bench.py compiles it and preloads it into IRC servers,
 * which do not set it: without it, a message may wait up to 40 ms for an acknowledgement (RFC 9293, section 3.7.4). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int without_delay(int fd) {
    int on = 1;
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails for other sockets, which is no harm */
    return fd;
}

int accept(int fd, struct sockaddr *address, socklen_t *size) {
    int (*next)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "accept");
    return without_delay(next(fd, address, size));
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
    int (*next)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    return without_delay(next(fd, address, size, flags));
}
