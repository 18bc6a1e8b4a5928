"""An HTTP request as the compiled reader of the verify step sees it."""

from libc.stdint cimport uint64_t

from native._spans cimport (
    Span,
    drop,
    is_capital,
    is_hex,
    is_named,
    is_path,
    is_same,
    peek,
    span_of,
    take,
)


cdef enum:
    FIELDS_MAX = 48


cdef struct Field:
    Span name               # as received; compared in lower case
    Span value              # without the white space around it


cdef struct Request:
    Span method
    Span target
    Span path
    Span query              # from the question mark on; "?" when there is none
    Span scheme
    Field fields[FIELDS_MAX]
    int count
    int signature           # where these stand in `fields`; -1: not there
    int signature_input
    int content_digest
    int idempotency_key
    int host
    bint host_twice


cdef inline bint note_field(Request* request, Span name) noexcept:
    """Note where a field of this name will stand; False when it must not stand there again."""
    if is_named(name, b"signature"):
        return note_single(&request.signature, request.count)
    if is_named(name, b"signature-input"):
        return note_single(&request.signature_input, request.count)
    if is_named(name, b"content-digest"):
        return note_single(&request.content_digest, request.count)
    if is_named(name, b"idempotency-key"):
        return note_single(&request.idempotency_key, request.count)
    if is_named(name, b"host"):
        request.host_twice = not note_single(&request.host, request.count)
    return True


cdef inline bint note_single(int* place, int index) noexcept:
    if place[0] >= 0:
        return False
    place[0] = index
    return True


cdef inline bint is_method(Span method) noexcept:
    """Tell whether a method is in plain capitals; CONNECT has no target of the form read here."""
    return (
        method.size > 0
        and span_of(method, is_capital) == method.size
        and not is_same(method, b"CONNECT")
    )


cdef inline bint split_target(Request* request) noexcept:
    """Find path and query; False when the target is not in origin form (RFC 9112 section 3.2.1)."""
    cdef Span rest = request.target
    cdef const char* mark = NULL
    if peek(&rest) != c"/":
        return False
    while rest.size:
        drop(&rest, span_of(rest, is_path))
        if take(&rest, c"%"):
            if span_of(Span(rest.at, min(rest.size, 2)), is_hex) != 2:
                return False
            drop(&rest, 2)
        elif peek(&rest) == c"?":
            if mark == NULL:
                mark = rest.at
            drop(&rest, 1)
        elif rest.size:
            return False
    request.path = request.target
    request.query = Span(b"?", 1)
    if mark != NULL:
        request.path.size = mark - request.target.at
        request.query = Span(mark, request.target.size - request.path.size)
    return True


cdef inline bint has_bit(uint64_t bits, int index) noexcept:
    """Tell whether the bit of the field that stands there is set; -1: it stands nowhere."""
    return index >= 0 and bits >> index & 1
