# cython: boundscheck=False, wraparound=False
"""Reads signed requests for the verify step, compiled: `_signature_py` is its specification.

One pass over Signature-Input writes the base while it reads.  A `Span` is a piece of somebody's
bytes: borrowed, not ended by a zero, and kept alive by the request that is being read.
"""

import re
from hashlib import sha256, sha512
from hmac import compare_digest

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr

from native._input cimport (
    AUTHORITY,
    METHOD,
    PATH,
    QUERY,
    REQUEST_TARGET,
    SCHEME,
    TARGET_URI,
    Given,
    read_parameters,
    take_name,
)
from native._request cimport FIELDS_MAX, Field, Request, has_bit, is_method, note_field, split_target
from native._spans cimport (
    Sheet,
    Span,
    as_text,
    is_equal,
    is_lower_of,
    is_same,
    is_value,
    put,
    put_literal,
    skip,
    span_of,
    take,
    take_base64,
    take_label,
    trimmed,
)

from native.envelope import HEADERS_COUNT_MAX, NONCE_CHARS_MAX, Envelope, SignatureProblem

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text) noexcept

assert FIELDS_MAX == HEADERS_COUNT_MAX


# === The public functions ===


def read(
    str method not None,
    str target not None,
    headers not None,
    bytes body not None,
    str scheme not None,
    frozenset authorities not None,
):
    """See `native._signature_py.read`."""
    cdef Request request
    cdef Given given
    cdef bytes base, signature, digest
    cdef tuple pairs = as_pairs(headers)
    cdef int key
    fill_request(&request, method, target, pairs, scheme)
    if request.signature < 0 or request.signature_input < 0:
        raise SignatureProblem("signature_missing", "Signature and Signature-Input are required.")
    base = read_input(&request, &given, authorities)
    signature = read_signature(request.fields[request.signature].value, given.label)
    if given.created < 0 or given.key_id.at == NULL:
        malformed("The parameters created and keyid are required.")
    if given.nonce.at != NULL and len(as_string(given.nonce)) > NONCE_CHARS_MAX:
        malformed("The nonce is too long.")
    check_coverage(&request, &given, len(body) > 0)
    digest = sha256(body).digest()
    if request.content_digest >= 0:
        check_digest(request.fields[request.content_digest].value, body, digest)
    key = request.idempotency_key
    return Envelope(
        as_string(given.key_id),
        as_string(given.algorithm),
        given.created,
        None if given.expires < 0 else given.expires,
        base,
        signature,
        None if key < 0 else as_text(request.fields[key].value),
        digest,
    )


def signature_base(
    str method not None,
    str target not None,
    headers not None,
    str scheme not None,
    frozenset authorities not None,
):
    """See `native._signature_py.signature_base`."""
    cdef Request request
    cdef Given given
    cdef tuple pairs = as_pairs(headers)
    fill_request(&request, method, target, pairs, scheme)
    if request.signature_input < 0:
        raise SignatureProblem("signature_missing", "Signature-Input is required.")
    return read_input(&request, &given, authorities)


cdef class HmacKey:
    """See `native._signature_py.HmacKey`.

    HMAC (RFC 2104) hashes one padded form of the key with the text, and another one with the digest
    of the first.  The hashes of both forms are begun once here, and copied for each signature.
    """

    cdef object _inner
    cdef object _outer

    def __init__(self, bytes secret not None):
        if not secret:
            raise ValueError("an empty secret keeps nothing")
        key = secret if len(secret) <= 64 else sha256(secret).digest()
        key = key.ljust(64, b"\0")
        self._inner = sha256(bytes([letter ^ 0x36 for letter in key]))
        self._outer = sha256(bytes([letter ^ 0x5C for letter in key]))

    def sign(self, bytes base not None):
        inner = self._inner.copy()
        inner.update(base)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def verify(self, bytes base not None, bytes signature not None):
        return compare_digest(self.sign(base), signature)

    def __reduce__(self):
        raise TypeError("a secret does not travel")


# === The request ===


cdef tuple as_pairs(headers):
    if type(headers) is tuple:
        return <tuple>headers
    if type(headers) is list:
        return tuple(<list>headers)
    raise TypeError(f"expected list, got {type(headers).__name__}")


