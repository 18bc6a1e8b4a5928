# cython: boundscheck=False, wraparound=False
"""Reads the heads of plain requests, compiled, as the front does: `_heads_py` is its specification."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from native._head cimport (
    FIELDS_MAX, HEAD_BYTES_MAX, MORE, ODD, Head, headers_of, key_id_of, prefer_of, read_head,
    text_of,
)

from native._heads_py import HEAD_BYTES_MAX as _HEAD_BYTES_MAX, Head as _Head
from native.envelope import HEADERS_COUNT_MAX

assert (FIELDS_MAX, HEAD_BYTES_MAX) == (HEADERS_COUNT_MAX, _HEAD_BYTES_MAX)


def read(bytes data not None):
    """Read a head that begins here; `more` when it is not whole and may yet be plain."""
    cdef const char* at = PyBytes_AS_STRING(data)
    cdef Head head
    cdef int found = read_head(at, PyBytes_GET_SIZE(data), 0, &head)
    if found == MORE:
        return "more"
    if found == ODD:
        return "odd"
    return _Head(
        text_of(at, head.method_size),
        text_of(at + head.target, head.target_size),
        headers_of(at, &head),
        prefer_of(at, &head),
        key_id_of(at, &head),
        head.closes != 0,
        head.size,
        head.body_bytes,
    )
