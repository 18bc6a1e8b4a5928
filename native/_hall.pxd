"""The front's thread: accepts, reads whole plain requests, writes answers, and hands over the rest.

It never holds the GIL.  All it shares with the loop are the two rings and a few words.
"""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from posix.unistd cimport close

from native._head cimport MORE, ODD, PLAIN, Head, read_head
from native._lines cimport (
    FREE, HALF, IDLE, PARTIAL, QUIET, SERVED, WRITING, Line, Lines, begin_line, drop_reply,
    drop_unread, end_line, enter_queue, have_room, keep_unread, leave_queue,
)
from native._post cimport (
    Arrival, Reply, Ring, add, fence, is_empty, load, put, ring_bell, store, swap, take,
)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int, timespec*)

cdef extern from "<sys/socket.h>" nogil:
    int SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL
    int accept4(int, void*, void*, int)
    ssize_t recv(int, void*, size_t, int)
    ssize_t send(int, const void*, size_t, int)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)


cdef enum:
    DESK_BYTES = 64 * 1024      # what is read of a connection at once
    PIECE_BYTES = 16 * 1024     # and of one whose request is not whole
    EVENTS_MAX = 256
    ACCEPTED_MAX = 64           # in one round
    LISTENING = 0               # what an event says where it names no connection
    BELL = 1


cdef enum:                      # what the loop wishes
    SERVE
    DRAIN                       # accept nothing, end what idles, answer what began
    STOP


cdef struct Hall:
    int poll
    int listening               # -1: closed
    int bell                    # wakes the thread
    int loop_bell               # wakes the loop
    Ring arrivals
    Ring replies
    unsigned asleep             # the thread may sleep
    unsigned rung               # the loop was rung for, and has not come since
    unsigned wish
    unsigned quiet              # nothing arrives any more but for what is served already
    unsigned paused             # nothing is accepted just now
    unsigned handed             # connections that were handed over and are open
    bint has_put                # since the loop was rung for
    double accept_at            # not before
    double stop_at
    double idle_seconds
    double piece_seconds
    double linger_seconds
    size_t body_bytes_max
    size_t batch_bytes_max
    const char* batch           # the target whose bodies may be larger
    size_t batch_size
    Lines lines
    char* desk


cdef inline double now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec + time.tv_nsec * 1e-9


cdef inline bint watch(Hall* hall, int file, uint32_t events, uint64_t tag) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = tag
    return epoll_ctl(hall.poll, EPOLL_CTL_ADD, file, &event) == 0


cdef inline void ring_for_loop(Hall* hall) noexcept nogil:
    """Wake the loop, unless it was woken for what is in the ring already."""
    if hall.has_put:
        hall.has_put = False
        if not swap(&hall.rung, 1):
            ring_bell(hall.loop_bell)


cdef inline void hang_up(Hall* hall, int which) noexcept nogil:
    close(hall.lines.all[which].file)
    end_line(&hall.lines, which)


cdef inline Arrival* arrival_of(Line* line, int which, const char* data, size_t size) noexcept nogil:
    """Write down what arrived; NULL when there is no memory."""
    cdef Arrival* arrival = <Arrival*>malloc(sizeof(Arrival) + size)
    if arrival == NULL:
        return NULL
    arrival.line = which
    arrival.turn = line.turn
    arrival.file = -1
    arrival.came_at = line.came_at
    arrival.size = size
    memcpy(arrival.data, data, size)
    return arrival


cdef inline void hand_over(Hall* hall, int which, const char* data, size_t size) noexcept nogil:
    """Hand a connection over, with the bytes that were read since its request began."""
    cdef Line* line = &hall.lines.all[which]
    cdef Arrival* arrival = arrival_of(line, which, data, size)
    if arrival == NULL:
        hang_up(hall, which)
        return
    epoll_ctl(hall.poll, EPOLL_CTL_DEL, line.file, NULL)
    arrival.file = line.file
    if not put(&hall.arrivals, arrival):
        free(arrival)
        hang_up(hall, which)
        return
    add(&hall.handed, 1)
    hall.has_put = True
    end_line(&hall.lines, which)


