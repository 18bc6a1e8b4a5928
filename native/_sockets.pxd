"""What threads without the GIL ask of Linux: to carry bytes, and to tell what happened where."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "<sys/socket.h>" nogil:
    int SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL
    ssize_t recv(int, void*, size_t, int)
    ssize_t send(int, const void*, size_t, int)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)


cdef inline bint watch(int poll, int file, uint32_t events, uint64_t tag) noexcept nogil:
    """Have it told what happens to a file, under this tag; False where the kernel will not."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = tag
    return epoll_ctl(poll, EPOLL_CTL_ADD, file, &event) == 0
