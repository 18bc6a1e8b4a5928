"""What the compiled modules ask when they want to know how long something takes."""

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef inline double now() noexcept nogil:
    """Give the seconds that `time.monotonic` and `time.perf_counter` give."""
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <double>at.tv_sec + <double>at.tv_nsec * 1e-9
