"""Reads signed requests for the verify step, in plain Python: the specification of `_signature_c`.

A request is signed by HTTP Message Signatures (RFC 9421) and carries a Content-Digest (RFC 9530).
The profile is narrow: one signature, no component parameters, and only texts that a writer of
Structured Fields (RFC 9651) would write the same way again, so that the base can end with the
received parameters byte for byte.  The compiled twin behaves alike: a change lands in both.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn, final

from native.envelope import HEADERS_COUNT_MAX, NONCE_CHARS_MAX, Envelope, SignatureProblem

Headers = Sequence[tuple[bytes, bytes]]

_SINGLE: Final = (b"signature", b"signature-input", b"content-digest", b"idempotency-key")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

# CONNECT has no origin form (RFC 9112 section 3.2.1), the only one that is read here.
_METHOD: Final = re.compile(r"(?!CONNECT\Z)[A-Z]+")
_PCHAR: Final = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
_TARGET: Final = re.compile(rf"/(?:{_PCHAR})*(?:\?(?:{_PCHAR}|\?)*)?")
# A field value on a line of the base (RFC 9421 section 2.1): printable ASCII and tabs.
_VALUE: Final = re.compile(rb"[\t -~]*")

_LABEL: Final = r"(?P<label>[a-z*][a-z0-9_.*-]*)"
_NAME: Final = r'"@?[a-z0-9!#$%&\'*+.^_`|~-]+"'
_COVERED: Final = re.compile(rf"{_LABEL}=(?P<value>\((?P<names>{_NAME}(?: {_NAME})*)?\))")
# Eleven digits last until the year 5138.
_PARAMETER: Final = re.compile(
    r";(?:(created|expires)=(0|[1-9][0-9]{0,10})"
    r'|(keyid|alg|nonce|tag)="((?:[ !#-\[\]-~]|\\["\\])*)")'
)
_SIGNATURE: Final = re.compile(rf"{_LABEL}=:(?P<base64>[A-Za-z0-9+/=]+):")
_DIGEST: Final = re.compile(r"(?P<algorithm>sha-256|sha-512)=:(?P<base64>[A-Za-z0-9+/=]+):")
_HASHES: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


def read(  # noqa: PLR0917  (a request is four things, and this server is two)
    method: str,
    target: str,
    headers: Headers,
    body: bytes,
    scheme: str,
    authorities: frozenset[str],
) -> Envelope:
    """Read a signed request and check all that needs neither a key nor a clock.

    Args:
        method: The method as received.
        target: The raw request target as received: path, and query after a question mark.
        headers: All fields in order, at most 48; a list or tuple of pairs of exact bytes.
        body: The exact bytes received.
        scheme: How this server is reached, `http` or `https`.
        authorities: The public names of this server as RFC 9421 section 2.2.3 writes them: lower
            case, with the port unless it is the scheme's own.

    Raises:
        SignatureProblem: The request is refused.
        TypeError: An argument is not of exactly the type above.
        ValueError: The scheme is another one.
    """
    _require_type(body, bytes)
    request = _request(method, target, headers, scheme, authorities)
    if not {b"signature", b"signature-input"} <= request.fields.keys():
        raise SignatureProblem("signature_missing", "Signature and Signature-Input are required.")
    given = _Input(request)
    signature = _checked_signature(request.text("signature"), given.label)
    created, key_id = given.parameters.get("created"), given.parameters.get("keyid")
    if created is None or key_id is None:
        _malformed("The parameters created and keyid are required.")
    if len(given.parameters.get("nonce", "")) > NONCE_CHARS_MAX:
        _malformed("The nonce is too long.")
    _check_coverage(request, given.names, has_body=bool(body))
    if (digest := request.text_or_none("content-digest")) is not None:
        _check_digest(digest, body)
    expires = given.parameters.get("expires")
    return Envelope(
        key_id,
        given.parameters.get("alg"),
        int(created),
        None if expires is None else int(expires),
        given.base,
        signature,
        request.text_or_none("idempotency-key"),
        hashlib.sha256(body).digest(),
    )


def signature_base(
    method: str, target: str, headers: Headers, scheme: str, authorities: frozenset[str]
) -> bytes:
    """Build the base that the request's Signature-Input asks for (RFC 9421 section 2.5).

    This is what a client signs, and what `read` verifies after asking for more coverage.  The
    arguments and errors are those of `read`.
    """
    request = _request(method, target, headers, scheme, authorities)
    if b"signature-input" not in request.fields:
        raise SignatureProblem("signature_missing", "Signature-Input is required.")
    return _Input(request).base


@final
class HmacKey:
    """A shared secret for `hmac-sha256` (RFC 9421 section 3.3.3): bytes of any length but none."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        _require_type(secret, bytes)
        if not secret:
            raise ValueError("an empty secret keeps nothing")
        self._secret: Final = secret

    def sign(self, base: bytes) -> bytes:
        """Give the 32 bytes of HMAC-SHA256 over a signature base."""
        _require_type(base, bytes)
        return hmac.digest(self._secret, base, "sha256")

    def verify(self, base: bytes, signature: bytes) -> bool:
        """Tell, in constant time, whether this key signed this base."""
        _require_type(signature, bytes)
        return hmac.compare_digest(self.sign(base), signature)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not travel")


