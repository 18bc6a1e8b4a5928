"""The gate before the door: while the house is full a request is refused before it is parsed.

A whole request that comes in one piece is read with one regular expression, and when there is no
room for it the answer leaves as prepared bytes, at a tenth of what parsing alone would cost.  The
key it names says who would have to wait; it proves nothing, so nothing is charged to anybody here,
and the admission step looks again once the signature is verified.  Everything that is not plain
(pipelined, chunked, upgraded, cut in odd places) goes the ordinary way, and the same admission step
meets it there.
"""

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from gateway.admission.service import Refused, problem_of
from gateway.domain.errors import Problem
from gateway.faces.api.lane import Asked, ShortLane, body_bytes_max, read_whole
from gateway.faces.api.reply import Reply

_LINE: Final = re.compile(rb"(GET|POST|DELETE) (/v1/[!-~]{0,4000}) HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,6})\r\n")
# Whatever says more about framing or the connection than a length is not plain.  One look at each
# line's first letters finds nearly every head without such a word, at a third of the price.
_ODD: Final = tuple(
    b"\r\n" + word
    for word in (b"transfer-encoding", b"upgrade", b"expect", b"connection", b" ", b"\t")
)
_PERHAPS_ODD: Final = re.compile(rb"\n(?:tra|up|ex|conn|[ \t])")
_KEPT: Final = b"\r\nconnection: keep-alive\r\n"
_KEY_ID: Final = re.compile(rb'keyid="(key_[0-9a-f]{32})"')
_HEAD_BYTES_MAX: Final = 16 * 1024
# It stands where each answer has its own, and is as long.
_NO_ID: Final = f"req_{'-' * 24}"


class Plain(NamedTuple):
    """A plain request of which the whole head is there; `size` counts head and body, in bytes."""

    method: str
    path: str
    key_id: str | None
    size: int


def read_plain(data: bytes) -> Plain | None:
    """Read a head that begins here; None when it is not whole or not plain.

    Framing is that of RFC 9112 section 6.3 where there is at most one Content-Length and no
    Transfer-Encoding.
    """
    line = _LINE.match(data)
    end = data.find(b"\r\n\r\n", 0, _HEAD_BYTES_MAX) if line else -1
    if line is None or end < 0:
        return None
    head = data[line.end() - 2 : end + 2]
    lower = head.lower()
    lengths = _LENGTH.findall(lower)
    if len(lengths) != lower.count(b"\r\ncontent-length") or len(lengths) > 1:
        return None
    if lower.count(b"\n") != lower.count(b"\r\n"):
        return None
    if _PERHAPS_ODD.search(lower) is not None:
        lower = lower.replace(_KEPT, b"\r\n", 1)
        if any(word in lower for word in _ODD):
            return None
    key = _KEY_ID.search(head)
    return Plain(
        line[1].decode(),
        line[2].partition(b"?")[0].decode(),
        key[1].decode() if key else None,
        end + 4 + (int(lengths[0]) if lengths else 0),
    )


class Doorman(Protocol):
    """Who decides at the gate."""

    def refuse(self, plain: Plain) -> bytes | None:
        """Give the answer that refuses this request; None when there is room for it."""
        ...

    def let_in(self) -> None:
        """Hear that a request was let in and has no seat yet."""
        ...

    def came(self) -> None:
        """Hear that a request which was let in is being served, or will never be."""
        ...

    def serve(self, asked: Asked, gate: "Gate") -> None:
        """Serve a request of the short lane and answer it there."""
        ...


class Gate(ShortLane):
    """aiohttp's protocol and the short lane beside it, behind the gate.

    `doorman` is set when the connection is made.  `_owed` are bytes of a body that are still to
    come, `_unread` whether nobody is to read them, because their request was refused already.
    `_is_plain` ends for good where we lose track of where the next request begins.
    """

    doorman: Doorman
    _is_plain = True
    _owed = 0
    _unread = False
    _is_let_in = False

    def take(self, data: bytes) -> None:
        """Refuse a whole request here, let it into the short lane, or hand the bytes on."""
        if self._owed and data:
            data = self._rest_of(data)
            if not data:
                return
        elif self._is_plain and data and self._is_met(data):
            return
        super().take(data)

    def taken_over(self) -> None:
        """Hear that the request is being served."""
        if self._is_let_in:
            self._is_let_in = False
            self.doorman.came()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room again."""
        self.taken_over()
        super().connection_lost(exc)

    def _is_met(self, data: bytes) -> bool:
        """Meet a request that begins here, if it is plain: refuse it or have it served."""
        plain = read_plain(data) if self._is_idle() else None
        most = 0 if plain is None else _HEAD_BYTES_MAX + body_bytes_max(plain.path)
        if plain is None or not len(data) <= plain.size <= most:
            self._is_plain = False
            return False
        self._owed = plain.size - len(data)
        refusal = self.doorman.refuse(plain)
        if refusal is None:
            return not self._owed and self._is_let_through(data, plain)
        assert self.transport is not None, "it is connected"
        self._unread = self._owed > 0
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self.transport.write(refusal)
        return True

    def _is_let_through(self, data: bytes, plain: Plain) -> bool:
        """Let a whole request in; tell whether it goes through the short lane."""
        self._is_let_in = True
        self.doorman.let_in()
        asked = read_whole(data, self.came_at, kept_for=plain.key_id)
        if asked is None:
            return False
        self.begin()
        self.doorman.serve(asked, self)
        return True

    def _is_idle(self) -> bool:
        if self._close or self._force_close or self._messages or self._paused:
            return False
        waiter = self._waiter  # None before aiohttp waits for the first request
        return not waiter.done() if waiter is not None else self._request_count == 0

    def _rest_of(self, data: bytes) -> bytes:
        """Take what is owed of a body; gives what is to be read of this data."""
        count = min(len(data), self._owed)
        self._owed -= count
        is_unread, self._unread = self._unread, self._unread and self._owed > 0
        if count < len(data):
            self._is_plain = False
        return data[count:] if is_unread else data


class Refusals:
    """Refusals as the bytes that `make` leads to; only the id is put in for each."""

    def __init__(self, make: Callable[[Problem, str], Reply]) -> None:
        self._make = make
        self._second = 0
        self._dated: dict[Refused, list[bytes]] = {}

    def written(self, refused: Refused, request_id: str) -> bytes:
        """Write a refusal under this id."""
        second = int(time.time())
        if self._second != second:
            self._second = second
            self._dated.clear()
        pieces = self._dated.get(refused)
        if pieces is None:
            wire = self._make(problem_of(refused), _NO_ID).on_the_wire(closes=False)
            pieces = self._dated[refused] = wire.split(_NO_ID.encode())
        return request_id.encode().join(pieces)
