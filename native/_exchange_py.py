"""One exchange with an acquirer as bytes, in plain Python: the specification of `_exchange_c`.

HTTP/1.1 (RFC 9112): a request as it is written, and requests and answers as they are read when they
are plain: whole, in ASCII, their length told, and leaving the connection open.
"""

import re
from collections.abc import Mapping
from typing import Final

NAME_CHARS_MAX: Final = 64
LENGTH_DIGITS_MAX: Final = 9

_WITH_LENGTH: Final = frozenset({"POST", "PUT", "PATCH"})
_BREAKS: Final = re.compile("[\r\n\0]")
_ANSWER: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t -~]*)?\r\n")
_REQUEST: Final = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1\r\n")
_FIELD: Final = re.compile(
    rb"([!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}):[ \t]*((?:[!-~](?:[\t -~]*[!-~])?)?)\r\n"
    % NAME_CHARS_MAX
)
_LENGTH: Final = re.compile(rf"[0-9]{{1,{LENGTH_DIGITS_MAX}}}")
# What these say of the body or of the connection is for a whole reader of HTTP.
_FURTHER: Final = frozenset(
    {"transfer-encoding", "upgrade", "proxy-connection", "trailer", "expect"}
)
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

    Of two fields with one name the last one counts.
    """
    line = _ANSWER.match(data)
    rest = _rest(data, line.end()) if line is not None else None
    if line is None or rest is None:
        return None
    status, (fields, length, body) = int(line[1]), rest
    return (status, fields, body) if length == len(body) and status not in _BODILESS else None


def read_request(data: bytes) -> tuple[str, str, dict[str, str], bytes] | None:
    """Read a GET or a POST: method, target, fields as in an answer, body; None: look closer.

    Without a length there is no body.
    """
    line = _REQUEST.match(data)
    rest = _rest(data, line.end()) if line is not None else None
    if line is None or rest is None:
        return None
    fields, length, body = rest
    return (
        (line[1].decode(), line[2].decode(), fields, body) if (length or 0) == len(body) else None
    )


def _rest(data: bytes, at: int) -> tuple[dict[str, str], int | None, bytes] | None:
    """Read what follows the first line: fields, the length that they tell, and all that is left."""
    fields: dict[str, str] = {}
    length = None
    while not data.startswith(b"\r\n", at):
        field = _FIELD.match(data, at)
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
    return fields, length, data[at + 2 :]
