# cython: boundscheck=False, wraparound=False
"""Looks for names that JSON gives twice, compiled: `_names_py` is its specification."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from native._spans cimport Span, is_equal

from native._names_py import DEPTH_MAX as _DEPTH_MAX, NAMES_MAX as _NAMES_MAX


cdef enum:
    DEPTH_MAX = 8
    NAMES_MAX = 64

assert (DEPTH_MAX, NAMES_MAX) == (_DEPTH_MAX, _NAMES_MAX)


cdef struct Names:                  # of the objects that are open, the innermost last
    Span names[NAMES_MAX]
    int count
    int first[DEPTH_MAX]            # the first name of what is open at this depth; -1: an array
    int depth


cdef inline bint is_new(Names* open_ones, Span name) noexcept:
    """Keep a name of the innermost object; False when it has it already, or there is no room."""
    cdef int i
    for i in range(open_ones.first[open_ones.depth - 1], open_ones.count):
        if is_equal(open_ones.names[i], name):
            return False
    if open_ones.count == NAMES_MAX:
        return False
    open_ones.names[open_ones.count] = name
    open_ones.count += 1
    return True


cdef inline bint enter(Names* open_ones, bint is_object) noexcept:
    if open_ones.depth == DEPTH_MAX:
        return False
    open_ones.first[open_ones.depth] = open_ones.count if is_object else -1
    open_ones.depth += 1
    return True


cdef inline bint leave(Names* open_ones) noexcept:
    if not open_ones.depth:
        return False
    open_ones.depth -= 1
    if open_ones.first[open_ones.depth] >= 0:
        open_ones.count = open_ones.first[open_ones.depth]
    return True


cdef inline bint take_string(const char** at, const char* end, Span* inside) noexcept:
    """Step over a string; False when it does not end."""
    cdef const char* here = at[0] + 1
    inside.at = here
    while here < end and here[0] != c'"':
        here += 2 if here[0] == c"\\" else 1
    if here >= end:
        return False
    inside.size = here - inside.at
    at[0] = here + 1
    return True


cdef bint has_escape(Span text) noexcept:
    cdef Py_ssize_t i
    for i in range(text.size):
        if text.at[i] == c"\\":
            return True
    return False


cdef bint all_once(const char* at, const char* end) noexcept:
    cdef Names open_ones
    cdef Span inside
    cdef bint is_name = False
    open_ones.count = open_ones.depth = 0
    while at < end:
        if at[0] == c'"':
            if not take_string(&at, end, &inside):
                return False
            if is_name and (has_escape(inside) or not is_new(&open_ones, inside)):
                return False
            is_name = False
            continue
        if at[0] in (c"{", c"["):
            is_name = at[0] == c"{"
            if not enter(&open_ones, is_name):
                return False
        elif at[0] in (c"}", c"]"):
            is_name = False
            if not leave(&open_ones):
                return False
        elif at[0] == c",":
            is_name = open_ones.depth > 0 and open_ones.first[open_ones.depth - 1] >= 0
        at += 1
    return True


def once(bytes text not None):
    """Tell whether in every object of well-formed JSON each name surely stands once."""
    cdef const char* at = PyBytes_AS_STRING(text)
    return bool(all_once(at, at + PyBytes_GET_SIZE(text)))