class _Request(NamedTuple):
    """A request with its fields by lower-case name, trimmed and joined (RFC 9421 section 2.1)."""

    method: str
    target: str
    fields: dict[bytes, bytes]
    scheme: str
    authorities: frozenset[str]

    def text(self, name: str) -> str:
        """Give a field's value, or refuse what cannot stand on a line of the base."""
        value = self.fields.get(name.encode())
        if value is None:
            _malformed("A covered field is not in the request.")
        if not _VALUE.fullmatch(value):
            _malformed("A field of the signature is not plain ASCII.")
        return value.decode()

    def text_or_none(self, name: str) -> str | None:
        """Give a field's value, or None when the request does not carry it."""
        return self.text(name) if name.encode() in self.fields else None

    def component(self, name: str) -> str:
        """Give the value of one covered component (RFC 9421 sections 2.1 and 2.2)."""
        match name:
            case "@method":
                value = self.method
            case "@path":
                value = self.target.partition("?")[0]
            case "@query":
                value = "?" + self.target.partition("?")[2]
            case "@request-target":
                value = self.target
            case "@target-uri":
                self._authority()
                value = f"{self.scheme}://{self.text('host')}{self.target}"
            case "@authority":
                value = self._authority()
            case "@scheme":
                value = self.scheme
            # Several Set-Cookie lines cannot be joined (RFC 9421 section 2.1); no request has one.
            case _ if name[0] == "@" or name == "set-cookie":
                _malformed("A covered component is not supported.")
            case _:
                value = self.text(name)
        return value

    def _authority(self) -> str:
        host = self.text("host").lower()
        authority = host.removesuffix(_DEFAULT_PORTS[self.scheme])
        if authority not in self.authorities:
            _malformed("The authority is not one of this server's names.")
        return authority


class _Input:
    """The one member of Signature-Input, and the base it asks for."""

    def __init__(self, request: _Request) -> None:
        text = request.text("signature-input")
        covered = _COVERED.match(text)
        if covered is None:
            _malformed("Signature-Input does not hold one plain list of components.")
        names = [name[1:-1] for name in (covered["names"] or "").split()]
        if len(names) != len(set(names)):
            _malformed("A component is covered twice.")
        lines = [f'"{name}": {request.component(name)}' for name in names]
        value = text[covered.start("value") :]
        lines.append(f'"@signature-params": {value}')
        self.label: Final = covered["label"]
        self.names: Final = frozenset(names)
        self.parameters: Final = _parameters(text[covered.end() :])
        self.base: Final = "\n".join(lines).encode()


