# cython: boundscheck=False, wraparound=False
"""Writes columns as PostgreSQL reads arrays, compiled: `_arrays_py` is its specification."""

import uuid
from datetime import UTC, timedelta

from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.datetime cimport (
    PyDateTime_Check,
    PyDateTime_DATE_GET_HOUR,
    PyDateTime_DATE_GET_MICROSECOND,
    PyDateTime_DATE_GET_MINUTE,
    PyDateTime_DATE_GET_SECOND,
    PyDateTime_GET_DAY,
    PyDateTime_GET_MONTH,
    PyDateTime_GET_YEAR,
    datetime,
    datetime_tzinfo,
    import_datetime,
)
from cpython.long cimport PyLong_AsLongLong, PyLong_Check
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

import_datetime()

cdef object _utc = UTC
cdef type _UUID = uuid.UUID


cdef enum:
    BOOL = 16
    BYTEA = 17
    INT8 = 20
    INT2 = 21
    INT4 = 23
    TEXT = 25
    TIMESTAMPTZ = 1184
    UUID = 2950
    HEAD = 20                           # bytes before the first item
    ITEMS_MAX = 0x7FFFFFFF
    EPOCH_DAYS = 730_425                # from 0000-03-01 to 2000-01-01, counted as `days_of` does


cdef inline char* put(char* at, uint64_t value, int size) noexcept:
    """Write a number in so many bytes, the highest first; gives where it ends."""
    cdef int i
    for i in range(size):
        at[i] = <char>(value >> (8 * (size - 1 - i)))
    return at + size


cdef inline int64_t days_of(int64_t year, int month, int day) noexcept:
    """Count the days since 2000 in the Gregorian calendar; its years begin in March here."""
    if month <= 2:
        year -= 1
        month += 12
    return (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1
        - EPOCH_DAYS
    )


cdef int64_t microseconds_of(object value) except? -1:
    """Count the microseconds since 2000."""
    cdef int64_t seconds
    if not PyDateTime_Check(value) or datetime_tzinfo(value) is None:
        raise TypeError("an aware time was expected")
    if datetime_tzinfo(value) is not _utc:
        value = value.astimezone(_utc)
    seconds = days_of(
        PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value)
    ) * 86400
    seconds += (
        PyDateTime_DATE_GET_HOUR(value) * 3600
        + PyDateTime_DATE_GET_MINUTE(value) * 60
        + PyDateTime_DATE_GET_SECOND(value)
    )
    return seconds * 1_000_000 + PyDateTime_DATE_GET_MICROSECOND(value)


cdef inline int digit_of(char letter) noexcept:
    """The value of a hexadecimal digit; -1: it is none."""
    if c"0" <= letter <= c"9":
        return letter - c"0"
    if c"a" <= letter <= c"f":
        return letter - c"a" + 10
    if c"A" <= letter <= c"F":
        return letter - c"A" + 10
    return -1


cdef char* put_uuid(char* at, object value) except NULL:
    """Write a uuid's 16 bytes."""
    cdef Py_ssize_t size
    cdef const char* text
    cdef int i, high, low
    if PyUnicode_Check(value):
        if not PyUnicode_IS_ASCII(value):
            raise ValueError("a uuid has hexadecimal digits")
        text = PyUnicode_AsUTF8AndSize(value, &size)
        if size > 32 and text[size - 33] == c"_":
            text += size - 32           # what stands before it says what the uuid is of
            size = 32
        if size == 32:
            for i in range(16):
                high, low = digit_of(text[2 * i]), digit_of(text[2 * i + 1])
                if high < 0 or low < 0:
                    raise ValueError("a uuid has hexadecimal digits")
                at[i] = <char>(high << 4 | low)
            return at + 16
        value = _UUID(value)
    elif PyBytes_Check(value):
        if PyBytes_GET_SIZE(value) != 16:
            raise ValueError("a uuid has 16 bytes")
        memcpy(at, PyBytes_AS_STRING(value), 16)
        return at + 16
    elif not isinstance(value, _UUID):
        raise TypeError("a uuid was expected")
    memcpy(at, PyBytes_AS_STRING(value.bytes), 16)
    return at + 16


cdef inline int64_t number_of(object value, int size) except? -1:
    cdef int64_t number
    if not PyLong_Check(value):
        raise TypeError("an integer was expected")
    number = PyLong_AsLongLong(value)
    if size < 8 and not -(<int64_t>1 << (8 * size - 1)) <= number < <int64_t>1 << (8 * size - 1):
        raise OverflowError("an integer is too large for its column")
    return number


cdef inline const char* letters_of(object value, int element, Py_ssize_t* size) except NULL:
    """Borrow the bytes of a text or of bytes."""
    if element == TEXT:
        if not PyUnicode_Check(value):
            raise TypeError("a text was expected")
        return PyUnicode_AsUTF8AndSize(value, size)
    if not PyBytes_Check(value):
        raise TypeError("bytes were expected")
    size[0] = PyBytes_GET_SIZE(value)
    return PyBytes_AS_STRING(value)


cdef Py_ssize_t room_for(tuple values, int element, int size) except -1:
    """Say how many bytes the array takes; `size` is that of one item, 0 when each has its own."""
    cdef Py_ssize_t room = HEAD, one
    for value in values:
        room += 4
        if value is None:
            continue
        if size:
            room += size
        else:
            letters_of(value, element, &one)
            room += one
    return room


cdef inline int size_of(int element) except -1:
    """The bytes of one value of this type; 0 when each has its own size."""
    if element == BOOL:
        return 1
    if element == INT2:
        return 2
    if element == INT4:
        return 4
    if element in (INT8, TIMESTAMPTZ):
        return 8
    if element == UUID:
        return 16
    if element in (TEXT, BYTEA):
        return 0
    raise KeyError(element)


cdef char* put_value(char* at, object value, int element, int size) except NULL:
    """Write one value after its size."""
    cdef const char* letters
    cdef Py_ssize_t count
    if not size:
        letters = letters_of(value, element, &count)
        at = put(at, <uint32_t><int32_t>count, 4)
        memcpy(at, letters, count)
        return at + count
    at = put(at, size, 4)
    if element == UUID:
        return put_uuid(at, value)
    if element == TIMESTAMPTZ:
        return put(at, <uint64_t>microseconds_of(value), 8)
    if element == BOOL:
        if value is not True and value is not False:
            raise TypeError("a bool was expected")
        return put(at, value is True, 1)
    return put(at, <uint64_t>number_of(value, size), size)


def encode(element, values):
    """Write these values, of which any may be None, as an array of this type."""
    cdef int kind = element
    cdef int size = size_of(kind)
    cdef tuple items = values if type(values) is tuple else tuple(values)
    cdef Py_ssize_t count = len(items)
    cdef Py_ssize_t room = room_for(items, kind, size)
    cdef bytes array
    cdef char* at
    cdef bint has_nulls = False
    if room > ITEMS_MAX:
        raise ValueError("an array is too large")
    array = PyBytes_FromStringAndSize(NULL, room)
    at = PyBytes_AS_STRING(array) + HEAD
    for value in items:
        if value is None:
            has_nulls = True
            at = put(at, 0xFFFFFFFF, 4)
        else:
            at = put_value(at, value, kind, size)
    at = PyBytes_AS_STRING(array)
    at = put(at, 1, 4)
    at = put(at, has_nulls, 4)
    at = put(at, <uint32_t>kind, 4)
    at = put(at, <uint64_t>count, 4)
    put(at, 1, 4)
    return array