cdef int fill_request(
    Request* request, str method, str target, tuple headers, str scheme
) except -1:
    if scheme != "http" and scheme != "https":
        raise ValueError("scheme must be http or https")
    request.scheme.at = PyUnicode_AsUTF8AndSize(scheme, &request.scheme.size)
    fill_fields(request, headers)
    if not PyUnicode_IS_ASCII(method):
        malformed("The method is not in plain capitals.")
    request.method.at = PyUnicode_AsUTF8AndSize(method, &request.method.size)
    if not is_method(request.method):
        malformed("The method is not in plain capitals.")
    if not PyUnicode_IS_ASCII(target):
        malformed("The request target is not a plain path and query.")
    request.target.at = PyUnicode_AsUTF8AndSize(target, &request.target.size)
    if not split_target(request):
        malformed("The request target is not a plain path and query.")
    return 0


cdef int fill_fields(Request* request, tuple headers) except -1:
    cdef Field* field
    request.signature = request.signature_input = request.content_digest = -1
    request.idempotency_key = request.host = -1
    request.host_twice = False
    request.count = 0
    if len(headers) > FIELDS_MAX:
        malformed("There are too many header fields.")
    for pair in headers:
        if type(pair) is not tuple:
            raise TypeError(f"expected tuple, got {type(pair).__name__}")
        name, value = <tuple>pair
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("a header field must be two bytes objects")
        field = &request.fields[request.count]
        field.name = Span(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        field.value = trimmed(Span(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)))
        if not note_field(request, field.name):
            malformed("A header field of the signature is given twice.")
        request.count += 1
    return 0


# === Signature-Input and the base ===


cdef bytes read_input(Request* request, Given* given, frozenset authorities):
    cdef Sheet sheet = Sheet(NULL, 0, 0)
    try:
        write_base(request, given, &sheet, authorities)
        return PyBytes_FromStringAndSize(sheet.data, sheet.size)
    finally:
        PyMem_Free(sheet.data)


cdef int write_base(
    Request* request, Given* given, Sheet* sheet, frozenset authorities
) except -1:
    cdef Span text = request.fields[request.signature_input].value
    cdef Span value, name
    given.covered = given.derived = 0
    given.label = take_label(&text)
    if not given.label.size or not skip(&text, b"=("):
        malformed("Signature-Input does not hold one plain list of components.")
    value = Span(text.at - 1, text.size + 1)
    while not take(&text, c")"):
        if given.covered | given.derived and not take(&text, c" "):
            malformed("Signature-Input does not hold one plain list of components.")
        name = take_name(&text)
        if not name.size:
            malformed("Signature-Input does not hold one plain list of components.")
        put(sheet, Span(name.at - 1, name.size + 2))
        put_literal(sheet, b": ")
        if name.at[0] == c"@":
            write_derived(request, given, sheet, name, authorities)
        else:
            write_field(request, given, sheet, name)
        put_literal(sheet, b"\n")
    put_literal(sheet, b'"@signature-params": ')
    put(sheet, value)
    if not read_parameters(text, given):
        malformed("A parameter is not known, not well formed, or given twice.")
    return 0


cdef int write_derived(
    Request* request, Given* given, Sheet* sheet, Span name, frozenset authorities
) except -1:
    """Write the value of a derived component (RFC 9421 section 2.2)."""
    cdef uint32_t bit = 0
    if is_same(name, b"@method"):
        bit = METHOD
        put(sheet, request.method)
    elif is_same(name, b"@path"):
        bit = PATH
        put(sheet, request.path)
    elif is_same(name, b"@query"):
        bit = QUERY
        put(sheet, request.query)
    elif is_same(name, b"@request-target"):
        bit = REQUEST_TARGET
        put(sheet, request.target)
    elif is_same(name, b"@target-uri"):
        bit = TARGET_URI
        authority_of(request, authorities)
        put(sheet, request.scheme)
        put_literal(sheet, b"://")
        put(sheet, request.fields[request.host].value)
        put(sheet, request.target)
    elif is_same(name, b"@authority"):
        bit = AUTHORITY
        authority = authority_of(request, authorities).encode()
        put(sheet, Span(PyBytes_AS_STRING(authority), PyBytes_GET_SIZE(authority)))
    elif is_same(name, b"@scheme"):
        bit = SCHEME
        put(sheet, request.scheme)
    else:
        malformed("A covered component is not supported.")
    if given.derived & bit:
        malformed("A component is covered twice.")
    given.derived |= bit
    return 0


