"""The books in PostgreSQL: whole batches in, each item's own result out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.domain import identity
from gateway.domain.identity import mint_uuid, uuid_of
from gateway.domain.payment import Standing
from gateway.domain.recovery import check_at, silence_ends_at
from gateway.domain.stages import (
    Attempt,
    Claimed,
    Heard,
    Opened,
    Posted,
    ReferenceTaken,
    Routed,
)
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger import recovery_statements, statements, wishes
from gateway.ledger.codec import (
    begin_row,
    change_row,
    columns,
    encode,
    open_row,
    read_attempt,
    read_standing,
    switch_row,
)
from gateway.ledger.drawn_rules import Begun
from gateway.ledger.drawn_statements import BEGIN
from gateway.ledger.lists import Reader
from gateway.ledger.ports import Privacy
from gateway.ledger.poster import Poster
from gateway.ledger.rules import Change
from gateway.ledger.switch_rules import Switch
from gateway.ledger.switch_statements import SWITCH

_OF_ATTEMPT: Final = """
SELECT p.*, m.public_id AS merchant_public_id
  FROM payment p JOIN merchant m ON m.id = p.merchant_id
 WHERE p.merchant_id = $1
   AND p.id = (SELECT payment_id FROM attempt WHERE merchant_id = $1 AND id = $2)
