"""What is noted down around a payment for the people who read its history: no part of the books.

A remark that cannot be kept is not waited for: what it speaks of is told by the state as well.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.errors import FloodgateError, StatementRefused
from gateway.domain.identity import uuid_of
from gateway.domain.outcome import Outcome
from gateway.drivers.batching import Batcher
from gateway.drivers.postgres import Postgres

logger: Final = logging.getLogger(__name__)

_NOTE: Final = """
INSERT INTO remark (merchant_id, payment_id, at, kind, subject_id, verdict, code, amount)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::uuid[],
                     $6::text[], $7::text[], $8::bigint[])
ON CONFLICT DO NOTHING
"""
_OF_PAYMENT: Final = """
SELECT at, kind, subject_id, verdict, code, amount FROM remark
 WHERE merchant_id = $1 AND payment_id = $2 ORDER BY at LIMIT $3
"""


class Remark(Struct, frozen=True, kw_only=True):
    """One thing that was asked or answered; `subject` is the id of what it is about.

    `kind` is `capture_asked` or `cancel_asked` (by the merchant), the verb of a channel's answer,
    `refund_notice`, `notice_differs` (in amount or currency) or `notice_refused`.
    """

    at: datetime
    kind: str
    subject: str
    verdict: str | None = None
    code: str | None = None
    amount: int | None = None


class Remarks:
    """Notes remarks down in batches and reads those of one payment."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._noting: Batcher[tuple[Any, ...], None] = Batcher(
            self._note_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
        )

    async def note(self, merchant: int, payment_id: str, remark: Remark) -> None:
        """Note one down, unless that cannot be done soon."""
        row = (
            merchant,
            uuid_of(payment_id),
            remark.at,
            remark.kind,
            uuid_of(remark.subject),
            remark.verdict,
            remark.code,
            remark.amount,
        )
        try:
            async with asyncio.timeout(limits.REMARK_SECONDS):
                await self._noting.submit(row)
        except (FloodgateError, StatementRefused, TimeoutError) as error:
            logger.warning("a remark on %s is not kept: %r", payment_id, error)

    async def _note_batch(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[None]:
        await self._postgres.write(_NOTE, *zip(*rows, strict=True))
        return [None] * len(rows)

    async def of_payment(self, merchant: int, payment_id: str) -> list[Remark]:
        """Give what was noted down around a payment, the oldest first."""
        rows = await self._postgres.read(
            _OF_PAYMENT, merchant, uuid_of(payment_id), limits.TIMELINE_REMARKS_MAX
        )
        return [
            Remark(
                at=row["at"],
                kind=row["kind"],
                subject=row["subject_id"].hex,
                verdict=row["verdict"],
                code=row["code"],
                amount=row["amount"],
            )
            for row in rows
        ]

    async def drain(self) -> None:
        """Wait until whatever was noted is durable."""
        await self._noting.drain()


def said(kind: str, subject: str, outcome: Outcome, at: datetime) -> Remark:
    """Write down what a channel said."""
    return Remark(
        at=at,
        kind=kind,
        subject=subject,
        verdict=outcome.verdict.value,
        code=outcome.code,
        amount=outcome.amount,
    )
