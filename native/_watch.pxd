"""The round of the front's thread: it accepts, hears what happened, looks at the clock, and obeys."""

from libc.errno cimport EAGAIN, ECONNABORTED, EEXIST, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport close

from native._clock cimport now
from native._hall cimport (
    DOORS_MAX, DRAIN, SERVE, STOP, Hall, answer, hand_over, hang_up, read_on, ring_for_loop,
    write_on,
)
from native._lines cimport (
    FREE, HALF, IDLE, PARTIAL, QUIET, SERVED, WRITING, Line, Lines, begin_line,
)
from native._post cimport Reply, fence, is_empty, load, store, take
from native._sockets cimport (
    EPOLL_CTL_DEL, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, SOCK_CLOEXEC,
    SOCK_NONBLOCK, epoll_ctl, epoll_event, epoll_wait, watch,
)

cdef extern from "<sys/socket.h>" nogil:
    int accept4(int, void*, void*, int)


cdef enum:
    EVENTS_MAX = 256
    ACCEPTED_MAX = 64           # in one round
    ANSWERED_MAX = 512
    BELL = DOORS_MAX            # what an event says that names no connection: this, or which door


cdef inline void pause(Hall* hall, double until) noexcept nogil:
    """Accept nothing for a while."""
    cdef int door
    for door in range(hall.doors_count):
        epoll_ctl(hall.poll, EPOLL_CTL_DEL, hall.doors[door], NULL)
    hall.accept_at = until
    store(&hall.paused, 1)
    fence()                     # whoever leaves from here on sees it and rings


cdef inline bint is_full(Hall* hall) noexcept nogil:
    return hall.lines.count + <int>load(&hall.handed) >= hall.lines.count_max


cdef inline bint open_doors(Hall* hall) noexcept nogil:
    """Hear who comes; False where one cannot be heard."""
    cdef int door
    for door in range(hall.doors_count):
        if not watch(hall.poll, hall.doors[door], EPOLLIN, door) and errno != EEXIST:
            return False
    return True


