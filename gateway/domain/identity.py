"""Who and what is meant: typed, time-ordered ids that carry their merchant, for every step.

An id is a UUIDv7 (RFC 9562 section 5.7) of which the random part is laid out by us::

    48 bit milliseconds | 4 bit version | 12 bit counter | 2 bit variant
    | 30 bit merchant number | 28 bit random | 4 bit journal kind

So every id names the shard that holds its row, and the journal of a cause has the id of that cause
with its kind in the last hex digit: it exists once by construction.  A payment's has, in place of
the counter, the microseconds of its time (section 6.2, method 3) and two bits of the counter: the
list of payments stands in the order of time.  The public form is a prefix and the 32 hex digits;
`uuid_of` gives the database's form.
"""

import hashlib
import itertools
import os
import random
import re
from typing import Final

MERCHANT_NUMBER_MAX: Final = (1 << 30) - 1
PLATFORM: Final = 0

_VERSION: Final = 7 << 12
_VARIANT: Final = 2 << 62
_SHAPE: Final = re.compile(r"(pay|att|re|xtr|evt|mer|key|we|ntc|crd)_[0-9a-f]{32}")
# What keeps the ids of two workers apart is no secret, so the system is asked for chance once.
_chance: Final = random.Random(os.urandom(16))  # noqa: S311 - as said
_HEX: Final = "0123456789abcdef"
_counter = itertools.count(int.from_bytes(os.urandom(2)))


def mint(prefix: str, merchant: int, milliseconds: int) -> str:
    """Make a new id, for instance `pay_0199…`, of this merchant at this time since 1970."""
    return f"{prefix}_{mint_uuid(merchant, milliseconds).hex()}"


def mint_in_order(prefix: str, merchant: int, *, milliseconds: int, microsecond: int) -> str:
    """Make a new id that is higher than those of every earlier microsecond, whoever made them.

    `microsecond` is that of the second, as `datetime` has it.
    """
    count = microsecond % 1000 << 2 | next(_counter) & 3
    return f"{prefix}_{mint_uuid(merchant, milliseconds, count).hex()}"


def mint_uuid(merchant: int, milliseconds: int, count: int | None = None) -> bytes:
    """Make a new id as the 16 bytes of a uuid, for what needs no public form yet."""
    upper = milliseconds << 16 | _VERSION | (next(_counter) & 0xFFF if count is None else count)
    lower = _VARIANT | merchant << 32 | _chance.getrandbits(28) << 4
    return (upper << 64 | lower).to_bytes(16)


def chance(count: int) -> bytes:
    """Give so many bytes that come by chance, and that nobody has to keep secret."""
    return _chance.randbytes(count)


def derived(prefix: str, cause: str, word: str) -> str:
    """Make the id of what follows from a cause and a word, such as a channel's transaction.

    The same two give the same id: its time and merchant are the cause's, and its counter and chance
    are 40 bits of a hash.
    """
    digest = int.from_bytes(hashlib.sha256(f"{uuid_of(cause)} {word}".encode()).digest()[:5])
    value = int(uuid_of(cause), 16) & ~(0xFFF << 64) & ~0xFFFFFFFF
    value |= ((digest >> 28) << 64) | ((digest & 0xFFFFFFF) << 4)
    return f"{prefix}_{value:032x}"


def is_id(text: str, prefix: str) -> bool:
    """Tell whether this text has the shape of an id with this prefix."""
    return text.startswith(prefix + "_") and _SHAPE.fullmatch(text) is not None


def uuid_of(public: str) -> str:
    """Strip the prefix: the 32 hex digits that the database keeps as a uuid."""
    return public[-32:]


def public(prefix: str, uuid_hex: str) -> str:
    """Put the prefix before a database uuid, given as hex with or without dashes."""
    return f"{prefix}_{uuid_hex.replace('-', '')}"


def merchant_number(public_id: str) -> int:
    """Read the merchant number, and thereby the shard, out of any id."""
    return (int(public_id[-16:], 16) >> 32) & MERCHANT_NUMBER_MAX


def milliseconds_of(public_id: str) -> int:
    """Read the time of birth, in milliseconds since 1970, out of any id."""
    return int(public_id[-32:-20], 16)


def uuid_floor(milliseconds: int) -> str:
    """Give the lowest uuid of this time, as 32 hex digits: whatever is minted then is not lower."""
    return f"{max(0, milliseconds):012x}{0:020x}"


def journal_uuid(cause: str, kind: int) -> str:
    """Name the journal of this kind that belongs to a cause: attempt, refund or transaction."""
    return cause[-32:-1] + _HEX[kind]
