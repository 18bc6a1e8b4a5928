"""The short lane: a whole request of the plainest form is read and answered without aiohttp's help.

Nearly every request comes that way: in one piece, on a connection that waits for it, with nothing
said about framing but a length.  One expression reads its head, one task serves it and one write
answers it; the objects by which aiohttp gets over everything else cost three times as much as all
that.  Whatever this lane does not read goes the ordinary way, bytes and all.
"""

import re
import time
from typing import Final

from msgspec import Struct

from gateway.domain import limits
from gateway.faces.api.heads import HeadTimer

_HEAD_BYTES_MAX: Final = 8190  # what aiohttp takes of one line
# A target of letters that RFC 3986 has in paths and queries.
_LINE: Final = re.compile(rb"(GET|POST|DELETE) (/v1/[A-Za-z0-9\-._~!$&'()*+,;=:@/%?]*) HTTP/1\.1\r")
# A field of visible ASCII, without the blanks around its value: RFC 9110 section 5.5.  Those before
# it are taken for good, or a line of blanks alone would be tried in as many ways as it is long.
_FIELD: Final = re.compile(
    rb"\n([!#-'*+\-.^-z|~0-9A-Z]+):[ \t]*+((?:[!-~](?:[\t -~]*[!-~])?)?)[ \t]*\r(?=\n)"
)
_BATCH: Final = "/v1/payments/batch"


class Asked(Struct, frozen=True):
    """A signed request whose head was read.

    `body` is empty where it has to be read yet.  `came_at` is when its last bytes came, in seconds
    of the monotonic clock; `prefer` what its first Prefer header says (RFC 7240), or nothing.
    `peer` is where the connection comes from, told where somebody asks for it.  `kept_for` is the
    key for whose request the gate keeps room.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    prefer: str
    came_at: float
    body: bytes = b""
    peer: str = ""
    kept_for: str | None = None


def read_whole(data: bytes, came_at: float, *, kept_for: str | None = None) -> Asked | None:
    """Read a request, the whole of these bytes, of which framing was found to be plain.

    None when it goes the ordinary way: for letters that are not everywhere taken to mean the same,
    for its size, for a header that is there twice or not at all, or for an encoded body.
    """
    line = _LINE.match(data)
    end = data.find(b"\r\n\r\n")
    if line is None or not line.end() <= end <= _HEAD_BYTES_MAX:
        return None
    head = data[line.end() : end + 2]
    fields = _FIELD.findall(head)
    named = {name.lower(): value for name, value in fields}
    if not len(named) == len(fields) == head.count(b"\n") - 1 <= limits.HEADERS_COUNT_MAX:
        return None
    target = line[2].decode()
    is_odd = b"host" not in named or b"content-encoding" in named
    if is_odd or len(data) - end - 4 > body_bytes_max(target):
        return None
    prefer = named.get(b"prefer", b"").decode()
    method, body = line[1].decode(), data[end + 4 :]
    return Asked(method, target, tuple(fields), prefer, came_at, body, kept_for=kept_for)


def body_bytes_max(target: str) -> int:
    """Say how large a body may be: 500 payments need more room than one."""
    return limits.BATCH_BODY_BYTES_MAX if target == _BATCH else limits.BODY_BYTES_MAX


class ShortLane(HeadTimer):
    """aiohttp's protocol, which stands by while a request of the short lane is served.

    To aiohttp the connection idles meanwhile.  `came_at` is when bytes last came, in seconds of the
    monotonic clock; what comes before the answer waits for it in `_held`.
    """

    came_at = 0.0
    _is_serving = False
    _held = b""

    def data_received(self, data: bytes) -> None:
        """Take bytes in their turn."""
        self.came_at = time.monotonic()
        if not self._is_serving:
            self.take(data)
            return
        self._held += data
        assert self.transport is not None, "bytes came through it"
        self.transport.pause_reading()

    def take(self, data: bytes) -> None:
        """Take bytes while nothing is served in this lane."""
        super().data_received(data)

    def begin(self) -> None:
        """Begin to serve a request: `answer` ends it."""
        self._is_serving = True
        self._live_on()

    def answer(self, wire: bytes, *, closes: bool) -> None:
        """Write an answer, and go on with what came meanwhile."""
        self._is_serving = False
        if self.transport is None:
            return  # the caller is gone
        self.transport.write(wire)
        if closes:
            self.force_close()
            return
        self._live_on()
        held, self._held = self._held, b""
        if held:
            self.transport.resume_reading()
            self.take(held)

    def _live_on(self) -> None:
        """Count the time for which a connection may idle from now."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