cdef inline void let_serve(Hall* hall, int which, const char* data, size_t size, const Head* head) noexcept nogil:
    """Give a whole request to the loop, and keep what follows it."""
    cdef Line* line = &hall.lines.all[which]
    cdef size_t whole = head.size + head.body_bytes
    cdef Arrival* arrival = arrival_of(line, which, data, whole)
    if arrival == NULL:
        hang_up(hall, which)
        return
    arrival.head = head[0]
    if size == whole:
        drop_unread(line)
    elif not keep_unread(line, data + whole, size - whole):
        free(arrival)
        hang_up(hall, which)
        return
    if not put(&hall.arrivals, arrival):
        free(arrival)
        hang_up(hall, which)
        return
    hall.has_put = True
    line.state = SERVED
    leave_queue(&hall.lines, which)


cdef inline size_t body_bytes_max(const Hall* hall, const char* data, const Head* head) noexcept nogil:
    if head.target_size == hall.batch_size and memcmp(
        data + head.target, hall.batch, hall.batch_size
    ) == 0:
        return hall.batch_bytes_max
    return hall.body_bytes_max


cdef inline void meet(Hall* hall, int which, const char* data, size_t size) noexcept nogil:
    """Meet the request that begins with these bytes."""
    cdef Head head
    cdef Line* line = &hall.lines.all[which]
    cdef bint is_kept = data == line.unread
    cdef int found = read_head(data, size, line.unread_seen if is_kept else 0, &head)
    cdef size_t whole = head.size + head.body_bytes if found == PLAIN else 0
    if found == ODD or (found == PLAIN and (
        head.body_bytes > body_bytes_max(hall, data, &head) or (head.closes and size > whole)
    )):
        hand_over(hall, which, data, size)
        return
    if found == PLAIN and size >= whole:
        let_serve(hall, which, data, size, &head)
        return
    if not is_kept and not keep_unread(line, data, size):
        hang_up(hall, which)
        return
    if found == MORE:
        line.unread_seen = size
    if line.state != PARTIAL:
        line.state = PARTIAL
        enter_queue(&hall.lines, which, HALF, line.came_at)


cdef inline void hear_end(Hall* hall, int which) noexcept nogil:
    """The caller sends no more: whoever left in the middle of a request is another's matter."""
    cdef Line* line = &hall.lines.all[which]
    if line.unread_size:
        hand_over(hall, which, line.unread, line.unread_size)
    else:
        hang_up(hall, which)


cdef inline void read_on(Hall* hall, int which) noexcept nogil:
    """Read what came, until a request is whole or nothing is left."""
    cdef Line* line = &hall.lines.all[which]
    cdef ssize_t count
    cdef size_t room
    cdef char* place
    line.readable = False
    while line.state in (IDLE, PARTIAL):
        place, room = hall.desk, DESK_BYTES
        if line.unread_size:
            if not have_room(line, line.unread_size + PIECE_BYTES):
                hang_up(hall, which)
                return
            place, room = line.unread + line.unread_size, line.unread_room - line.unread_size
        count = recv(line.file, place, room, 0)
        if count > 0:
            line.came_at = now()
            if line.unread_size:
                line.unread_size += count
                meet(hall, which, line.unread, line.unread_size)
            else:
                meet(hall, which, hall.desk, count)
            if <size_t>count < room and not line.ends:
                return
        elif count == 0:
            hear_end(hall, which)
            return
        elif errno == EAGAIN:
            return
        elif errno != EINTR:
            hang_up(hall, which)
            return
    line.readable = line.state == SERVED


cdef inline void go_on(Hall* hall, int which) noexcept nogil:
    """An answer is written: serve what came meanwhile."""
    cdef Line* line = &hall.lines.all[which]
    line.state = IDLE
    line.turn += 1
    enter_queue(&hall.lines, which, QUIET, now())
    if line.unread_size:
        meet(hall, which, line.unread, line.unread_size)
    if line.readable and line.state in (IDLE, PARTIAL):
        read_on(hall, which)


