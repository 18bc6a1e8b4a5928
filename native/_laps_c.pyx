# cython: boundscheck=False, wraparound=False
"""Tells how long each step took, compiled: `_laps_py` is its specification."""

from contextvars import ContextVar

from cpython.contextvars cimport PyContextVar_Set, get_value
from libc.math cimport INFINITY

from native._clock cimport now

from native._laps_py import BOUNDS_MAX as _BOUNDS_MAX


cdef enum:
    BOUNDS_MAX = 32

assert BOUNDS_MAX == _BOUNDS_MAX


cdef class Buckets:
    cdef readonly str name
    cdef double bounds[BOUNDS_MAX]
    cdef long long counts[BOUNDS_MAX]
    cdef double total
    cdef int size

    def __init__(self, str name not None, bounds):
        cdef double bound, before = -INFINITY
        self.name = name
        self.size = 0
        self.total = 0.0
        for bound in bounds:
            if self.size == BOUNDS_MAX or not (before < bound or self.size == 0):
                raise ValueError("bounds rise, and the last is infinite")
            self.bounds[self.size] = before = bound
            self.counts[self.size] = 0
            self.size += 1
        if before != INFINITY:
            raise ValueError("bounds rise, and the last is infinite")

    cdef inline void count(self, double value) noexcept:
        """Find the lowest bound that is no less, as `bisect_left` does."""
        cdef int low = 0, high = self.size - 1, middle
        while low < high:
            middle = (low + high) >> 1
            if self.bounds[middle] < value:
                low = middle + 1
            else:
                high = middle
        self.counts[low] += 1
        self.total += value

    def observe(self, double value):
        self.count(value)

    def taken(self):
        cdef int place
        counts, total = [self.counts[place] for place in range(self.size)], self.total
        for place in range(self.size):
            self.counts[place] = 0
        self.total = 0.0
        return counts, total


cdef class Stopwatch:
    cdef readonly list laps
    cdef double began, last

    def __init__(self, *, bint keeps_laps=False):
        self.began = self.last = now()
        self.laps = [] if keeps_laps else None

    def seconds(self):
        return now() - self.began

    def end(self, Buckets step not None):
        self.ended(step)

    cdef ended(self, Buckets step):
        cdef double at = now()
        cdef double seconds = at - self.last
        self.last = at
        step.count(seconds)
        if self.laps is not None:
            self.laps.append((step.name, seconds))


_running = ContextVar("stopwatch", default=None)


def start(*, bint keeps_laps=False):
    watch = Stopwatch(keeps_laps=keeps_laps)
    PyContextVar_Set(_running, watch)
    return watch


def lap(Buckets step not None):
    watch = get_value(_running)
    if watch is not None:
        (<Stopwatch>watch).ended(step)
