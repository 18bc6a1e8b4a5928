"""The texts of Signature-Input, which the compiled reader of the verify step reads (RFC 9421)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from native._spans cimport Span, drop, is_digit, is_name, peek, skip, span_of, take


cdef enum:                  # bits of Given.derived (section 2.2)
    METHOD = 1
    PATH = 2
    QUERY = 4
    TARGET_URI = 8
    REQUEST_TARGET = 16
    AUTHORITY = 32
    SCHEME = 64


cdef struct Given:          # what Signature-Input says
    Span label
    uint32_t derived        # one bit for each derived component that is covered
    uint64_t covered        # one bit for each of the request's fields that is covered
    int64_t created         # -1: not there
    int64_t expires
    Span key_id             # the text between the quotes, still escaped; NULL: not there
    Span algorithm
    Span nonce
    Span tag


cdef inline Span take_name(Span* text) noexcept:
    """Take a quoted component name, the quotes not included; empty when there is none."""
    cdef Span name, nothing = Span(NULL, 0)
    cdef Py_ssize_t size
    if not take(text, c'"'):
        return nothing
    name = text[0]
    take(text, c"@")
    size = span_of(text[0], is_name)
    drop(text, size)
    name.size = text.at - name.at
    return name if size and take(text, c'"') else nothing


cdef inline bint read_parameters(Span text, Given* given) noexcept:
    """Read the parameters (section 2.3); False when one is not known, not plain, or there twice."""
    cdef bint well = True
    given.created = given.expires = -1
    given.key_id.at = given.algorithm.at = given.nonce.at = given.tag.at = NULL
    while well and text.size:
        if skip(&text, b";created="):
            well = read_seconds(&text, &given.created)
        elif skip(&text, b";expires="):
            well = read_seconds(&text, &given.expires)
        elif skip(&text, b';keyid="'):
            well = read_string(&text, &given.key_id)
        elif skip(&text, b';alg="'):
            well = read_string(&text, &given.algorithm)
        elif skip(&text, b';nonce="'):
            well = read_string(&text, &given.nonce)
        elif skip(&text, b';tag="'):
            well = read_string(&text, &given.tag)
        else:
            well = False
    return well


cdef inline bint read_seconds(Span* text, int64_t* place) noexcept:
    """Read a time: at most eleven digits, which last until the year 5138, and no leading zero."""
    cdef Py_ssize_t i, digits = span_of(text[0], is_digit)
    if place[0] >= 0 or not 0 < digits <= 11 or (digits > 1 and text.at[0] == c"0"):
        return False
    place[0] = 0
    for i in range(digits):
        place[0] = place[0] * 10 + (text.at[i] - c"0")
    drop(text, digits)
    return True


cdef inline bint read_string(Span* text, Span* place) noexcept:
    """Read a string (RFC 9651 section 3.3.3) after its opening quote."""
    cdef const char* start = text.at
    if place.at != NULL:
        return False
    while not take(text, c'"'):
        if take(text, c"\\") and peek(text) != c"\\" and peek(text) != c'"':
            return False
        if not c" " <= peek(text) <= c"~":
            return False
        drop(text, 1)
    place[0] = Span(start, text.at - start - 1)
    return True
