# cython: boundscheck=False, wraparound=False, cdivision=True
"""The lean generator's sending without the interpreter: what is due, on idle connections, in time."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close

from bench.load._brisk cimport (
    AF_INET, AF_UNIX, DESK_BYTES, GONE, Address, Field, Line, Note, Queue, connected, enqueue, follow,
    make_queue, rest, start,
)
from native._clock cimport now
from native._sockets cimport EPOLL_CLOEXEC, epoll_create1

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t)
    int inet_pton(int, const char*, void*)


cdef class Sender:
    """Sends requests to an address once; those whose status is in `again` come last again.

    The address is one of IPv4 with its port, or the path of a Unix socket.
    """

    cdef Field field
    cdef list held              # for the field

    def __cinit__(self, address, requests: list, again: frozenset, int connections_max):
        cdef Field* field = &self.field
        cdef bytes wire
        cdef int i
        field.poll = epoll_create1(EPOLL_CLOEXEC)
        self.held = list(requests)
        field.lines_max = connections_max
        if field.poll < 0:
            raise OSError("no file is left for the generator")
        self.aim(address)
        field.lines = <Line*>calloc(max(connections_max, 1), sizeof(Line))
        field.wires = <const char**>malloc(max(len(requests), 1) * sizeof(char*))
        field.sizes = <size_t*>malloc(max(len(requests), 1) * sizeof(size_t))
        field.desk = <char*>malloc(DESK_BYTES)
        if (
            field.lines == NULL or field.wires == NULL or field.sizes == NULL
            or field.desk == NULL or not make_queue(&field.idle, connections_max)
            or not make_queue(&field.places, connections_max)
            or not make_queue(&field.requests, len(requests))
            or not make_queue(&field.refused, connections_max)
        ):
            raise MemoryError
        for i, wire in enumerate(self.held):
            field.wires[i], field.sizes[i] = PyBytes_AS_STRING(wire), PyBytes_GET_SIZE(wire)
            enqueue(&field.requests, i)
        for i in again:
            field.again[i] = True

    def __dealloc__(self):
        cdef Field* field = &self.field
        cdef int i
        for i in range(field.lines_used):
            if field.lines[i].state != GONE:
                close(field.lines[i].file)
            free(field.lines[i].kept)
        if field.poll >= 0:
            close(field.poll)
        free(field.idle.places)
        free(field.places.places)
        free(field.requests.places)
        free(field.refused.places)
        free(field.lines)
        free(field.wires)
        free(field.sizes)
        free(field.desk)
        free(field.notes)

    cdef aim(self, address):
        cdef Address* aimed = &self.field.address
        cdef bytes path
        if isinstance(address, str):
            path = address.encode()
            if len(path) >= sizeof(aimed.local.sun_path):
                raise ValueError("the path of the socket is too long")
            aimed.family = AF_UNIX
            memcpy(aimed.local.sun_path, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path) + 1)
            return
        aimed.family = AF_INET
        aimed.internet.sin_port = htons(address[1])
        if inet_pton(AF_INET, address[0].encode(), &aimed.internet.sin_addr) != 1:
            raise ValueError("the generator needs an address of IPv4")

    def connect(self, int connections):
        """Open so many connections, or as many as can be; gives how many are."""
        cdef int which
        for _ in range(min(connections, self.field.lines_max)):
            which = connected(&self.field)
            if which >= 0:
                rest(&self.field, which)
        return self.field.open

    def closed(self, double seconds, double patience):
        """Ask on all connections, and again when there is an answer, for so long.

        Who was refused rests for a second before he asks again.
        """
        cdef Field* field = &self.field
        cdef double began = now()
        field.is_closed, field.until = True, began + seconds
        with nogil:
            while field.idle.count and field.requests.count:
                start(field, now())
            follow(field, began, NULL, 0, patience)
        return began

    def opened(self, arrivals, double patience):
        """Ask at each of these times, an array of doubles: seconds from the start, in order."""
        cdef Field* field = &self.field
        cdef const double[::1] times = arrivals
        cdef int count = times.shape[0]
        cdef const double* first = &times[0] if count else NULL
        cdef double began = now()
        with nogil:
            follow(field, began, first, count, patience)
        return began

    @property
    def counts(self):
        """How many were sent, missed, and ended without an answer; how late one was, in seconds."""
        return self.field.sent, self.field.missed, self.field.broken, self.field.late

    def notes(self):
        """Give how each request ended: itself, its status (0: no answer), began, ended."""
        cdef size_t i
        cdef Note* note
        for i in range(self.field.notes_count):
            note = &self.field.notes[i]
            yield self.held[note.request], note.status, note.began, note.ended

    def left(self):
        """Give the requests that nobody was asked, or that are to be asked again, in order."""
        cdef Queue* queue = &self.field.requests
        cdef int i
        return [
            self.held[queue.places[(queue.first + i) % queue.room]] for i in range(queue.count)
        ]
