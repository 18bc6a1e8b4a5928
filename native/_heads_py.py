"""The heads of plain requests, read in plain Python: the specification of `_head.pxd` (RFC 9112).

Plain is what every reader of HTTP takes to mean the same.  The front serves it; whatever is not
plain is read by aiohttp, in the front's place and from the request's first byte.
"""

import re
from typing import Final, Literal, NamedTuple

from native.envelope import HEADERS_COUNT_MAX

HEAD_BYTES_MAX: Final = 8190  # before its empty line: what aiohttp takes of one line

_BEGINNINGS: Final = (b"GET /v1/", b"POST /v1/", b"DELETE /v1/")
# A target of letters that RFC 3986 has in paths and queries.
_LINE: Final = re.compile(rb"([A-Z]+) (/v1/[A-Za-z0-9\-._~!$&'()*+,;=:@/%?]*) HTTP/1\.1\r(?=\n)")
# A field of visible ASCII, without the blanks around its value: RFC 9110 section 5.5.  Those before
# it are taken for good, or a line of blanks alone would be tried in as many ways as it is long.
_FIELD: Final = re.compile(
    rb"\n([!#-'*+\-.^-z|~0-9A-Z]+):[ \t]*+((?:[!-~](?:[\t -~]*[!-~])?)?)[ \t]*\r(?=\n)"
)
_LENGTH: Final = re.compile(rb"[0-9]{1,6}")
_KEY_ID: Final = re.compile(rb'keyid="(key_[0-9a-f]{32})"')
# Whatever says more about framing or the connection than a length is not plain.
_ODD: Final = frozenset(
    {
        *(b"transfer-encoding", b"content-encoding", b"proxy-connection", b"upgrade", b"expect"),
        b"sec-websocket-key1",
    }
)


class Head(NamedTuple):
    """A plain request's head.

    `prefer` is what its Prefer header says (RFC 7240), or nothing; `key_id` the key that its
    signature names, of which nothing is proved.  `closes` says that the caller wants no further
    answer.  `size` is the head's own with its empty line, `body_bytes` the body's, both in bytes.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    prefer: str
    key_id: str | None
    closes: bool
    size: int
    body_bytes: int


def read(data: bytes) -> Head | Literal["more", "odd"]:
    """Read a head that begins here; `more` when it is not whole and may yet be plain."""
    if not any(begins[: len(data)] == data[: len(begins)] for begins in _BEGINNINGS):
        return "odd"
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX + 4)
    if end < 0:
        return "more" if len(data) < HEAD_BYTES_MAX + 4 else "odd"
    line = _LINE.match(data)
    if line is None or line.end() > end + 1:
        return "odd"
    head = data[line.end() : end + 2]
    fields = _FIELD.findall(head)
    named: dict[bytes, bytes] = {name.lower(): value for name, value in fields}
    if not len(named) == len(fields) == head.count(b"\n") - 1 <= HEADERS_COUNT_MAX:
        return "odd"
    length = named.get(b"content-length", b"0")
    closes = named.get(b"connection", b"keep-alive").lower()
    is_odd = b"host" not in named or not _ODD.isdisjoint(named)
    if is_odd or not _LENGTH.fullmatch(length) or closes not in {b"close", b"keep-alive"}:
        return "odd"
    key = _KEY_ID.search(named.get(b"signature-input", b""))
    return Head(
        method=line[1].decode(),
        target=line[2].decode(),
        headers=tuple(fields),
        prefer=named.get(b"prefer", b"").decode(),
        key_id=key[1].decode() if key else None,
        closes=closes == b"close",
        size=end + 4,
        body_bytes=int(length),
    )
