"""The books of refunds in PostgreSQL: whole batches in, each item's own result out."""

from collections.abc import Sequence
from typing import Final

from gateway.domain.identity import public, uuid_of
from gateway.domain.refund import FurtherTransaction, Refund, RefundStanding
from gateway.domain.stages import (
    DueFurther,
    Heard,
    ReferenceTaken,
    RefundOpened,
    RefundPosted,
    RefundWish,
)
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres, Row
from gateway.ledger import further_statements, refund_statements
from gateway.ledger.codec import (
    columns,
    give_back_row,
    read_due_further,
    read_further,
    read_refund,
    refund_change_row,
    refund_row,
)
from gateway.ledger.poster import Poster
from gateway.ledger.refund_rules import RefundChange

_REFUND: Final = """
SELECT r.*, m.public_id AS merchant_public_id, a.account,
       coalesce(f.amount, p.amount_captured) AS given,
       CASE WHEN f.id IS NULL THEN a.channel_transaction
            ELSE nullif(f.channel_transaction, replace(a.id::text, '-', ''))
       END AS payment_transaction
  FROM refund r
  JOIN merchant m ON m.id = r.merchant_id
  JOIN payment p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
  JOIN attempt a ON a.merchant_id = r.merchant_id AND a.id = r.attempt_id
  LEFT JOIN further_transaction f ON f.merchant_id = r.merchant_id
        AND f.payment_id = r.payment_id AND f.id = r.further_id
 WHERE r.merchant_id = $1"""

RefundResult = RefundOpened | Heard | ReferenceTaken | None


class PostgresRefundBooks:
    """Writes batches of refunds with the statements of this room; one commit each."""

    def __init__(self, postgres: Postgres, clock: Clock) -> None:
        self._postgres = postgres
        self._poster = Poster(postgres, clock)

    async def refund_batch(self, batch: Sequence[RefundWish]) -> Sequence[RefundResult]:
        """Make new refunds durable; at most one of each payment, the others must plan again."""
        first_of_payment: dict[str, RefundWish] = {}
        for wish in batch:
            first_of_payment.setdefault(wish.standing.refund.payment, wish)
        chosen = list(first_of_payment.values())
        rows = await self._postgres.write_batch(
            refund_statements.REFUND,
            *columns(refund_row(wish) for wish in chosen),
            sorted({wish.standing.merchant for wish in chosen}),
        )
        made = {row["refund_id"].hex for row in rows}
        left = [wish for wish in chosen if uuid_of(wish.standing.refund.id) not in made]
        reasons = await self._why_not_refunded(left) if left else {}
        results: list[RefundResult] = []
        for wish in batch:
            is_chosen = first_of_payment[wish.standing.refund.payment] is wish
            reason = reasons.get(uuid_of(wish.standing.refund.id))
            done = is_chosen and uuid_of(wish.standing.refund.id) not in reasons
            results.append(RefundOpened(wish.standing) if done else reason)
        return results

    async def _why_not_refunded(self, left: Sequence[RefundWish]) -> dict[str, RefundResult]:
        """Find what stood in the way; refunds that our own first run had made are left out."""
        rows = await self._postgres.learn(
            refund_statements.WHY_NOT_REFUNDED,
            *columns(
                (
                    wish.standing.merchant,
                    wish.use.key,
                    uuid_of(wish.standing.refund.id),
                    wish.standing.refund.reference,
                )
                for wish in left
            ),
        )
        planned = {uuid_of(w.standing.refund.id): w.standing.refund for w in left}
        reasons: dict[str, RefundResult] = {}
        for row in rows:
            reason: RefundResult = None
            ours = planned[row["refund_id"].hex]
            made = (row["own_amount"], row["own_created_at"])
            if row["own_id"] is not None and made == (ours.amount, ours.created_at):
                continue
            if row["own_id"] is not None:
                # Another request with this key made it first, of another amount or at another time.
                reason = Heard(bytes(row["fingerprint"]), row["operation"], row["own_id"].hex)
            elif row["resource_id"] is not None and row["resource_id"] != row["refund_id"]:
                reason = Heard(bytes(row["fingerprint"]), row["operation"], row["resource_id"].hex)
            elif row["other_id"] is not None:
                reason = ReferenceTaken(row["other_id"].hex)
            reasons[row["refund_id"].hex] = reason
        return reasons

    async def post_batch(self, batch: Sequence[RefundChange]) -> Sequence[RefundPosted | None]:
        """Make changes of refunds durable with their journals, balances and events."""
        bodies = await self._poster.post(refund_statements.REFUND_POST, batch, refund_change_row)
        return [
            RefundPosted(change.standing, body) if body is not None else None
            for change, body in zip(batch, bodies, strict=True)
        ]

    async def give_back_batch(self, batch: Sequence[RefundStanding]) -> None:
        """Make refunds of what was paid beside payments durable, unless they were made."""
        await self._postgres.write(
            further_statements.GIVE_BACK,
            *columns(give_back_row(standing) for standing in batch),
            sorted({standing.merchant for standing in batch}),
        )

    async def further_of(self, merchant: int, payment_id: str) -> list[FurtherTransaction]:
        """Read what was paid beside a payment, oldest first, with what became of it."""
        refunds = [each.refund for each in await self.refunds_of(merchant, payment_id)]
        rows = await self._postgres.read(
            further_statements.OF_PAYMENT, merchant, uuid_of(payment_id)
        )
        return [read_further(row, refunds) for row in rows]

    async def left_to_people(self, merchants: Sequence[int]) -> list[FurtherTransaction]:
        """Read what was paid beside payments and goes back no more by itself, oldest first."""
        rows = await self._postgres.read(further_statements.LEFT_TO_PEOPLE, list(merchants))
        return [read_further(row, await self._refunds_beside(row)) for row in rows]

    async def further(
        self, merchant: int, further_id: str
    ) -> tuple[DueFurther, FurtherTransaction] | None:
        """Read one of them, as it goes back and as it is shown."""
        rows = await self._postgres.read(further_statements.FIND, merchant, uuid_of(further_id))
        if not rows:
            return None
        return read_due_further(rows[0]), read_further(rows[0], await self._refunds_beside(rows[0]))

    async def give_back_by_hand(self, standing: RefundStanding) -> bool:
        """Make a refund of what is left to people durable; False when nothing is free of it."""
        await self._postgres.write(
            further_statements.GIVE_BACK_BY_HAND,
            *columns([give_back_row(standing)]),
            [standing.merchant],
        )
        # A first run of ours that was not answered leaves none for the second one.
        return await self.refund(standing.merchant, standing.refund.id) is not None

    async def _refunds_beside(self, row: Row) -> list[Refund]:
        payment_id = public("pay", row["payment_id"].hex)
        return [each.refund for each in await self.refunds_of(row["merchant_id"], payment_id)]

    async def refund(self, merchant: int, refund_id: str) -> RefundStanding | None:
        """Read one refund as it now stands."""
        rows = await self._postgres.read(_REFUND + " AND r.id = $2", merchant, uuid_of(refund_id))
        return read_refund(rows[0]) if rows else None

    async def refunds_of(self, merchant: int, payment_id: str) -> list[RefundStanding]:
        """Read every refund of a payment, oldest first."""
        rows = await self._postgres.read(
            _REFUND + " AND r.payment_id = $2 ORDER BY r.id", merchant, uuid_of(payment_id)
        )
        return [read_refund(row) for row in rows]
