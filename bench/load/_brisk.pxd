"""What the compiled generator does on its connections: sends what is due, hears what came.

While much is due it hears what came and sends what is due twice a millisecond.  So a request costs
it one `send` and one `recv` and no wake-up of its own.
"""

from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport malloc, realloc
from libc.string cimport memcpy
from posix.unistd cimport close, usleep

from native._clock cimport now
from native._sockets cimport (
    EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, epoll_event,
    epoll_wait, recv, send, watch,
)

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char*, const char*, size_t)

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    """
    void* memmem(const void*, size_t, const void*, size_t) nogil

cdef extern from "<arpa/inet.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]

cdef extern from "<netinet/tcp.h>" nogil:
    int IPPROTO_TCP, TCP_NODELAY

cdef extern from "<sys/socket.h>" nogil:
    int AF_INET, AF_UNIX, SOCK_STREAM
    int socket(int, int, int)
    int connect(int, const void*, unsigned)
    int setsockopt(int, int, int, const void*, unsigned)


cdef enum:
    EVENTS_MAX = 512
    DESK_BYTES = 64 * 1024
    STATUS_AT = 9
    STATUSES = 1000
    ROUND_MICROSECONDS = 500
    REFUSED_SECONDS = 1         # as `bench.load.lean` has it

cdef enum:                      # what a connection does
    GONE
    IDLE
    BUSY


cdef struct Line:
    int file
    int state
    bint is_open                # it took something already
    bint waits                  # it stands among the idle ones, though it may be gone
    int request                 # which one it was asked
    double refused              # when it was refused, where it rests for that
    size_t sent                 # so many of its bytes
    double began                # from when it counts
    char* kept                  # bytes of an answer that is not whole
    size_t kept_size
    size_t kept_room


cdef struct Note:               # how one request ended; status 0: without an answer
    int request
    int status
    double began
    double ended


cdef struct Queue:              # numbers that go round; there is room for all there are
    int* places
    int room
    int first
    int count


cdef union Address:             # the first word of both is the family
    unsigned short family
    sockaddr_in internet
    sockaddr_un local


cdef struct Field:
    int poll
    Address address
    Line* lines
    int lines_max
    int lines_used              # places that were ever used
    int open
    int busy
    Queue idle
    Queue places                # that are free again
    Queue requests
    Queue refused               # that rest before they ask again, in the order in which they may
    const char** wires
    size_t* sizes
    bint again[STATUSES]        # after these a request is asked again
    Note* notes
    size_t notes_count
    size_t notes_room
    bint is_closed              # whoever is answered asks the next at once
    double until                # but not after this
    int sent
    int missed
    int broken
    double late
    char* desk


cdef inline bint make_queue(Queue* queue, int room) noexcept nogil:
    queue.places = <int*>malloc(max(room, 1) * sizeof(int))
    queue.room = max(room, 1)
    queue.first = queue.count = 0
    return queue.places != NULL


cdef inline void enqueue(Queue* queue, int number) noexcept nogil:
    queue.places[(queue.first + queue.count) % queue.room] = number
    queue.count += 1


cdef inline int dequeue(Queue* queue) noexcept nogil:
    """Take the first; -1: there is none."""
    cdef int number
    if queue.count == 0:
        return -1
    number = queue.places[queue.first]
    queue.first = (queue.first + 1) % queue.room
    queue.count -= 1
    return number


cdef inline void note(Field* field, const Line* line, int status) noexcept nogil:
    """Write down how a request ended; without memory for it the run misses one."""
    cdef size_t room
    cdef Note* moved
    if field.notes_count == field.notes_room:
        room = max(<size_t>4096, field.notes_room * 2)
        moved = <Note*>realloc(field.notes, room * sizeof(Note))
        if moved == NULL:
            field.missed += 1
            return
        field.notes, field.notes_room = moved, room
    field.notes[field.notes_count] = Note(line.request, status, line.began, now())
    field.notes_count += 1


cdef inline void hang_up(Field* field, int which) noexcept nogil:
    """End a connection, with what it was asked."""
    cdef Line* line = &field.lines[which]
    if line.state == BUSY:
        field.busy -= 1
        if line.is_open:
            field.broken += 1
            note(field, line, 0)
        else:                   # it never was a connection
            field.sent -= 1
            field.missed += 1
            enqueue(&field.requests, line.request)
    close(line.file)
    line.state = GONE
    line.kept_size = 0
    field.open -= 1
    if not line.waits:
        enqueue(&field.places, which)


cdef inline int connected(Field* field) noexcept nogil:
    """Open one more connection; -1: it cannot be."""
    cdef int file, one = 1, which
    cdef unsigned size = sizeof(sockaddr_un)
    file = socket(field.address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if file < 0:
        return -1
    if field.address.family == AF_INET:
        size = sizeof(sockaddr_in)
        setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    which = dequeue(&field.places)
    if which < 0:
        which = field.lines_used
    if (
        connect(file, &field.address.internet, size) < 0 and errno != EINPROGRESS
    ) or not watch(field.poll, file, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, which):
        close(file)
        if which < field.lines_used:
            enqueue(&field.places, which)
        return -1
    if which == field.lines_used:
        field.lines_used += 1
    field.lines[which].file = file
    field.lines[which].state = IDLE
    field.lines[which].is_open = False
    field.open += 1
    return which


cdef inline void send_on(Field* field, int which) noexcept nogil:
    """Send what is left of a request, as far as it is taken."""
    cdef Line* line = &field.lines[which]
    cdef const char* wire = field.wires[line.request]
    cdef size_t size = field.sizes[line.request]
    cdef ssize_t count
    while line.sent < size:
        count = send(line.file, wire + line.sent, size - line.sent, MSG_NOSIGNAL)
        if count >= 0:
            line.is_open = True
            line.sent += count
        elif errno == EAGAIN:
            return
        elif errno != EINTR:
            hang_up(field, which)
            return


cdef inline void ask(Field* field, int which, int request, double counted_from) noexcept nogil:
    cdef Line* line = &field.lines[which]
    line.request, line.sent, line.began, line.state = request, 0, counted_from, BUSY
    field.busy += 1
    field.sent += 1
    send_on(field, which)


cdef inline void start(Field* field, double scheduled) noexcept nogil:
    """Start the next request on an idle connection, or on a new one, or miss it."""
    cdef int request, which = -1
    while True:
        which = dequeue(&field.idle)
        if which < 0:
            break
        field.lines[which].waits = False
        if field.lines[which].state == IDLE:
            break
        enqueue(&field.places, which)
    if which < 0 and field.open < field.lines_max:
        which = connected(field)
    request = dequeue(&field.requests) if which >= 0 else -1
    if request >= 0:
        ask(field, which, request, scheduled)
        return
    field.missed += 1
    if which >= 0:
        rest(field, which)


cdef inline void rest(Field* field, int which) noexcept nogil:
    field.lines[which].waits = True
    enqueue(&field.idle, which)


cdef inline size_t whole(const char* data, size_t size) noexcept nogil:
    """Say how long an answer is whose head is whole; 0: it is not yet."""
    cdef const char* end = <const char*>memmem(data, size, b"\r\n\r\n", 4)
    cdef const char* at = data
    cdef size_t length = 0
    if end == NULL:
        return 0
    while at < end:
        at = <const char*>memmem(at, end + 2 - at, b"\r\n", 2) + 2
        if at < end and strncasecmp(at, b"content-length:", 15) == 0:
            at += 15
            while at[0] == c" ":
                at += 1
            while c"0" <= at[0] <= c"9":
                length = length * 10 + (at[0] - c"0")
                at += 1
            break
    return <size_t>(end - data) + 4 + length


cdef inline void finish(Field* field, int which, const char* data) noexcept nogil:
    """Hear a whole answer."""
    cdef Line* line = &field.lines[which]
    cdef int status = (
        (data[STATUS_AT] - c"0") * 100 + (data[STATUS_AT + 1] - c"0") * 10
        + data[STATUS_AT + 2] - c"0"
    )
    cdef bint is_refused = 0 <= status < STATUSES and field.again[status]
    line.kept_size = 0
    line.state = IDLE
    field.busy -= 1
    note(field, line, status)
    if is_refused:
        enqueue(&field.requests, line.request)
    if not field.is_closed:
        rest(field, which)
    elif is_refused:
        line.refused, line.waits = now(), True
        enqueue(&field.refused, which)
    else:
        ask_next(field, which, now())


cdef inline void ask_next(Field* field, int which, double at) noexcept nogil:
    """Ask the next on a connection of a closed run, while it goes on."""
    cdef int request = dequeue(&field.requests) if at < field.until else -1
    if request >= 0:
        ask(field, which, request, at)


cdef inline void come_again(Field* field, double at) noexcept nogil:
    """Let those ask again who have rested since they were refused."""
    cdef int which
    while field.refused.count:
        which = field.refused.places[field.refused.first]
        if field.lines[which].state == IDLE and at < field.lines[which].refused + REFUSED_SECONDS:
            return
        dequeue(&field.refused)
        field.lines[which].waits = False
        if field.lines[which].state == IDLE:
            ask_next(field, which, at)
        else:
            enqueue(&field.places, which)


cdef inline void hear(Field* field, int which) noexcept nogil:
    """Read what came of an answer; who sends what was not asked for is nobody's server."""
    cdef Line* line = &field.lines[which]
    cdef ssize_t count
    cdef size_t size
    cdef char* data
    while line.state != GONE:
        count = recv(line.file, field.desk, DESK_BYTES, 0)
        if count < 0 and errno == EINTR:
            continue
        if count < 0 and errno == EAGAIN:
            return
        if count <= 0 or line.state != BUSY:
            hang_up(field, which)
            return
        data, size = field.desk, count
        if line.kept_size:
            data, size = kept(line, field.desk, count), line.kept_size
        if data != NULL and 0 < whole(data, size) <= size:
            finish(field, which, data)
        elif data == field.desk:
            data = kept(line, data, size)
        if data == NULL:
            hang_up(field, which)
        if count < DESK_BYTES:
            return