cdef inline bint accept_some(Hall* hall, int door) noexcept nogil:
    """Accept who waits at a door; True where there may be more of them."""
    cdef int i, file, which
    cdef uint64_t tag
    for i in range(ACCEPTED_MAX):
        if is_full(hall):
            pause(hall, 0)
            return False
        file = accept4(hall.doors[door], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if file < 0 and errno in (EINTR, ECONNABORTED):
            continue
        if file < 0:
            if errno != EAGAIN:             # no file or no memory is left for one more
                pause(hall, now() + 0.1)
            return False
        which = begin_line(&hall.lines, file, now())
        tag = <uint64_t>hall.lines.all[which].birth << 32 | <uint32_t>which
        if not watch(hall.poll, file, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, tag):
            hang_up(hall, which)
    return True


cdef inline void hear(Hall* hall, uint32_t events, uint64_t tag) noexcept nogil:
    """Hear what happened to a connection, if it is still the one that is meant."""
    cdef int which = <int><uint32_t>tag
    cdef Line* line = &hall.lines.all[which]
    if line.state == FREE or line.birth != <uint32_t>(tag >> 32):
        return
    if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        line.ends = True
    if line.state in (SERVED, WRITING):
        if events & (EPOLLHUP | EPOLLERR):
            hang_up(hall, which)
            return
        if events & (EPOLLIN | EPOLLRDHUP):
            line.readable = True
        if events & EPOLLOUT and line.state == WRITING:
            write_on(hall, which)
    elif events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        read_on(hall, which)


cdef inline void look_at_clock(Hall* hall, double at) noexcept nogil:
    """Close what idles for too long, hand over what stays in pieces, accept again."""
    cdef Lines* lines = &hall.lines
    cdef int which = lines.first[QUIET]
    while which >= 0 and at - lines.all[which].since >= hall.idle_seconds:
        hang_up(hall, which)
        which = lines.first[QUIET]
    which = lines.first[HALF]
    while which >= 0 and at - lines.all[which].since >= hall.piece_seconds:
        hand_over(hall, which, lines.all[which].unread, lines.all[which].unread_size)
        which = lines.first[HALF]
    if load(&hall.paused) and hall.doors_count and at >= hall.accept_at and not is_full(hall):
        if open_doors(hall):
            store(&hall.paused, 0)
        else:
            hall.accept_at = at + 0.1


cdef inline double sooner(double one, double other) noexcept nogil:
    """Give the earlier of two times, of which 0 is none."""
    return other if one == 0 or 0 < other < one else one


cdef inline int wait_milliseconds(Hall* hall, double at) noexcept nogil:
    """Say for how long nothing has to be looked at; -1: for ever."""
    cdef Lines* lines = &hall.lines
    cdef double until = hall.stop_at
    if lines.first[QUIET] >= 0:
        until = sooner(until, lines.all[lines.first[QUIET]].since + hall.idle_seconds)
    if lines.first[HALF] >= 0:
        until = sooner(until, lines.all[lines.first[HALF]].since + hall.piece_seconds)
    if load(&hall.paused) and not is_full(hall):
        until = sooner(until, hall.accept_at)
    if until == 0:
        return -1
    return <int>((until - at) * 1000) + 1 if until > at else 0


cdef inline void stop_accepting(Hall* hall) noexcept nogil:
    """Close the doors behind who came, close what idles, and give away what is not whole."""
    cdef int which, i, door
    cdef Line* line
    for door in range(hall.doors_count):
        for i in range(hall.lines.count_max // ACCEPTED_MAX + 1):
            if load(&hall.paused) or not accept_some(hall, door):
                break
        # Others may hold the same socket: closing it alone would not end that we hear of it.
        epoll_ctl(hall.poll, EPOLL_CTL_DEL, hall.doors[door], NULL)
        close(hall.doors[door])
    hall.doors_count = 0
    store(&hall.paused, 0)
    for which in range(hall.lines.count_max):
        line = &hall.lines.all[which]
        if line.state in (IDLE, PARTIAL):
            read_on(hall, which)
        if line.state == IDLE:
            hang_up(hall, which)
        elif line.state == PARTIAL:
            hand_over(hall, which, line.unread, line.unread_size)
    store(&hall.quiet, 1)
    hall.has_put = True


cdef inline void hang_up_all(Hall* hall, bint is_late) noexcept nogil:
    """Close every connection; unless it is late, but for those that are taking their answer."""
    cdef int which
    cdef int state
    for which in range(hall.lines.count_max):
        state = hall.lines.all[which].state
        if state != FREE and (is_late or state != WRITING):
            hang_up(hall, which)


cdef inline bint is_told(Hall* hall) noexcept nogil:
    """Tell whether the loop wishes what is not done yet."""
    cdef unsigned wish = load(&hall.wish)
    return (wish != SERVE and not load(&hall.quiet)) or (wish == STOP and hall.stop_at == 0)


cdef inline void heed(Hall* hall) noexcept nogil:
    """Do what the loop wishes."""
    cdef unsigned wish = load(&hall.wish)
    if wish != SERVE and not load(&hall.quiet):
        stop_accepting(hall)
    if wish == STOP and hall.stop_at == 0:
        hall.stop_at = now() + hall.linger_seconds
        while not is_empty(&hall.replies) or not is_empty(&hall.own):
            answer_some(hall)                   # they end their connections now
        hang_up_all(hall, False)


cdef inline void answer_some(Hall* hall) noexcept nogil:
    """Write what the loop and the thread itself have answered, and what comes of that.

    Not all where there is much: one who asks without end keeps nobody else from being heard.
    """
    cdef int i
    cdef Reply* reply
    for i in range(ANSWERED_MAX):
        reply = <Reply*>take(&hall.replies)
        if reply == NULL:
            reply = <Reply*>take(&hall.own)
        if reply == NULL:
            return
        answer(hall, reply)


cdef inline void work(Hall* hall) noexcept nogil:
    """Do the thread's work until it is told to stop and nobody takes an answer any more."""
    cdef epoll_event events[EVENTS_MAX]
    cdef int i, count, wait
    cdef double at = now()
    while True:
        wait = wait_milliseconds(hall, at)
        store(&hall.asleep, 1)
        fence()
        if not is_empty(&hall.replies) or not is_empty(&hall.own) or is_told(hall):
            wait = 0
        count = epoll_wait(hall.poll, events, EVENTS_MAX, wait)
        store(&hall.asleep, 0)
        at = now()
        for i in range(count):
            if events[i].data.u64 < DOORS_MAX:
                if hall.doors_count and not load(&hall.paused):
                    accept_some(hall, <int>events[i].data.u64)
            elif events[i].data.u64 != BELL:
                hear(hall, events[i].events, events[i].data.u64)
        ring_for_loop(hall)
        answer_some(hall)
        look_at_clock(hall, at)
        heed(hall)
        ring_for_loop(hall)
        if hall.stop_at > 0 and (hall.lines.count == 0 or at >= hall.stop_at):
            break
    hang_up_all(hall, True)
