# cython: boundscheck=False, wraparound=False
"""One exchange with an acquirer as bytes, compiled: `_exchange_py` is its specification."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeASCII
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp

from native._spans cimport (
    Sheet, Span, as_text, drop, is_capital, is_digit, is_name, is_named, is_value, peek, put,
    put_literal, skip, span_of, take,
)

from native._exchange_py import LENGTH_DIGITS_MAX as _LENGTH_DIGITS_MAX
from native._exchange_py import NAME_CHARS_MAX as _NAME_CHARS_MAX


cdef enum:
    NAME_CHARS_MAX = 64
    LENGTH_DIGITS_MAX = 9
    NAMES_KEPT = 64

cdef list _raw = [None] * NAMES_KEPT    # names of fields as they came, each in its place
cdef list _lower = [None] * NAMES_KEPT  # the same in lower case

assert (NAME_CHARS_MAX, LENGTH_DIGITS_MAX) == (_NAME_CHARS_MAX, _LENGTH_DIGITS_MAX)


cdef inline bint is_whole(Span text) noexcept:
    """Tell whether a text stays on its line."""
    cdef Py_ssize_t i
    for i in range(text.size):
        if text.at[i] in (c"\r", c"\n", c"\0"):
            return False
    return True


cdef inline bint put_word(Sheet* sheet, str word, bint may_part) except -1:
    """Write a word; False when it does not stay on its line, or in its place there."""
    cdef Span text
    text.at = PyUnicode_AsUTF8AndSize(word, &text.size)
    if not is_whole(text) or (not may_part and memchr(text.at, c" ", text.size) != NULL):
        return False
    put(sheet, text)
    return True


cdef inline bint put_field(Sheet* sheet, str name, str value) except -1:
    put_literal(sheet, b"\r\n")
    if not put_word(sheet, name, True):
        return False
    put_literal(sheet, b": ")
    return put_word(sheet, value, True)


cdef bint put_head(
    Sheet* sheet, str method, str target, str host, dict fields, Py_ssize_t length
) except -1:
    cdef char digits[24]
    cdef str name, value
    if not put_word(sheet, method, False):
        return False
    put_literal(sheet, b" ")
    if not put_word(sheet, target, False):
        return False
    put_literal(sheet, b" HTTP/1.1")
    if not put_field(sheet, "Host", host):
        return False
    for name, value in fields.items():
        if not put_field(sheet, name, value):
            return False
    if length or method == "POST" or method == "PUT" or method == "PATCH":
        put_literal(sheet, b"\r\nContent-Length: ")
        put(sheet, Span(&digits[0], snprintf(&digits[0], sizeof(digits), b"%zd", length)))
    put_literal(sheet, b"\r\n\r\n")
    return True


def write(
    str method not None, str target not None, *, str host not None, fields, bytes body not None
):
    """Write a request, byte for byte; None for words that would break out of their lines."""
    cdef Sheet sheet = Sheet(NULL, 0, 0)
    cdef dict named = fields if type(fields) is dict else dict(fields)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(body)
    try:
        if not put_head(&sheet, method, target, host, named, length):
            return None
        put(&sheet, Span(PyBytes_AS_STRING(body), length))
        return PyBytes_FromStringAndSize(sheet.data, sheet.size)
    except UnicodeEncodeError:
        return None
    finally:
        PyMem_Free(sheet.data)


cdef inline bint is_name_of_any_case(char letter) noexcept:
    return is_name(letter) or is_capital(letter)


cdef inline bint is_space(char letter) noexcept:
    return letter == c" " or letter == c"\t"


cdef inline bint is_further(Span name) noexcept:
    """Tell whether a field says what only a whole reader of HTTP minds."""
    return (
        is_named(name, b"transfer-encoding")
        or is_named(name, b"upgrade")
        or is_named(name, b"proxy-connection")
        or is_named(name, b"trailer")
        or is_named(name, b"expect")
    )


cdef inline Py_ssize_t length_of(Span digits) noexcept:
    cdef Py_ssize_t i, length = 0
    if not 0 < digits.size <= LENGTH_DIGITS_MAX or span_of(digits, is_digit) != digits.size:
        return -1
    for i in range(digits.size):
        length = length * 10 + (digits.at[i] - c"0")
    return length


cdef inline bint take_field(Span* text, Span* name, Span* value) noexcept:
    """Take a line with a field; False when it is not plain."""
    name.at = text.at
    name.size = span_of(text[0], is_name_of_any_case)
    if not 0 < name.size <= NAME_CHARS_MAX:
        return False
    drop(text, name.size)
    if not take(text, c":"):
        return False
    drop(text, span_of(text[0], is_space))
    value.at = text.at
    value.size = span_of(text[0], is_value)
    if value.size and is_space(value.at[value.size - 1]):
        return False
    drop(text, value.size)
    return skip(text, b"\r\n")


cdef inline str lower_of(Span name):
    cdef char lower[NAME_CHARS_MAX]
    cdef Py_ssize_t i
    for i in range(name.size):
        lower[i] = name.at[i] + 32 if is_capital(name.at[i]) else name.at[i]
    return PyUnicode_DecodeASCII(lower, name.size, NULL)


cdef inline str known(Span name):
    """Give a name in lower case, one that comes again and again without making it anew."""
    cdef int place = (name.size * 31 + name.at[0] * 7 + name.at[name.size - 1]) % NAMES_KEPT
    cdef bytes raw = _raw[place]
    if raw is None or PyBytes_GET_SIZE(raw) != name.size or memcmp(
        PyBytes_AS_STRING(raw), name.at, name.size
    ):
        _raw[place] = PyBytes_FromStringAndSize(name.at, name.size)
        _lower[place] = lower_of(name)
    return <str>_lower[place]


cdef inline int take_status(Span* text) noexcept:
    """Take the first line; 0 when it is not plain."""
    cdef int status = 0, i
    if not skip(text, b"HTTP/1.1 ") or text.size < 5 or not c"2" <= text.at[0] <= c"5":
        return 0
    for i in range(3):
        if not is_digit(text.at[i]):
            return 0
        status = status * 10 + (text.at[i] - c"0")
    drop(text, 3)
    if take(text, c" "):
        drop(text, span_of(text[0], is_value))
    return status if skip(text, b"\r\n") else 0


cdef dict take_fields(Span* text, Py_ssize_t* length):
    """Take the fields and the line that ends them, and the length they tell; None: not plain."""
    cdef Span name, value
    cdef dict fields = {}
    length[0] = -1
    while not skip(text, b"\r\n"):
        if not take_field(text, &name, &value) or is_further(name):
            return None
        if is_named(name, b"connection") and not is_named(value, b"keep-alive"):
            return None
        if is_named(name, b"content-length"):
            if length[0] >= 0:
                return None
            length[0] = length_of(value)
            if length[0] < 0:
                return None
        fields[known(name)] = as_text(value)
    return fields


def read(bytes data not None):
    """Read an answer: status, fields with their names in lower case, body; None: look closer."""
    cdef Span text = Span(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    cdef Py_ssize_t length
    cdef int status = take_status(&text)
    cdef dict fields
    if status == 0 or status == 204 or status == 304:
        return None
    fields = take_fields(&text, &length)
    if fields is None or length != text.size:
        return None
    return status, fields, PyBytes_FromStringAndSize(text.at, text.size)


cdef inline bint is_visible(char letter) noexcept:
    return c"!" <= letter <= c"~"


def read_request(bytes data not None):
    """Read a GET or a POST: method, target, fields, body; None: look closer."""
    cdef Span text = Span(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    cdef Span target
    cdef Py_ssize_t length
    cdef bint is_post = skip(&text, b"POST ")
    cdef dict fields
    if not is_post and not skip(&text, b"GET "):
        return None
    target.at = text.at
    target.size = span_of(text, is_visible)
    drop(&text, target.size)
    if peek(&target) != c"/" or not skip(&text, b" HTTP/1.1\r\n"):
        return None
    fields = take_fields(&text, &length)
    if fields is None or (length if length > 0 else 0) != text.size:
        return None
    body = PyBytes_FromStringAndSize(text.at, text.size)
    return "POST" if is_post else "GET", as_text(target), fields, body
