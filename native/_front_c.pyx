# cython: boundscheck=False, wraparound=False
"""The front: a thread that reads plain requests and writes answers without the interpreter.

It is started once and serves the sockets that listen.  `_watch.pxd` is what the thread does, here
is what the loop sees of it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close, read

from native._hall cimport DESK_BYTES, DOORS_MAX, DRAIN, STOP, Hall
from native._head cimport FIELDS_MAX, headers_of, key_id_of, prefer_of, text_of
from native._lines cimport make_lines
from native._post cimport (
    STANDS, Arrival, Reply, add, drop_ring, fence, is_empty, load, make_ring, put, ring_bell, store,
    swap, take,
)
from native._sockets cimport EPOLL_CLOEXEC, EPOLLET, EPOLLIN, epoll_create1, watch
from native._standing cimport (
    ASKS_BYTES_MAX, COUNTS_MAX, FORM_BYTES_MAX, PIECES_MAX, STANDING_MAX, Form, Standing,
    path_size_of, written,
)
from native._watch cimport BELL, open_doors, work

from os import urandom

from native.bounds import Bounds
from native.envelope import HEADERS_COUNT_MAX

cdef extern from "<sys/eventfd.h>":
    int EFD_NONBLOCK, EFD_CLOEXEC
    int eventfd(unsigned, int)

assert FIELDS_MAX == HEADERS_COUNT_MAX


cdef bint is_taking = False     # nobody else makes a request


cdef bint write_form(Form* form, list pieces):
    """Write an answer down; False where it is too long."""
    cdef bytes piece
    form.size = form.count = 0
    for piece in pieces:
        if form.count == PIECES_MAX or form.size + PyBytes_GET_SIZE(piece) > FORM_BYTES_MAX:
            return False
        memcpy(form.data + form.size, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        form.size += PyBytes_GET_SIZE(piece)
        form.ends[form.count] = form.size
        form.count += 1
    return True


cdef bint write_asks(Standing* standing, tuple asks):
    """Write down what is asked for; False where it is too long."""
    cdef bytes method = asks[0].encode(), path = asks[1].encode(), key = (asks[2] or "").encode()
    cdef bytes whole = method + path + key
    if PyBytes_GET_SIZE(whole) > ASKS_BYTES_MAX:
        return False
    memcpy(standing.asks, PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole))
    standing.method_size = PyBytes_GET_SIZE(method)
    standing.path_size = PyBytes_GET_SIZE(path)
    standing.key_size = PyBytes_GET_SIZE(key)
    return True


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Request:
    """A whole plain request; whoever lets go of it unanswered ends its connection."""

    cdef Front front
    cdef Arrival* arrival
    cdef bint is_answered

    def __cinit__(self):
        if not is_taking:
            raise TypeError("a request comes through the front")

    def __dealloc__(self):
        if self.arrival != NULL:
            if not self.is_answered:
                self.front.write(self, NULL, 0, True)
                self.front.wake()
            free(self.arrival)

    @property
    def method(self):
        return text_of(self.arrival.data, self.arrival.head.method_size)

    @property
    def target(self):
        cdef Arrival* arrival = self.arrival
        return text_of(arrival.data + arrival.head.target, arrival.head.target_size)

    @property
    def asks(self):
        """Its method, its target without the query, and the key that it names, not proved."""
        cdef Arrival* arrival = self.arrival
        cdef const char* target = arrival.data + arrival.head.target
        return (
            text_of(arrival.data, arrival.head.method_size),
            text_of(target, path_size_of(arrival.data, &arrival.head)),
            key_id_of(arrival.data, &arrival.head),
        )

    @property
    def headers(self):
        return headers_of(self.arrival.data, &self.arrival.head)

    @property
    def prefer(self):
        """What its Prefer header says (RFC 7240), or nothing."""
        return prefer_of(self.arrival.data, &self.arrival.head)

    @property
    def body(self):
        cdef Arrival* arrival = self.arrival
        return PyBytes_FromStringAndSize(arrival.data + arrival.head.size, arrival.head.body_bytes)

    @property
    def closes(self):
        """Whether the caller wants no further answer on this connection."""
        return self.arrival.head.closes != 0

    @property
    def has_leave(self):
        """Whether it was let through what stands, because a seat was free for it then."""
        return self.arrival.leave >= 0

    @property
    def came_at(self):
        """When its last bytes were read, in seconds of the monotonic clock."""
        return self.arrival.came_at


@cython.final
cdef class Front:
    """One worker's front; it owns the sockets that listen, which must not block."""

    cdef Hall hall
    cdef bytes batch            # held for the hall
    cdef bint has_begun
    cdef bint is_spent
    cdef uint64_t chance[2]     # the loop's own; the thread has another
    cdef unsigned seen[STANDING_MAX]    # how many came by leave of what stands in each place

    def __cinit__(self, listening: tuple, bounds: Bounds):
        cdef Hall* hall = &self.hall
        hall.poll = hall.bell = hall.loop_bell = -1
        if not 0 < len(listening) <= DOORS_MAX:
            raise ValueError("the front has too many doors, or none")
        self.batch = bounds.batch
        for door in listening:
            hall.doors[hall.doors_count] = door
            hall.doors_count += 1
        hall.poll = epoll_create1(EPOLL_CLOEXEC)
        hall.bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        hall.loop_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        hall.body_bytes_max = bounds.body_bytes_max
        hall.batch = PyBytes_AS_STRING(self.batch)
        hall.batch_size = PyBytes_GET_SIZE(self.batch)
        hall.batch_bytes_max = bounds.batch_bytes_max
        hall.idle_seconds = bounds.idle_seconds
        hall.piece_seconds = bounds.piece_seconds
        hall.linger_seconds = bounds.linger_seconds
        hall.desk = <char*>malloc(DESK_BYTES)
        if hall.desk == NULL or not make_lines(&hall.lines, bounds.connections_max):
            raise MemoryError
        # Of each connection one letter may be on its way, and one more of the one before it there.
        if not make_ring(&hall.arrivals, 4 * bounds.connections_max):
            raise MemoryError
        if not make_ring(&hall.replies, 4 * bounds.connections_max):
            raise MemoryError
        if not make_ring(&hall.own, 4 * bounds.connections_max):
            raise MemoryError
        memcpy(hall.chance, PyBytes_AS_STRING(urandom(sizeof(hall.chance))), sizeof(hall.chance))
        memcpy(self.chance, PyBytes_AS_STRING(urandom(sizeof(self.chance))), sizeof(self.chance))
        if min(hall.poll, hall.bell, hall.loop_bell) < 0:
            raise OSError("no file is left for the front")
        if not open_doors(hall):
            raise OSError("the front cannot listen")
        if not watch(hall.poll, hall.bell, EPOLLIN | EPOLLET, BELL):
            raise OSError("the front cannot be woken")

    def __dealloc__(self):
        cdef Hall* hall = &self.hall
        cdef Arrival* arrival
        cdef int file, door
        if hall.arrivals.places != NULL:
            arrival = <Arrival*>take(&hall.arrivals)
            while arrival != NULL:
                if arrival.file >= 0:
                    close(arrival.file)
                free(arrival)
                arrival = <Arrival*>take(&hall.arrivals)
        drop_ring(&hall.arrivals)
        drop_ring(&hall.replies)
        drop_ring(&hall.own)
        for file in range(STANDING_MAX):
            free(hall.standings.all[file])
        free(hall.lines.all)
        free(hall.desk)
        for file in (hall.poll, hall.bell, hall.loop_bell):
            if file >= 0:
                close(file)
        for door in range(hall.doors_count):
            close(hall.doors[door])

    @property
    def bell(self):
        """The file that is readable when something came."""
        return self.hall.loop_bell

    @property
    def is_quiet(self):
        """Whether after `drain` the last `take` took the last of what was to come."""
        return self.is_spent

    @property
    def connections(self):
        """How many connections it has, those not counted that it handed over."""
        return self.hall.lines.count

    def run(self):
        """Serve until stopped, without the GIL; the work of a thread of its own."""
        if self.has_begun:
            raise RuntimeError("the front runs once")
        self.has_begun = True
        with nogil:
            work(&self.hall)

    def take(self, Py_ssize_t most=4096):
        """Take what came: requests, and connections with the bytes that were read of them.

        No more than `most`, lest their answers do not find room; the bell rings for the others.
        """
        cdef Hall* hall = &self.hall
        cdef uint64_t count
        cdef Arrival* arrival
        cdef Request request
        cdef bint is_quiet
        global is_taking
        requests, handed = [], []
        if read(hall.loop_bell, &count, sizeof(count)) < 0:
            pass                # nobody rang; it may be looked all the same
        swap(&hall.rung, 0)
        # Asked after that: the thread says first that it is quiet, and then looks whether it rang.
        is_quiet = load(&hall.quiet) != 0
        while len(requests) + len(handed) < most:
            arrival = <Arrival*>take(&hall.arrivals)
            if arrival == NULL:
                break
            if arrival.file < 0:
                if arrival.leave >= 0:
                    self.seen[arrival.leave] += 1
                is_taking = True
                request = Request.__new__(Request)
                is_taking = False
                request.front = self
                request.arrival = arrival
                requests.append(request)
            else:
                data = PyBytes_FromStringAndSize(arrival.data, arrival.size)
                handed.append((arrival.file, data))
                free(arrival)
        self.is_spent = is_quiet and is_empty(&hall.arrivals)
        if not is_empty(&hall.arrivals) and not swap(&hall.rung, 1):
            ring_bell(hall.loop_bell)
        return requests, handed

    def answer(self, Request request not None, bytes wire not None, bint closes):
        """Answer a request; `wake` has to follow. Without bytes its connection only ends."""
        if request.is_answered or request.front is not self:
            raise RuntimeError("a request is answered once, where it came from")
        if not self.write(request, PyBytes_AS_STRING(wire), PyBytes_GET_SIZE(wire), closes):
            raise MemoryError

    def refuse(self, list requests not None, tuple forms not None):
        """Answer many alike, each with an id of its own between the pieces of its answer.

        `forms` are the pieces for whoever goes on, and for whoever wants no further answer.
        """
        cdef Form going, last
        cdef Request request
        cdef Reply* reply
        if not (write_form(&going, forms[0]) and write_form(&last, forms[1])):
            raise ValueError("the answer is too long")
        for request in requests:
            if request.is_answered or request.front is not self:
                raise RuntimeError("a request is answered once, where it came from")
            reply = written(&last if request.arrival.head.closes else &going, self.chance)
            if reply == NULL or not self.send(request, reply, request.arrival.head.closes):
                raise MemoryError

    def stand(self, tuple asks not None, tuple forms not None, tuple terms not None):
        """Have requests that ask for this refused by the thread; False where they are too long.

        `terms` are the place where it stands instead of what stood there, until when it holds in
        seconds of the monotonic clock, and what is counted by `refused` for each.  Those that
        `grant` lets through go to the loop all the same.
        """
        cdef Reply* reply = <Reply*>malloc(sizeof(Reply) + sizeof(Standing))
        cdef Standing* standing
        if reply == NULL:
            raise MemoryError
        reply.line = STANDS
        standing = <Standing*>reply.data
        try:
            standing.place, standing.until, standing.counted_as = terms
            if not (
                0 <= standing.place < STANDING_MAX
                and standing.counted_as < COUNTS_MAX
                and write_asks(standing, asks)
                and write_form(&standing.going, forms[0])
                and write_form(&standing.last, forms[1])
                and put(&self.hall.replies, reply)
            ):
                return False
            reply = NULL        # it is the thread's now
            return True
        finally:
            free(reply)

    def grant(self, int place, unsigned requests):
        """Let so many more through that ask for what stands there, and none beyond.

        Those are counted in that were let through before and were not taken yet.
        """
        if not 0 <= place < STANDING_MAX:
            raise ValueError("nothing stands there")
        store(&self.hall.standings.granted[place], self.seen[place] + requests)

    def was_needed(self, int place):
        """Tell whether the thread has refused any by what stands there since this was asked."""
        if not 0 <= place < STANDING_MAX:
            raise ValueError("nothing stands there")
        return swap(&self.hall.standings.needed[place], 0) != 0

    def refused(self):
        """Give how many the thread has refused since this was asked, by what they are counted as."""
        cdef unsigned i, count
        told = []
        for i in range(COUNTS_MAX):
            if load(&self.hall.refused[i]):
                count = swap(&self.hall.refused[i], 0)
                told.append((i, count))
        return told

    cdef bint write(self, Request request, const char* data, size_t size, bint closes) noexcept:
        cdef Reply* reply = <Reply*>malloc(sizeof(Reply) + size)
        if reply == NULL:
            return False
        reply.size = size
        if size:
            memcpy(reply.data, data, size)
        return self.send(request, reply, closes)

    cdef bint send(self, Request request, Reply* reply, bint closes) noexcept:
        """Put a reply into the ring, which owns it from there; False where there is no room."""
        reply.line = request.arrival.line
        reply.turn = request.arrival.turn
        reply.closes = closes
        if not put(&self.hall.replies, reply):
            free(reply)
            return False
        request.is_answered = True
        return True

    cpdef wake(self):
        """Have the answers written that were given."""
        fence()
        if load(&self.hall.asleep) and swap(&self.hall.asleep, 0):
            ring_bell(self.hall.bell)

    def left(self):
        """Hear that a connection that was handed over has ended."""
        add(&self.hall.handed, -1)
        if load(&self.hall.paused):
            ring_bell(self.hall.bell)

    def drain(self):
        """Accept nothing more, end what idles, hand over what is not whole, then be quiet."""
        store(&self.hall.wish, DRAIN)
        ring_bell(self.hall.bell)

    def stop(self):
        """End `run` once all answers are taken."""
        store(&self.hall.wish, STOP)
        ring_bell(self.hall.bell)
