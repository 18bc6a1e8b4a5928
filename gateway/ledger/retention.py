"""How long the ledger's by-work is kept: used keys, and what channels said of attempts.

Facts about money (payments, attempts, refunds, transfers, accounts) are kept for ever.
"""

from typing import Final

from gateway.domain import limits
from gateway.drivers.walking import walk_of

_KEYS: Final = walk_of(
    "idempotency_key",
    [("merchant_id", "bigint"), ("key", "text")],
    "t.created_at < $3",
    keep_days=limits.KEY_KEEP_DAYS,
)
_SIGHTINGS: Final = walk_of(
    "sighting",
    [("merchant_id", "bigint"), ("attempt_id", "uuid"), ("seen_at", "timestamptz")],
    "t.seen_at < $3",
    keep_days=limits.HISTORY_KEEP_DAYS,
)
WALKS: Final = (_KEYS, _SIGHTINGS)