cdef inline void write_on(Hall* hall, int which) noexcept nogil:
    """Write what is left of an answer, as far as the caller takes it."""
    cdef Line* line = &hall.lines.all[which]
    cdef Reply* reply = line.reply
    cdef ssize_t count
    cdef bint closes
    while line.written < reply.size:
        count = send(
            line.file, reply.data + line.written, reply.size - line.written, MSG_NOSIGNAL
        )
        if count >= 0:
            line.written += count
        elif errno == EAGAIN:
            line.state = WRITING
            enter_queue(&hall.lines, which, QUIET, now())
            return
        elif errno != EINTR:
            hang_up(hall, which)
            return
    closes = reply.closes or reply.size == 0 or load(&hall.wish) != SERVE
    drop_reply(line)
    if closes:
        hang_up(hall, which)
    else:
        go_on(hall, which)


cdef inline void answer(Hall* hall, Reply* reply) noexcept nogil:
    """Answer the request that a reply was made for; whose caller is gone, it is for nobody."""
    cdef Line* line = &hall.lines.all[reply.line]
    if line.state != SERVED or line.turn != reply.turn:
        free(reply)
        return
    line.reply = reply
    line.written = 0
    write_on(hall, reply.line)


cdef inline void pause(Hall* hall, double until) noexcept nogil:
    """Accept nothing for a while."""
    epoll_ctl(hall.poll, EPOLL_CTL_DEL, hall.listening, NULL)
    hall.accept_at = until
    store(&hall.paused, 1)


cdef inline bint is_full(Hall* hall) noexcept nogil:
    return hall.lines.count + <int>load(&hall.handed) >= hall.lines.count_max


cdef inline void accept_some(Hall* hall) noexcept nogil:
    cdef int i, file, which
    cdef uint64_t tag
    for i in range(ACCEPTED_MAX):
        if is_full(hall):
            pause(hall, 0)
            return
        file = accept4(hall.listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if file < 0 and errno in (EINTR, ECONNABORTED):
            continue
        if file < 0:
            if errno != EAGAIN:             # no file or no memory is left for one more
                pause(hall, now() + 0.1)
            return
        which = begin_line(&hall.lines, file, now())
        tag = <uint64_t>hall.lines.all[which].birth << 32 | <uint32_t>which
        if not watch(hall, file, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, tag):
            hang_up(hall, which)


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
    if load(&hall.paused) and hall.listening >= 0 and at >= hall.accept_at and not is_full(hall):
        store(&hall.paused, 0)
        watch(hall, hall.listening, EPOLLIN, LISTENING)


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
    """Close the door, what idles, and give away what is not whole."""
    cdef int which
    cdef Line* line
    if hall.listening >= 0:
        close(hall.listening)
        hall.listening = -1
    for which in range(hall.lines.count_max):
        line = &hall.lines.all[which]
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


cdef inline void heed(Hall* hall) noexcept nogil:
    """Do what the loop wishes."""
    cdef unsigned wish = load(&hall.wish)
    if wish != SERVE and not load(&hall.quiet):
        stop_accepting(hall)
    if wish == STOP and hall.stop_at == 0:
        hall.stop_at = now() + hall.linger_seconds
        answer_all(hall)
        hang_up_all(hall, False)


cdef inline void answer_all(Hall* hall) noexcept nogil:
    cdef Reply* reply = <Reply*>take(&hall.replies)
    while reply != NULL:
        answer(hall, reply)
        reply = <Reply*>take(&hall.replies)


cdef inline void work(Hall* hall) noexcept nogil:
    """Do the thread's work until it is told to stop and nobody takes an answer any more."""
    cdef epoll_event events[EVENTS_MAX]
    cdef int i, count, wait
    cdef double at = now()
    while True:
        wait = wait_milliseconds(hall, at)
        store(&hall.asleep, 1)
        fence()
        if not is_empty(&hall.replies) or (load(&hall.wish) != SERVE and hall.stop_at == 0):
            wait = 0
        count = epoll_wait(hall.poll, events, EVENTS_MAX, wait)
        store(&hall.asleep, 0)
        at = now()
        for i in range(count):
            if events[i].data.u64 == LISTENING:
                if hall.listening >= 0 and not load(&hall.paused):
                    accept_some(hall)
            elif events[i].data.u64 != BELL:
                hear(hall, events[i].events, events[i].data.u64)
        ring_for_loop(hall)
        answer_all(hall)
        look_at_clock(hall, at)
        heed(hall)
        ring_for_loop(hall)
        if hall.stop_at > 0 and (hall.lines.count == 0 or at >= hall.stop_at):
            break
    hang_up_all(hall, True)