def _parameters(text: str) -> dict[str, str]:
    """Read the parameters (RFC 9421 section 2.3), strings without their escapes."""
    found: dict[str, str] = {}
    end = 0
    while end < len(text):
        parameter = _PARAMETER.match(text, end)
        name = parameter[1] or parameter[3] if parameter else ""
        if parameter is None or name in found:
            _malformed("A parameter is not known, not well formed, or given twice.")
        found[name] = parameter[2] or re.sub(r"\\(.)", r"\1", parameter[4])
        end = parameter.end()
    return found


def _checked_signature(text: str, label: str) -> bytes:
    member = _SIGNATURE.fullmatch(text)
    signature = _decoded(member["base64"]) if member is not None else None
    if member is None or member["label"] != label or not signature:
        _malformed("Signature does not hold the one byte sequence that Signature-Input names.")
    return signature


def _check_coverage(request: _Request, names: frozenset[str], *, has_body: bool) -> None:
    whole = "@target-uri" in names
    if "@method" not in names:
        _incomplete("@method is not covered.")
    if not whole and "@path" not in names:
        _incomplete("@path is not covered.")
    if not whole and "?" in request.target and "@query" not in names:
        _incomplete("@query is not covered.")
    if (has_body or b"content-digest" in request.fields) and "content-digest" not in names:
        _incomplete("content-digest is not covered.")
    if b"idempotency-key" in request.fields and "idempotency-key" not in names:
        _incomplete("idempotency-key is not covered.")


def _check_digest(text: str, body: bytes) -> None:
    """Compare a Content-Digest: sha-256, and sha-512 if the client adds it, nothing else."""
    members: dict[str, bytes] = {}
    for member in _COMMA.split(text):
        digest = _DIGEST.fullmatch(member)
        value = _decoded(digest["base64"]) if digest is not None else None
        if digest is None or value is None or digest["algorithm"] in members:
            _mismatch("Content-Digest is not well formed.")
        members[digest["algorithm"]] = value
    if "sha-256" not in members:
        _mismatch("Content-Digest does not hold sha-256.")
    for algorithm, value in members.items():
        if not hmac.compare_digest(value, _HASHES[algorithm](body).digest()):
            _mismatch("Content-Digest does not fit the body.")


def _request(
    method: str, target: str, headers: Headers, scheme: str, authorities: frozenset[str]
) -> _Request:
    for text in (method, target, scheme):
        _require_type(text, str)
    _require_type(authorities, frozenset)
    if type(headers) is not tuple:
        _require_type(headers, list)
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("scheme must be http or https")
    request = _Request(method, target, _fields(headers), scheme, authorities)
    if not _METHOD.fullmatch(method):
        _malformed("The method is not in plain capitals.")
    if not _TARGET.fullmatch(target):
        _malformed("The request target is not a plain path and query.")
    return request


def _fields(headers: Headers) -> dict[bytes, bytes]:
    if len(headers) > HEADERS_COUNT_MAX:
        _malformed("There are too many header fields.")
    fields: dict[bytes, bytes] = {}
    for pair in headers:
        _require_type(pair, tuple)
        name, value = pair
        _require_type(name, bytes)
        _require_type(value, bytes)
        lower, trimmed = name.lower(), value.strip(b" \t")
        if lower not in fields:
            fields[lower] = trimmed
        elif lower in _SINGLE:
            _malformed("A header field of the signature is given twice.")
        else:
            fields[lower] += b", " + trimmed
    return fields


def _decoded(text: str) -> bytes | None:
    """Decode base64 of exact length and padding without spare bits (RFC 4648 section 3.5)."""
    try:
        value = b64decode(text)
    except Base64Error:
        return None
    return value if b64encode(value) == text.encode() else None


def _require_type(value: object, wanted: type) -> None:
    """Ask for exactly this type, as the compiled twin does."""
    if type(value) is not wanted:
        raise TypeError(f"expected {wanted.__name__}, got {type(value).__name__}")


def _malformed(detail: str) -> NoReturn:
    raise SignatureProblem("signature_malformed", detail)


def _incomplete(detail: str) -> NoReturn:
    raise SignatureProblem("signature_incomplete", detail)


def _mismatch(detail: str) -> NoReturn:
    raise SignatureProblem("digest_mismatch", detail)
