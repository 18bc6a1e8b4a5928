"""Reading and copying text letter by letter, for the compiled halves of the verify and match steps.

A `Span` is a piece of somebody's bytes: not ended by a zero, and alive as long as its owner.  Every
function asks for the end before it looks at a letter.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, strlen


cdef struct Span:
    const char* at          # NULL: not there
    Py_ssize_t size


cdef struct Sheet:          # text that is being put together; PyMem_Free ends its `data`
    char* data
    Py_ssize_t size
    Py_ssize_t room


ctypedef bint (*Kind)(char) noexcept


cdef inline bint is_capital(char letter) noexcept:
    return c"A" <= letter <= c"Z"


cdef inline bint is_small(char letter) noexcept:
    return c"a" <= letter <= c"z"


cdef inline bint is_digit(char letter) noexcept:
    return c"0" <= letter <= c"9"


cdef inline bint is_hex(char letter) noexcept:
    return is_digit(letter) or c"a" <= letter <= c"f" or c"A" <= letter <= c"F"


cdef inline bint is_pchar(char letter) noexcept:
    """In a segment of a path that is not percent-encoded (RFC 3986 section 3.3)."""
    return (
        is_small(letter)
        or is_digit(letter)
        or is_capital(letter)
        or letter in b"._~!$&'()*+,;=:@-"
    )


cdef inline bint is_path(char letter) noexcept:
    return is_pchar(letter) or letter == c"/"


cdef inline bint is_value(char letter) noexcept:
    """In a field value on a line of the base (RFC 9421 section 2.1)."""
    return c" " <= letter <= c"~" or letter == c"\t"


cdef inline bint is_label(char letter) noexcept:
    """In a key of a dictionary (RFC 9651 section 3.1.2)."""
    return is_small(letter) or is_digit(letter) or letter in b"_.*-"


cdef inline bint is_name(char letter) noexcept:
    """In a field name in lower case (RFC 9110 section 5.6.2)."""
    return is_small(letter) or is_digit(letter) or letter in b"!#$%&'*+.^_`|~-"


cdef inline Py_ssize_t span_of(Span text, Kind kind) noexcept:
    """Count the letters of this kind at the start."""
    cdef Py_ssize_t i = 0
    while i < text.size and kind(text.at[i]):
        i += 1
    return i


cdef inline char peek(const Span* text) noexcept:
    """The next letter; a zero, which no text here may hold, at the end."""
    return text.at[0] if text.size > 0 else 0


cdef inline void drop(Span* text, Py_ssize_t size) noexcept:
    text.at += size
    text.size -= size


cdef inline bint take(Span* text, char letter) noexcept:
    """Step over this letter if it comes next."""
    if peek(text) != letter:
        return False
    drop(text, 1)
    return True


cdef inline bint skip(Span* text, const char* word) noexcept:
    """Step over this word if it comes next."""
    cdef Py_ssize_t size = strlen(word)
    if text.size < size or memcmp(text.at, word, size):
        return False
    drop(text, size)
    return True


cdef inline Span trimmed(Span text) noexcept:
    while text.size and text.at[0] in (c" ", c"\t"):
        drop(&text, 1)
    while text.size and text.at[text.size - 1] in (c" ", c"\t"):
        text.size -= 1
    return text


cdef inline bint is_same(Span text, const char* word) noexcept:
    cdef Py_ssize_t size = strlen(word)
    return text.size == size and memcmp(text.at, word, size) == 0


cdef inline bint is_equal(Span one, Span other) noexcept:
    return one.size == other.size and memcmp(one.at, other.at, one.size) == 0


cdef inline bint is_named(Span name, const char* lower) noexcept:
    return is_lower_of(name, Span(lower, strlen(lower)))


cdef inline bint is_lower_of(Span name, Span lower) noexcept:
    """Tell whether a name is this one when it is written in lower case."""
    cdef Py_ssize_t i
    if name.size != lower.size:
        return False
    for i in range(name.size):
        if (name.at[i] + 32 if is_capital(name.at[i]) else name.at[i]) != lower.at[i]:
            return False
    return True


cdef inline Span take_label(Span* text) noexcept:
    """Take a dictionary key (RFC 9651 section 3.1.2); empty when there is none."""
    cdef Span label = Span(text.at, 0)
    if is_small(peek(text)) or peek(text) == c"*":
        label.size = span_of(text[0], is_label)
    drop(text, label.size)
    return label


cdef inline int six_bits(char letter) noexcept:
    """The value of a base64 letter (RFC 4648 section 4); -1: it is none."""
    if is_capital(letter):
        return letter - c"A"
    if is_small(letter):
        return letter - c"a" + 26
    if is_digit(letter):
        return letter - c"0" + 52
    return 62 if letter == c"+" else 63 if letter == c"/" else -1


cdef inline bytes take_base64(Span* text):
    """Take base64 and the colon after it; None unless padding is exact and spare bits are zero."""
    cdef const char* colon = <const char*>memchr(text.at, c":", text.size)
    cdef Py_ssize_t size, padding = 0, i
    cdef uint32_t bits = 0
    cdef int six, held = 0
    cdef bytes value
    cdef uint8_t* out
    if colon == NULL or colon == text.at or (colon - text.at) % 4:
        return None
    size = colon - text.at
    while padding < 2 and text.at[size - padding - 1] == c"=":
        padding += 1
    value = PyBytes_FromStringAndSize(NULL, size // 4 * 3 - padding)
    out = <uint8_t*>PyBytes_AS_STRING(value)
    for i in range(size - padding):
        six = six_bits(text.at[i])
        if six < 0:
            return None
        bits = bits << 6 | <uint32_t>six
        held += 6
        if held >= 8:
            held -= 8
            out[0] = <uint8_t>(bits >> held)
            out += 1
    if bits & ((1 << held) - 1):
        return None
    drop(text, size + 1)
    return value


cdef inline str as_text(Span text):
    return None if text.at == NULL else PyUnicode_DecodeASCII(text.at, text.size, NULL)


cdef inline int put(Sheet* sheet, Span text) except -1:
    """Copy a text to the end of a sheet, which grows as it must."""
    cdef char* grown
    cdef Py_ssize_t room
    if sheet.size + text.size > sheet.room:
        room = 2 * (sheet.room + text.size) + 512
        grown = <char*>PyMem_Realloc(sheet.data, room)
        if grown == NULL:
            raise MemoryError
        sheet.data, sheet.room = grown, room
    memcpy(sheet.data + sheet.size, text.at, text.size)
    sheet.size += text.size
    return 0


cdef inline int put_literal(Sheet* sheet, const char* word) except -1:
    return put(sheet, Span(word, strlen(word)))