cdef inline char* kept(Line* line, const char* data, size_t size) noexcept nogil:
    """Keep a piece of an answer behind what is there; gives all of it, NULL without memory."""
    cdef size_t room = line.kept_size + size
    cdef char* moved
    if room > line.kept_room:
        moved = <char*>realloc(line.kept, room)
        if moved == NULL:
            return NULL
        line.kept, line.kept_room = moved, room
    memcpy(line.kept + line.kept_size, data, size)
    line.kept_size += size
    return line.kept


cdef inline void hear_all(Field* field, int wait) noexcept nogil:
    """Hear what came, or what comes first within so many milliseconds."""
    cdef epoll_event events[EVENTS_MAX]
    cdef int i, which, count = EVENTS_MAX
    while count == EVENTS_MAX:
        count = epoll_wait(field.poll, events, EVENTS_MAX, wait)
        wait = 0
        for i in range(count):
            which = <int>events[i].data.u64
            if field.lines[which].state == BUSY and events[i].events & EPOLLOUT:
                send_on(field, which)
            if events[i].events & ~EPOLLOUT:
                hear(field, which)


cdef inline void follow(Field* field, double began, const double* arrivals, int count, double patience) noexcept nogil:
    """Send at each of these times after the beginning, and hear the answers, so long at most."""
    cdef int i = 0, wait = 0
    cdef double at = began, last = arrivals[count - 1] if count else 0, due
    cdef double end = field.until if field.is_closed else began + last
    while True:
        hear_all(field, wait)
        at = now()
        while i < count and began + arrivals[i] <= at:
            field.late = max(field.late, at - began - arrivals[i])
            start(field, began + arrivals[i])
            i += 1
        if i == count and ((field.busy == 0 and at >= end) or at >= end + patience):
            return
        come_again(field, at)
        if field.is_closed and not field.busy and not (field.refused.count and field.requests.count):
            return
        due = began + arrivals[i] if i < count else end + patience
        wait = 0
        if not field.is_closed and due > at + 0.002:
            wait = min(<int>((due - at) * 1000), 100)
        else:
            usleep(ROUND_MICROSECONDS)