"""
_ATTEMPTS: Final = """
SELECT a.*, ARRAY(SELECT f.channel_transaction FROM further_transaction f
                   WHERE f.merchant_id = $1 AND f.payment_id = a.payment_id
                     AND f.attempt_id = a.id) AS further_transactions
  FROM attempt a WHERE a.merchant_id = $1"""
_ATTEMPT: Final = f"{_ATTEMPTS} AND a.payment_id = $2 AND NOT a.replaced ORDER BY a.id DESC LIMIT 1"
_BY_ID: Final = f"{_ATTEMPTS} AND a.id = $2"

OpenResult = Opened | Heard | ReferenceTaken


class PostgresBooks:
    """Writes batches with the statements of this room; one commit each."""

    def __init__(self, postgres: Postgres, privacy: Privacy, clock: Clock) -> None:
        self._postgres = postgres
        self._privacy = privacy
        self._clock = clock
        self._poster = Poster(postgres, clock)
        self._reader = Reader(postgres)

    async def open_batch(self, batch: Sequence[Routed]) -> Sequence[OpenResult]:
        """Make new payments durable; say for each that was not opened why."""
        privacy = self._privacy
        rows = await self._postgres.write_batch(
            statements.OPEN,
            *columns(
                open_row(routed, privacy, silence_ends_at(routed.standing.payment.created_at))
                for routed in batch
            ),
        )
        opened = [row["payment_id"] for row in rows if row["opened"]]
        reasons = await self._why_not_opened(batch, opened) if len(opened) < len(batch) else {}
        return [
            (reasons and reasons.get(routed.standing.payment.id))
            or Opened(routed.standing, routed.attempt, routed.payer, routed.return_url)
            for routed in batch
        ]

    async def begin_batch(
        self, batch: Sequence[Begun]
    ) -> Sequence[Posted | Heard | ReferenceTaken]:
        """Make new payments durable with what they begin as; say for each other why it is not."""
        now, privacy = self._clock.milliseconds(), self._privacy
        bodies = [encode(begun.change.resource) for begun in batch]
        rows = await self._postgres.write_batch(
            BEGIN,
            *columns(
                begin_row(begun, mint_uuid(begun.change.merchant, now), body, privacy)
                for begun, body in zip(batch, bodies, strict=True)
            ),
        )
        opened = [row["payment_id"] for row in rows if row["opened"]]
        reasons: dict[str, Heard | ReferenceTaken] = {}
        if len(opened) < len(batch):
            reasons = await self._why_not_opened([begun.routed for begun in batch], opened)
        return [
            reasons.get(begun.change.payment_id) or Posted(begun.change.standing, body)
            for begun, body in zip(batch, bodies, strict=True)
        ]

    async def _why_not_opened(
        self, batch: Sequence[Routed], opened: Sequence[UUID]
    ) -> dict[str, Heard | ReferenceTaken]:
        """Find what stood in the way of the others; nothing did where our first run committed."""
        done = {uuid.hex for uuid in opened}
        left = [routed for routed in batch if uuid_of(routed.standing.payment.id) not in done]
        rows = await self._postgres.learn(
            statements.WHY_NOT_OPENED,
            *columns(
                (
                    routed.standing.merchant,
                    routed.claimed.key,
                    uuid_of(routed.standing.payment.id),
                    routed.standing.payment.reference,
                )
                for routed in left
            ),
        )
        reasons: dict[str, Heard | ReferenceTaken] = {}
        for row in rows:
            payment_id = identity.public("pay", row["payment_id"].hex)
            if row["own_id"] is not None:
                continue
            if row["resource_id"] is not None and row["resource_id"] != row["payment_id"]:
                reasons[payment_id] = Heard(
                    bytes(row["fingerprint"]),
                    row["operation"],
                    (row["made_id"] or row["other_id"] or row["resource_id"]).hex,
                    refused=row["made_id"] is None,
                )
            else:
                reasons[payment_id] = ReferenceTaken(row["other_id"].hex)
        return reasons

    async def post_batch(self, batch: Sequence[Change]) -> Sequence[Posted | None]:
        """Make changes durable with their journals, balances and events."""
        bodies = await self._poster.post(statements.POST, batch, change_row)
        return [
            Posted(change.standing, body) if body is not None else None
            for change, body in zip(batch, bodies, strict=True)
        ]

    async def switch_batch(self, batch: Sequence[Switch]) -> Sequence[Posted | None]:
        """Let payments go on through other channels; None for one that changed meanwhile."""
        bodies = await self._poster.post(SWITCH, batch, switch_row)
        return [
            Posted(switch.standing, body) if body is not None else None
            for switch, body in zip(batch, bodies, strict=True)
        ]

    async def heard(self, claimed: Claimed, *, wrote: bool = False) -> Heard | None:
        """Look up what PostgreSQL remembers of a key.

        `wrote` when a write of ours may have used it: `InDoubt` when that cannot be read.
        """
        look = self._postgres.learn if wrote else self._postgres.read
        rows = await look(wishes.HEARD, claimed.merchant.number, claimed.key)
        if not rows:
            return None
        row = rows[0]
        return Heard(bytes(row["fingerprint"]), row["operation"], row["resource_id"].hex)

    async def note_use(self, claimed: Claimed, payment_id: str) -> None:
        """Remember what a key was used for, unless it is remembered already."""
        await self._postgres.write(
            wishes.USED,
            claimed.merchant.number,
            claimed.key,
            claimed.fingerprint,
            claimed.matched.operation.name,
            uuid_of(payment_id),
            claimed.at,
        )

    async def begin_cancel(self, claimed: Claimed, attempt: Attempt) -> bool:
        """Note down that an attempt is to be closed.

        False when its key was used before, or somebody is closing or capturing the attempt.
        """
        rows = await self._postgres.write(
            wishes.BEGIN_CANCEL,
            attempt.merchant,
            claimed.key,
            claimed.fingerprint,
            claimed.matched.operation.name,
            uuid_of(attempt.payment_id),
            claimed.at,
            uuid_of(attempt.id),
            silence_ends_at(claimed.at),
        )
        return bool(rows)

    async def let_go(self, attempt: Attempt, at: datetime) -> None:
        """Note down that the channel holds money for a payment that has ended."""
        await self._postgres.write(
            recovery_statements.LET_GO, attempt.merchant, uuid_of(attempt.id), at
        )

    async def note_returned(self, attempt: Attempt, at: datetime) -> None:
        """Note down that the channel gave back what was paid, where nothing else changes by it."""
        await self._postgres.write(
            recovery_statements.RETURNED, attempt.merchant, uuid_of(attempt.id), check_at(at, at)
        )

    async def opened(self, merchant: int, attempt_id: str) -> Opened | None:
        """Read an attempt with its payment.

        The attempt is read last: whatever began on the payment as we read it stands in it already.
        """
        payments = await self._postgres.read(_OF_ATTEMPT, merchant, uuid_of(attempt_id))
        attempts = await self._postgres.read(_BY_ID, merchant, uuid_of(attempt_id))
        if not payments or not attempts:
            return None
        return Opened(read_standing(payments[0]), read_attempt(attempts[0]))

    async def standing(self, merchant: int, payment_id: str) -> Standing | None:
        """Read one payment as it now stands."""
        return await self._reader.payment(merchant, payment_id)

    async def attempt_of(self, merchant: int, payment_id: str) -> Attempt | None:
        """Read the attempt that stands for a payment: the only one that was not replaced."""
        rows: Sequence[Row] = await self._postgres.read(_ATTEMPT, merchant, uuid_of(payment_id))
        return read_attempt(rows[0]) if rows else None
