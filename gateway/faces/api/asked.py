"""What the door hands on, before anybody knows whose it is: a request whose head was read."""

from typing import Final

from msgspec import Struct

from gateway.domain import limits

BATCH: Final = "/v1/payments/batch"
# A request's method, its target without the query, and the key that it names, not proved.
Asks = tuple[str, str, str | None]


class Asked(Struct, frozen=True):
    """A signed request whose head was read.

    `body` is empty where it has to be read yet.  `came_at` is when its last bytes came, in seconds
    of the monotonic clock; `prefer` what its first Prefer header says (RFC 7240), or nothing.
    `peer` is where the connection comes from, told where somebody asks for it.  `kept_for` is the
    key for whose request the front keeps room.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    prefer: str
    came_at: float
    body: bytes = b""
    peer: str = ""
    kept_for: str | None = None


def wishes(asked: Asked) -> str:
    """Give what all its Prefer headers say, in small letters: names come in either (RFC 7240)."""
    if not asked.prefer:
        return ""
    said = (value for name, value in asked.headers if name.lower() == b"prefer")
    return b", ".join(said).decode("latin-1").lower()


def body_bytes_max(target: str) -> int:
    """Say how large a body may be: 500 payments need more room than one."""
    return limits.BATCH_BODY_BYTES_MAX if target == BATCH else limits.BODY_BYTES_MAX
