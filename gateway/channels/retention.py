"""How long notices and remarks are kept; what nobody signed, shortly and not without end."""

from datetime import datetime, timedelta
from typing import Final

from gateway.domain import limits
from gateway.domain.identity import PLATFORM, uuid_floor
from gateway.drivers.postgres import Postgres
from gateway.drivers.walking import walk_of

# What was never served is kept: somebody has to look at it.
_NOTICES: Final = walk_of(
    "notice",
    [("merchant_id", "bigint"), ("id", "uuid")],
    "t.processed_at < $3",
    keep_days=limits.NOTICE_KEEP_DAYS,
)
_REMARKS: Final = walk_of(
    "remark",
    [
        *(("merchant_id", "bigint"), ("payment_id", "uuid"), ("at", "timestamptz")),
        *(("kind", "text"), ("subject_id", "uuid")),
    ],
    "t.at < $3",
    keep_days=limits.HISTORY_KEEP_DAYS,
)
WALKS: Final = (_NOTICES, _REMARKS)

# The oldest first: those before a time, and those that are too many.
_FORGET_REFUSED: Final = """
DELETE FROM notice WHERE merchant_id = $1 AND id IN (
    SELECT id FROM notice
     WHERE merchant_id = $1 AND result LIKE 'refused%'
       AND id <= greatest($2::uuid, (
           SELECT id FROM notice WHERE merchant_id = $1 AND result LIKE 'refused%'
            ORDER BY id DESC OFFSET $3 LIMIT 1))
     ORDER BY id LIMIT $4)
RETURNING id
"""


async def forget_refused(postgres: Postgres, now: datetime) -> int:
    """Delete the refused notices that are too old or too many; says how many.

    A flood of them brings more than one batch at a time, so this goes on while there are more.
    """
    before = now - timedelta(days=limits.REFUSED_NOTICE_KEEP_DAYS)
    gone = 0
    for _ in range(limits.REFUSED_BATCHES_MAX):
        rows = await postgres.write(
            _FORGET_REFUSED,
            PLATFORM,
            uuid_floor(int(before.timestamp() * 1000)),
            limits.REFUSED_NOTICES_MAX,
            limits.RETENTION_BATCH_ITEMS_MAX,
        )
        gone += len(rows)
        if len(rows) < limits.RETENTION_BATCH_ITEMS_MAX:
            break
    return gone
