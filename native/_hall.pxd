"""What the front's thread does with one connection: reads whole plain requests, writes answers.

It never holds the GIL.  All it shares with the loop are two rings and a few words.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from posix.unistd cimport close

from native._clock cimport now
from native._head cimport MORE, ODD, PLAIN, Head, read_head
from native._lines cimport (
    FREE, HALF, IDLE, PARTIAL, QUIET, SERVED, WRITING, Line, Lines, begin_line, drop_reply,
    drop_unread, end_line, enter_queue, have_room, keep_unread, leave_queue,
)
from native._post cimport (
    STANDS, Arrival, Reply, Ring, add, fence, is_empty, load, put, ring_bell, store, swap, take,
)
from native._sockets cimport EPOLL_CTL_DEL, MSG_NOSIGNAL, epoll_ctl, recv, send
from native._standing cimport (
    COUNTS_MAX, Standing, Standings, against, may_pass, stand, written,
)

cdef extern from "<sys/socket.h>" nogil:
    int SHUT_WR
    int shutdown(int, int)


cdef enum:
    DESK_BYTES = 64 * 1024      # what is read of a connection at once
    PIECE_BYTES = 16 * 1024     # and of one whose request is not whole
    DROPPED_MAX = 16            # how often is read what nobody will serve
    DOORS_MAX = 4


cdef enum:                      # what the loop wishes
    SERVE
    DRAIN                       # accept nothing, end what idles, answer what began
    STOP


cdef struct Hall:
    int poll
    int doors[DOORS_MAX]        # sockets that listen
    int doors_count             # 0: closed
    int bell                    # wakes the thread
    int loop_bell               # wakes the loop
    Ring arrivals
    Ring replies
    Ring own                    # replies that the thread makes itself
    Standings standings
    uint64_t chance[2]
    unsigned refused[COUNTS_MAX]    # how many were refused here, by what they are counted as
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


cdef inline void ring_for_loop(Hall* hall) noexcept nogil:
    """Wake the loop, unless it was woken for what is in the ring already."""
    if hall.has_put:
        hall.has_put = False
        if not swap(&hall.rung, 1):
            ring_bell(hall.loop_bell)


cdef inline void hang_up(Hall* hall, int which) noexcept nogil:
    close(hall.lines.all[which].file)
    end_line(&hall.lines, which)


cdef inline void take_leave(Hall* hall, int which) noexcept nogil:
    """Close behind an answer: with bytes that nobody read the kernel would take it back."""
    cdef int i, file = hall.lines.all[which].file
    shutdown(file, SHUT_WR)
    for i in range(DROPPED_MAX):
        if recv(file, hall.desk, DESK_BYTES, 0) <= 0:
            break
    hang_up(hall, which)


cdef inline Arrival* arrival_of(Line* line, int which, const char* data, size_t size) noexcept nogil:
    """Write down what arrived; NULL when there is no memory."""
    cdef Arrival* arrival = <Arrival*>malloc(sizeof(Arrival) + size)
    if arrival == NULL:
        return NULL
    arrival.line = which
    arrival.turn = line.turn
    arrival.file = arrival.leave = -1
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


cdef inline void turn_away(Hall* hall, int which, int place, bint closes) noexcept nogil:
    """Refuse a request here by what stands; it is answered once everything was read."""
    cdef Line* line = &hall.lines.all[which]
    cdef const Standing* standing = hall.standings.all[place]
    cdef Reply* reply = written(&standing.last if closes else &standing.going, hall.chance)
    if reply == NULL:
        hang_up(hall, which)
        return
    reply.line = which
    reply.turn = line.turn
    reply.closes = closes
    if not put(&hall.own, reply):
        free(reply)
        hang_up(hall, which)
        return
    add(&hall.refused[standing.counted_as], 1)
    store(&hall.standings.needed[place], 1)
    line.state = SERVED
    leave_queue(&hall.lines, which)


cdef inline bint keep_rest(Line* line, const char* data, size_t size) noexcept nogil:
    """Keep what follows a request; False when there is no memory."""
    if size:
        return keep_unread(line, data, size)
    drop_unread(line)
    return True


cdef inline void let_serve(Hall* hall, int which, const char* data, size_t size, const Head* head) noexcept nogil:
    """Give a whole request to the loop, or refuse it here, and keep what follows it."""
    cdef Line* line = &hall.lines.all[which]
    cdef size_t whole = head.size + head.body_bytes
    cdef int place = against(&hall.standings, data, head, now())
    cdef Arrival* arrival
    if place >= 0 and not may_pass(&hall.standings, place):
        if keep_rest(line, data + whole, size - whole):
            turn_away(hall, which, place, head.closes)
        else:
            hang_up(hall, which)
        return
    arrival = arrival_of(line, which, data, whole)
    if arrival == NULL:
        hang_up(hall, which)
        return
    arrival.head = head[0]
    arrival.leave = place
    if not keep_rest(line, data + whole, size - whole):
        free(arrival)
        hang_up(hall, which)
        return
    if not put(&hall.arrivals, arrival):
        free(arrival)
        hang_up(hall, which)
        return
    if place >= 0:
        hall.standings.used[place] += 1
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
        take_leave(hall, which)
    else:
        go_on(hall, which)


cdef inline void answer(Hall* hall, Reply* reply) noexcept nogil:
    """Answer the request that a reply was made for; whose caller is gone, it is for nobody."""
    cdef Line* line
    if reply.line == STANDS:
        stand(&hall.standings, <const Standing*>reply.data)
        free(reply)
        return
    line = &hall.lines.all[reply.line]
    if line.state != SERVED or line.turn != reply.turn:
        free(reply)
        return
    line.reply = reply
    line.written = 0
    write_on(hall, reply.line)