cdef int write_field(Request* request, Given* given, Sheet* sheet, Span name) except -1:
    """Write the values of a header field, joined as RFC 9421 section 2.1 has it."""
    cdef int i
    cdef bint found = False
    # Several Set-Cookie lines cannot be joined (RFC 9421 section 2.1); no request has one.
    if is_same(name, b"set-cookie"):
        malformed("A covered component is not supported.")
    for i in range(request.count):
        if not is_lower_of(request.fields[i].name, name):
            continue
        if has_bit(given.covered, i):
            malformed("A component is covered twice.")
        given.covered |= <uint64_t>1 << i
        if found:
            put_literal(sheet, b", ")
        found = True
        if span_of(request.fields[i].value, is_value) != request.fields[i].value.size:
            malformed("A field of the signature is not plain ASCII.")
        put(sheet, request.fields[i].value)
    if not found:
        malformed("A covered field is not in the request.")
    return 0


cdef str authority_of(Request* request, frozenset authorities):
    """Normalise the Host (RFC 9421 section 2.2.3); it must be one of this server's names."""
    cdef Span value
    cdef str host = None
    if request.host >= 0 and not request.host_twice:
        value = request.fields[request.host].value
        if span_of(value, is_value) == value.size:
            port = ":443" if is_same(request.scheme, b"https") else ":80"
            host = as_text(value).lower().removesuffix(port)
    if host is None or host not in authorities:
        malformed("The authority is not one of this server's names.")
    return host


# === Signature, coverage and digest ===


cdef bytes read_signature(Span text, Span label):
    cdef Span own = take_label(&text)
    cdef bytes signature = take_base64(&text) if skip(&text, b"=:") else None
    if signature is None or text.size or not is_equal(own, label):
        malformed("Signature does not hold the one byte sequence that Signature-Input names.")
    return signature


cdef int check_coverage(Request* request, Given* given, bint has_body) except -1:
    cdef bint whole = given.derived & TARGET_URI
    if not given.derived & METHOD:
        incomplete("@method is not covered.")
    if not whole and not given.derived & PATH:
        incomplete("@path is not covered.")
    if not whole and request.path.size < request.target.size and not given.derived & QUERY:
        incomplete("@query is not covered.")
    if (has_body or request.content_digest >= 0) and not has_bit(
        given.covered, request.content_digest
    ):
        incomplete("content-digest is not covered.")
    if request.idempotency_key >= 0 and not has_bit(given.covered, request.idempotency_key):
        incomplete("idempotency-key is not covered.")
    return 0


cdef int check_digest(Span text, bytes body, bytes digest) except -1:
    """Compare a Content-Digest: sha-256, and sha-512 if the client adds it, nothing else."""
    cdef bytes value, value256 = None, value512 = None
    cdef bint more = True
    while more:
        value = None
        if value256 is None and skip(&text, b"sha-256=:"):
            value = value256 = take_base64(&text)
        elif value512 is None and skip(&text, b"sha-512=:"):
            value = value512 = take_base64(&text)
        text = trimmed(text)
        more = take(&text, c",")
        if value is None or (text.size and not more):
            mismatch("Content-Digest is not well formed.")
        text = trimmed(text)
    if value256 is None:
        mismatch("Content-Digest does not hold sha-256.")
    if not compare_digest(value256, digest) or (
        value512 is not None and not compare_digest(value512, sha512(body).digest())
    ):
        mismatch("Content-Digest does not fit the body.")
    return 0


cdef str as_string(Span text):
    """Decode a Structured Fields string that was taken with its escapes."""
    if text.at == NULL or memchr(text.at, c"\\", text.size) == NULL:
        return as_text(text)
    return re.sub(r"\\(.)", r"\1", as_text(text))


# === Refusals ===


cdef int malformed(str detail) except -1:
    raise SignatureProblem("signature_malformed", detail)


cdef int incomplete(str detail) except -1:
    raise SignatureProblem("signature_incomplete", detail)


cdef int mismatch(str detail) except -1:
    raise SignatureProblem("digest_mismatch", detail)
