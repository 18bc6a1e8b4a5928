"""What bounds the front, the house's door for plain requests; shared by both who use it."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """How many connections, how large bodies, and how long each is waited for.

    A request that is not whole after `piece_seconds` is handed over with its connection; a
    connection without a request is closed after `idle_seconds`, and one that does not take its last
    answer `linger_seconds` after the end.  `batch` is the one target whose bodies may be larger.
    """

    connections_max: int
    body_bytes_max: int
    batch: bytes
    batch_bytes_max: int
    idle_seconds: float
    piece_seconds: float
    linger_seconds: float
