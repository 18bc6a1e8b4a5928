"""The ledger step for refunds: reserve before anyone hears of it, post what became of it."""

import random
from collections.abc import Callable, Mapping, Sequence

from gateway.domain import limits
from gateway.domain.refund import FurtherTransaction, Refund, RefundStanding
from gateway.domain.stages import (
    Attempt,
    Heard,
    KeyUse,
    ReferenceTaken,
    RefundAnswered,
    RefundOpened,
    RefundPosted,
    RefundWish,
)
from gateway.drivers.batching import Batcher
from gateway.ledger.codec import encode
from gateway.ledger.ports import Books, RefundBooks
from gateway.ledger.refund_rules import RefundChange, consequence, planned


class RefundLedger:
    """Two queues of batches over the books of refunds."""

    def __init__(self, books: Books, refunds: RefundBooks) -> None:
        self._books = books
        self._refunds = refunds
        self._opening: Batcher[RefundWish, RefundOpened | Heard | ReferenceTaken | None] = Batcher(
            refunds.refund_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
        )
        self._posting: Batcher[RefundChange, RefundPosted | None] = Batcher(
            refunds.post_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
        )

    async def open(
        self, use: KeyUse, refund: Refund, attempt: Attempt
    ) -> RefundOpened | Heard | ReferenceTaken | None:
        """Reserve the amount and make the refund durable, or learn why it must not be.

        None when another refund of this payment came first, or its channel gave the money back by
        itself: ask again for what is left now.
        """
        before = await self._books.standing(attempt.merchant, refund.payment)
        assert before is not None, "the caller has just read it"
        if refund.amount > before.payment.amount_captured - before.payment.amount_refunded:
            return None
        standing = planned(before, refund=refund, attempt=attempt)
        return await self._opening.submit(RefundWish(use, before, standing, refund.created_at))

    async def give_back(self, further: Sequence[RefundStanding]) -> None:
        """Reserve what was paid beside payments and make its refunds durable and due, each once."""
        await self._refunds.give_back_batch(further)

    async def further_of(self, merchant: int, payment_id: str) -> list[FurtherTransaction]:
        """Read what was paid beside a payment, oldest first, with what became of it."""
        return await self._refunds.further_of(merchant, payment_id)

    async def post(self, answered: RefundAnswered) -> RefundPosted | None:
        """Make durable what an outcome means: state, journal, reservation and event together.

        None when a failure would free what the payment has no more: its channel has returned all
        of it in between, and the outcome is to be weighed beside that.
        """
        standing = answered.opened.standing
        while True:
            change = consequence(
                standing,
                answered.outcome,
                at=answered.at,
                jitter=random.uniform(-1, 1),  # noqa: S311 - nothing secret hangs on it
            )
            if change is None:
                return RefundPosted(standing, encode(standing.refund))
            posted = await self._posting.submit(change)
            if posted is not None:
                return posted
            again = await self._refunds.refund(standing.merchant, standing.refund.id)
            assert again is not None, "a refund that was opened does not vanish"
            if again.version == standing.version:
                return None
            standing = again

    async def standing(self, merchant: int, refund_id: str) -> RefundStanding | None:
        """Read one refund as it now stands."""
        return await self._refunds.refund(merchant, refund_id)

    async def of_payment(self, merchant: int, payment_id: str) -> list[RefundStanding]:
        """Read every refund of a payment, and of what was paid beside it, oldest first."""
        return await self._refunds.refunds_of(merchant, payment_id)

    def queues(self) -> Mapping[str, Callable[[], int]]:
        """Give by queue what says how many items wait there."""
        return {"refund_open": self._opening.waiting, "refund_post": self._posting.waiting}

    async def drain(self) -> None:
        """Wait until every queued batch is durable."""
        await self._opening.drain()
        await self._posting.drain()
