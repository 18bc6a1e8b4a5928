"""A plain request's head, read without the GIL: `_heads_py` is its specification (RFC 9112).

Plain is what every reader of HTTP takes to mean the same.  Nothing is judged here: what is not
plain is told apart, and read by somebody else.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memchr, memcmp

cdef extern from *:
    """
    enum { FG_TOKEN = 1, FG_TARGET = 2, FG_VALUE = 4, FG_DIGIT = 8, FG_SMALL_HEX = 16 };
    #define FG_ALL (FG_TOKEN | FG_TARGET | FG_VALUE)
    static const unsigned char fg_kinds[256] = {
        ['\\t'] = FG_VALUE, [' ' ... '~'] = FG_VALUE,
        ['0' ... '9'] = FG_ALL | FG_DIGIT | FG_SMALL_HEX,
        ['A' ... 'Z'] = FG_ALL, ['a' ... 'f'] = FG_ALL | FG_SMALL_HEX, ['g' ... 'z'] = FG_ALL,
        ['!'] = FG_ALL, ['$'] = FG_ALL, ['%'] = FG_ALL, ['&'] = FG_ALL, ['\\''] = FG_ALL,
        ['*'] = FG_ALL, ['+'] = FG_ALL, ['-'] = FG_ALL, ['.'] = FG_ALL, ['_'] = FG_ALL,
        ['~'] = FG_ALL,
        ['#'] = FG_TOKEN | FG_VALUE, ['^'] = FG_TOKEN | FG_VALUE, ['`'] = FG_TOKEN | FG_VALUE,
        ['|'] = FG_TOKEN | FG_VALUE,
        ['('] = FG_TARGET | FG_VALUE, [')'] = FG_TARGET | FG_VALUE, [','] = FG_TARGET | FG_VALUE,
        [';'] = FG_TARGET | FG_VALUE, [':'] = FG_TARGET | FG_VALUE, ['='] = FG_TARGET | FG_VALUE,
        ['@'] = FG_TARGET | FG_VALUE, ['/'] = FG_TARGET | FG_VALUE, ['?'] = FG_TARGET | FG_VALUE,
    };
    """
    const unsigned char KINDS "fg_kinds"[256]
    enum: TOKEN "FG_TOKEN"
    enum: TARGET "FG_TARGET"
    enum: VALUE "FG_VALUE"
    enum: DIGIT "FG_DIGIT"
    enum: SMALL_HEX "FG_SMALL_HEX"


cdef enum:
    HEAD_BYTES_MAX = 8190       # before its empty line
    FIELDS_MAX = 48
    KEY_ID_BYTES = 36


cdef enum:                      # what bytes were found to be
    MORE                        # the beginning of a head that may be plain
    PLAIN
    ODD


cdef struct Field:              # places and sizes are counted from the head's first byte
    uint16_t name
    uint16_t name_size
    uint16_t value
    uint16_t value_size


cdef struct Head:
    uint16_t method_size
    uint16_t target
    uint16_t target_size
    uint16_t key_id             # 0: no key is named
    uint16_t size               # with its empty line
    int prefer                  # where this stands in `fields`; -1: not there
    bint closes                 # the caller wants no further answer
    uint32_t body_bytes
    int count
    Field fields[FIELDS_MAX]


cdef struct Noticed:            # which fields were there
    bint host
    bint odd


cdef inline uint32_t span_of(const char* at, const char* end, unsigned char kind) noexcept nogil:
    """Count the letters of this kind at the start."""
    cdef const char* here = at
    while here < end and KINDS[<unsigned char>here[0]] & kind:
        here += 1
    return <uint32_t>(here - at)


cdef inline bint begins(const char* data, size_t size, const char* word, size_t length) noexcept nogil:
    """Tell whether these bytes begin with a word, or may yet."""
    return memcmp(data, word, min(size, length)) == 0


cdef inline bint may_be_plain(const char* data, size_t size) noexcept nogil:
    return (
        begins(data, size, b"POST /v1/", 9)
        or begins(data, size, b"GET /v1/", 8)
        or begins(data, size, b"DELETE /v1/", 11)
    )


cdef inline size_t end_of(const char* data, size_t size, size_t seen) noexcept nogil:
    """Say how long a head is with its empty line; 0 when that is not among these bytes.

    The first `seen` bytes were looked through before.
    """
    cdef const char* end = data + size
    cdef const char* here = data + seen
    while here < end:
        here = <const char*>memchr(here, c"\n", end - here)
        if here == NULL:
            return 0
        here += 1
        if here - data >= 4 and memcmp(here - 4, b"\r\n\r\n", 4) == 0:
            return here - data
    return 0


cdef inline bint is_alike(const char* text, const char* small, size_t size) noexcept nogil:
    """Compare with a word in small letters; what is compared holds letters of tokens alone."""
    cdef size_t i
    cdef unsigned char letter
    for i in range(size):
        letter = text[i]
        if c"A" <= letter <= c"Z":
            letter |= 32
        if letter != <unsigned char>small[i]:
            return False
    return True


cdef inline bint is_same_name(const char* data, const Field* one, const Field* other) noexcept nogil:
    cdef size_t i
    cdef unsigned char a, b
    if one.name_size != other.name_size:
        return False
    for i in range(one.name_size):
        a, b = data[one.name + i], data[other.name + i]
        if c"A" <= a <= c"Z":
            a |= 32
        if c"A" <= b <= c"Z":
            b |= 32
        if a != b:
            return False
    return True


cdef inline bint is_there_already(const char* data, const Head* head) noexcept nogil:
    """Tell whether the last field's name was there before."""
    cdef int i
    for i in range(head.count - 1):
        if is_same_name(data, &head.fields[i], &head.fields[head.count - 1]):
            return True
    return False


cdef inline bint read_length(const char* value, int size, uint32_t* length) noexcept nogil:
    """Read one to six digits."""
    cdef int i
    if not 1 <= size <= 6:
        return False
    length[0] = 0
    for i in range(size):
        if not KINDS[<unsigned char>value[i]] & DIGIT:
            return False
        length[0] = length[0] * 10 + (value[i] - c"0")
    return True


cdef inline uint32_t place_of_key(const char* data, const Field* field) noexcept nogil:
    """Find the id after `keyid="` in a value; 0 when there is none of our form."""
    cdef const char* at = data + field.value
    cdef const char* end = at + field.value_size
    while end - at >= 8 + KEY_ID_BYTES:
        at = <const char*>memchr(at, c"k", end - at)
        if at == NULL or end - at < 8 + KEY_ID_BYTES:
            return 0
        if (
            memcmp(at, b'keyid="key_', 11) == 0
            and span_of(at + 11, at + 11 + 32, SMALL_HEX) == 32
            and at[7 + KEY_ID_BYTES] == c'"'
        ):
            return <uint32_t>(at + 7 - data)
        at += 1
    return 0


cdef inline bint is_odd(const char* name, int size) noexcept nogil:
    """Tell whether this field says more about framing or the connection than a length."""
    if size == 17:
        return is_alike(name, b"transfer-encoding", 17)
    if size == 16:
        return is_alike(name, b"content-encoding", 16) or is_alike(name, b"proxy-connection", 16)
    if size == 18:
        return is_alike(name, b"sec-websocket-key1", 18)
    if size == 7:
        return is_alike(name, b"upgrade", 7)
    return size == 6 and is_alike(name, b"expect", 6)


cdef inline void note(const char* data, Head* head, Noticed* noticed) noexcept nogil:
    """Look at the last field that was read."""
    cdef Field* field = &head.fields[head.count - 1]
    cdef const char* name = data + field.name
    cdef const char* value = data + field.value
    cdef int size = field.name_size
    if size == 4 and is_alike(name, b"host", 4):
        noticed.host = True
    elif size == 6 and is_alike(name, b"prefer", 6):
        head.prefer = head.count - 1
    elif size == 14 and is_alike(name, b"content-length", 14):
        if not read_length(value, field.value_size, &head.body_bytes):
            noticed.odd = True
    elif size == 15 and is_alike(name, b"signature-input", 15):
        head.key_id = place_of_key(data, field)
    elif size == 10 and is_alike(name, b"connection", 10):
        head.closes = field.value_size == 5 and is_alike(value, b"close", 5)
        if not head.closes and not (
            field.value_size == 10 and is_alike(value, b"keep-alive", 10)
        ):
            noticed.odd = True
    elif is_odd(name, size):
        noticed.odd = True


cdef inline bint read_line(const char* data, const char** at, const char* end, Head* head) noexcept nogil:
    """Read the request line and step over it."""
    cdef const char* here = at[0]
    head.method_size = <uint16_t>(<const char*>memchr(here, c" ", end - here) - here)
    here += head.method_size + 1
    head.target = <uint16_t>(here - data)
    head.target_size = span_of(here, end, TARGET)
    here += head.target_size
    if end - here < 11 or memcmp(here, b" HTTP/1.1\r\n", 11) != 0:
        return False
    at[0] = here + 11
    return True


cdef inline bint read_field(const char* data, const char** at, const char* end, Head* head) noexcept nogil:
    """Read one field and step over it (RFC 9110 section 5.5): visible ASCII, without its blanks."""
    cdef const char* here = at[0]
    cdef const char* last
    cdef Field* field
    if head.count == FIELDS_MAX:
        return False
    field = &head.fields[head.count]
    field.name = <uint16_t>(here - data)
    field.name_size = span_of(here, end, TOKEN)
    here += field.name_size
    if not field.name_size or here[0] != c":":
        return False
    here += 1
    while here[0] == c" " or here[0] == c"\t":
        here += 1
    last = here + span_of(here, end, VALUE)
    if end - last < 2 or last[0] != c"\r" or last[1] != c"\n":
        return False
    at[0] = last + 2
    while last > here and (last[-1] == c" " or last[-1] == c"\t"):
        last -= 1
    field.value = <uint16_t>(here - data)
    field.value_size = <uint16_t>(last - here)
    head.count += 1
    return True


cdef inline int read_head(const char* data, size_t size, size_t seen, Head* head) noexcept nogil:
    """Read a head that begins here, of which `seen` bytes were looked through before.

    Every step sees the empty line's carriage return before the end, whatever stands there.
    """
    cdef Noticed noticed
    cdef const char* at = data
    cdef const char* end
    cdef size_t length
    if not may_be_plain(data, size):
        return ODD
    length = end_of(data, min(size, HEAD_BYTES_MAX + 4), seen)
    if not length:
        return MORE if size < HEAD_BYTES_MAX + 4 else ODD
    noticed.host = noticed.odd = False
    head.size = <uint16_t>length
    head.count = head.closes = head.body_bytes = head.key_id = 0
    head.prefer = -1
    end = data + length - 2
    if not read_line(data, &at, end, head):
        return ODD
    while at < end:
        if not read_field(data, &at, end, head) or is_there_already(data, head):
            return ODD
        note(data, head, &noticed)
    return PLAIN if noticed.host and not noticed.odd else ODD


cdef inline str text_of(const char* at, Py_ssize_t size):
    return PyUnicode_DecodeASCII(at, size, NULL)


cdef inline tuple headers_of(const char* data, const Head* head):
    """Give the fields as aiohttp would: pairs of bytes, in their order."""
    cdef const Field* field
    cdef int i
    pairs = []
    for i in range(head.count):
        field = &head.fields[i]
        name = PyBytes_FromStringAndSize(data + field.name, field.name_size)
        pairs.append((name, PyBytes_FromStringAndSize(data + field.value, field.value_size)))
    return tuple(pairs)


cdef inline str prefer_of(const char* data, const Head* head):
    if head.prefer < 0:
        return ""
    return text_of(data + head.fields[head.prefer].value, head.fields[head.prefer].value_size)


cdef inline str key_id_of(const char* data, const Head* head):
    return text_of(data + head.key_id, KEY_ID_BYTES) if head.key_id else None
