# cython: boundscheck=False, wraparound=False
"""Matches method and path for the match step, compiled: `_routes_py` is its specification.

All patterns of one method form a tree; the nodes of all trees lie in one piece of memory.
"""

from types import GenericAlias

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from native._spans cimport Span, as_text, is_equal, is_pchar

from native._routes_py import SEGMENTS_COUNT_MAX, parse

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text) noexcept


cdef enum:
    SEGMENTS_MAX = 16

assert SEGMENTS_MAX == SEGMENTS_COUNT_MAX


cdef struct Path:
    Span segments[SEGMENTS_MAX]
    int count


cdef struct Node:                   # by index; the first is a root and nobody's child, so 0 says none
    Span text                       # of the static segment that leads here
    int child                       # the first of the static children
    int sibling                     # the next static child of the same parent
    int parameter                   # the child behind any segment
    int route                       # counted from 1; 0: no pattern ends here
    int parameters_count
    uint32_t parameters             # one bit for each segment that is a parameter


cdef class RouteTable:
    """Offers what `native._routes_py.RouteTable` specifies."""

    cdef Node* _nodes
    cdef int _count
    cdef list _routes               # keeps alive the texts that the nodes borrow
    cdef list _payloads
    cdef dict _roots                # method: index of its root
    cdef list _methods              # the same in alphabetical order

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self, routes):
        self._routes, self._roots = parse(routes), {}
        self._payloads = [route.payload for route in self._routes]
        nodes_max = sum([len(route.segments) + 1 for route in self._routes])
        self._nodes = <Node*>PyMem_Calloc(nodes_max, sizeof(Node))
        if self._nodes == NULL:
            raise MemoryError
        for number, route in enumerate(self._routes, 1):
            if route.method not in self._roots:
                self._roots[route.method] = self._new_node()
            self._insert(self._roots[route.method], route.segments, number)
        self._methods = sorted(self._roots.items())

    def __dealloc__(self):
        PyMem_Free(self._nodes)

    def match(self, str method not None, str path not None):
        cdef Path split
        cdef Node* node
        root = self._roots.get(method)
        if root is None or not split_path(path, &split):
            return None
        node = self._find(&self._nodes[<int>root], &split, 0)
        if node == NULL:
            return None
        return self._payloads[node.route - 1], parameters_of(node, &split)

    def allowed(self, str path not None):
        cdef Path split
        if not split_path(path, &split):
            return ()
        return tuple([
            method
            for method, root in self._methods
            if self._find(&self._nodes[<int>root], &split, 0) != NULL
        ])

    cdef int _new_node(self) noexcept:
        self._count += 1
        return self._count - 1

    cdef int _insert(self, int at, tuple segments, int route) except -1:
        cdef uint32_t parameters = 0
        for depth, segment in enumerate(segments):
            if segment is None:
                parameters |= <uint32_t>1 << <int>depth
                if not self._nodes[at].parameter:
                    self._nodes[at].parameter = self._new_node()
                at = self._nodes[at].parameter
            else:
                at = self._child(at, segment)
        self._nodes[at].route = route
        self._nodes[at].parameters = parameters
        self._nodes[at].parameters_count = segments.count(None)
        return 0

    cdef int _child(self, int parent, str segment) except -1:
        """Give the child behind a static segment, a new one if need be."""
        cdef Span text
        cdef int child = self._nodes[parent].child
        text.at = PyUnicode_AsUTF8AndSize(segment, &text.size)
        while child and not is_equal(self._nodes[child].text, text):
            child = self._nodes[child].sibling
        if not child:
            child = self._new_node()
            self._nodes[child].text = text
            self._nodes[child].sibling = self._nodes[parent].child
            self._nodes[parent].child = child
        return child

    cdef Node* _find(self, Node* node, Path* path, int depth) noexcept:
        cdef Node* found
        cdef int child = node.child
        if depth == path.count:
            return node if node.route else NULL
        while child and not is_equal(self._nodes[child].text, path.segments[depth]):
            child = self._nodes[child].sibling
        if child:
            found = self._find(&self._nodes[child], path, depth + 1)
            if found != NULL:
                return found
        if node.parameter and path.segments[depth].size:
            return self._find(&self._nodes[node.parameter], path, depth + 1)
        return NULL


cdef bint split_path(str path, Path* split) except -1:
    """Cut a plain path into its segments, one empty one for the root; False when it is not plain."""
    cdef Span text, segment
    cdef Py_ssize_t i
    split.count = 0
    if not PyUnicode_IS_ASCII(path):
        return False
    text.at = PyUnicode_AsUTF8AndSize(path, &text.size)
    if not text.size or text.at[0] != c"/":
        return False
    segment = Span(text.at + 1, 0)
    for i in range(1, text.size + 1):
        if i < text.size and text.at[i] != c"/":
            if not is_pchar(text.at[i]):
                return False
            segment.size += 1
            continue
        if is_dots(segment) or split.count == SEGMENTS_MAX:
            return False
        if not segment.size and text.size > 1:
            return False
        split.segments[split.count] = segment
        split.count += 1
        segment = Span(text.at + i + 1, 0)
    return True


cdef inline bint is_dots(Span segment) noexcept:
    """Tell whether this is `.` or `..`, which have a meaning of their own (RFC 3986)."""
    return 0 < segment.size <= 2 and memcmp(segment.at, b"..", segment.size) == 0


cdef tuple parameters_of(Node* node, Path* split):
    cdef tuple parameters = PyTuple_New(node.parameters_count)
    cdef int depth, place = 0
    for depth in range(split.count):
        if node.parameters >> depth & 1:
            text = as_text(split.segments[depth])
            Py_INCREF(text)
            PyTuple_SET_ITEM(parameters, place, text)
            place += 1
    return parameters
