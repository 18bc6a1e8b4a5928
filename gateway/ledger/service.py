"""The ledger step: open a payment before anyone hears of it, post what became of it."""

from collections.abc import Callable, Mapping

from gateway.domain import limits
from gateway.domain.payment import Standing
from gateway.domain.stages import Answered, Attempt, Heard, Opened, Posted, ReferenceTaken, Routed
from gateway.drivers.batching import Batcher
from gateway.ledger.codec import encode_payment
from gateway.ledger.ports import Books
from gateway.ledger.rules import Change, consequence


class Ledger:
    """Two queues of batches over the books, and the rules that say what goes into them.

    `channel_fees` are the basis points that each channel keeps of a capture.
    """

    def __init__(
        self,
        books: Books,
        channel_fees: Mapping[str, int],
        *,
        observe_open: Callable[[int], None] | None = None,
        observe_post: Callable[[int], None] | None = None,
    ) -> None:
        self._books = books
        self._channel_fees = channel_fees
        self._opening: Batcher[Routed, Opened | Heard | ReferenceTaken] = Batcher(
            books.open_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            flights_max=limits.LEDGER_FLIGHTS_MAX,
            observe=observe_open,
        )
        self._posting: Batcher[Change, Posted | None] = Batcher(
            books.post_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            flights_max=limits.LEDGER_FLIGHTS_MAX,
            observe=observe_post,
        )

    async def open(self, routed: Routed) -> Opened | Heard | ReferenceTaken:
        """Make a new payment and its attempt durable, or learn why it must not be."""
        return await self._opening.submit(routed)

    async def post(self, answered: Answered) -> Posted:
        """Make durable what an outcome means: state, journal, balances and event together.

        A payment that changed meanwhile is read again and the outcome is weighed again, until it
        is either posted or brings nothing new.
        """
        standing, attempt = answered.opened.standing, answered.opened.attempt
        while True:
            change = consequence(
                standing,
                attempt,
                answered.outcome,
                at=answered.at,
                channel_fee_bps=self._channel_fees.get(attempt.channel, 0),
            )
            if change is None:
                return Posted(standing, encode_payment(standing.payment))
            posted = await self._posting.submit(change)
            if posted is not None:
                return posted
            again = await self._books.standing(standing.merchant, standing.payment.id)
            assert again is not None, "a payment that was opened does not vanish"
            standing = again

    async def standing(self, merchant: int, payment_id: str) -> Standing | None:
        """Read one payment as it now stands."""
        return await self._books.standing(merchant, payment_id)

    async def attempt_of(self, merchant: int, payment_id: str) -> Attempt | None:
        """Read the latest attempt of a payment."""
        return await self._books.attempt_of(merchant, payment_id)

    async def drain(self) -> None:
        """Wait until every queued batch is durable."""
        await self._opening.drain()
        await self._posting.drain()
