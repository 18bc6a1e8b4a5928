"""One exchange with an acquirer as bytes, in plain Python: the specification of `_exchange_c`.

HTTP/1.1 (RFC 9112): the request as it is written, and the answer as it is read when it is plain.
"""

import re
from collections.abc import Mapping
from typing import Final

NAME_CHARS_MAX: Final = 64
LENGTH_DIGITS_MAX: Final = 9

_WITH_LENGTH: Final = frozenset({"POST", "PUT", "PATCH"})
_BREAKS: Final = re.compile("[\r\n\0]")
_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t -~]*)?\r\n((?:[^\r\n]+\r\n)*)\r\n(.*)", re.DOTALL
)
_FIELD: Final = re.compile(
    rb"([!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}):[ \t]*((?:[!-~](?:[\t -~]*[!-~])?)?)\r\n"
    % NAME_CHARS_MAX
)
_LENGTH: Final = re.compile(rf"[0-9]{{1,{LENGTH_DIGITS_MAX}}}")
# What these say of the body or of the connection is for a whole reader of HTTP.
_FURTHER: Final = frozenset({"transfer-encoding", "upgrade", "proxy-connection", "trailer"})
_BODILESS: Final = frozenset({204, 304})


def write(
    method: str, target: str, *, host: str, fields: Mapping[str, str], body: bytes
) -> bytes | None:
    """Write a request, byte for byte; None for words that would break out of their lines.

    The length of the body is told where there is one, and where the method means one.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if body or method in _WITH_LENGTH:
        lines.append(f"Content-Length: {len(body)}")
    if " " in method or " " in target or any(map(_BREAKS.search, lines)):
        return None
    try:
        head = "\r\n".join(lines).encode()
    except UnicodeEncodeError:
        return None
    return b"%b\r\n\r\n%b" % (head, body)


def read(data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """Read an answer: status, fields with their names in lower case, body; None: look closer.

    Told is what came whole, in plain ASCII, with its length, and leaves the connection open; of two
    fields with one name the last one counts.
    """
    whole = _HEAD.fullmatch(data)
    if whole is None:
        return None
    status, text, body = int(whole[1]), whole[2], whole[3]
    fields: dict[str, str] = {}
    at, length = 0, None
    while at < len(text):
        field = _FIELD.match(text, at)
        if field is None:
            return None
        name, value, at = field[1].decode().lower(), field[2].decode(), field.end()
        if name in _FURTHER or (name == "connection" and value.lower() != "keep-alive"):
            return None
        if name == "content-length":
            if length is not None or not _LENGTH.fullmatch(value):
                return None
            length = int(value)
        fields[name] = value
    if length != len(body) or status in _BODILESS:
        return None
    return status, fields, body
