"""Tells the time of day and its distance from 1970, compiled: `_times_py` is its specification.

Nearly every time that is told or asked about lies on the same day as the one before, so how the
calendar calls that day is kept.
"""

from datetime import date

from cpython.datetime cimport datetime, datetime_new, get_utc, import_datetime
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from native._times_py import EPOCH, MILLISECOND

import_datetime()

cdef enum:
    DAY_SECONDS = 86400

cdef long long FIRST_DAY = EPOCH.toordinal()

cdef struct Day:
    long long number                # since 1970
    int year, month, day

cdef Day _today

cdef int turn_to(object named, long long number) except -1:
    """Keep how a day is called."""
    _today.year, _today.month, _today.day = named.year, named.month, named.day
    _today.number = number
    return 0

turn_to(EPOCH, 0)


def now():
    cdef timespec at
    clock_gettime(CLOCK_REALTIME, &at)
    cdef long long number = at.tv_sec // DAY_SECONDS
    cdef int second = at.tv_sec % DAY_SECONDS
    if number != _today.number:
        turn_to(date.fromordinal(number + FIRST_DAY), number)
    return datetime_new(
        _today.year,
        _today.month,
        _today.day,
        second // 3600,
        second // 60 % 60,
        second % 60,
        at.tv_nsec // 1000,
        get_utc(),
        0,
    )


def milliseconds(datetime at not None):
    if at.tzinfo is not get_utc():
        return (at - EPOCH) // MILLISECOND
    if at.day != _today.day or at.month != _today.month or at.year != _today.year:
        turn_to(at, at.toordinal() - FIRST_DAY)
    cdef long long second = at.hour * 3600 + at.minute * 60 + at.second
    return (_today.number * DAY_SECONDS + second) * 1000 + at.microsecond // 1000
