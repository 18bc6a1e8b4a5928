"""The ledger step: open a payment before anyone hears of it, post what became of it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.errors import InDoubt, Overloaded, Problem, StatementRefused, Unavailable
from gateway.domain.payment import CANCELABLE, Payment, Standing, Status
from gateway.domain.recovery import silence_ends_at
from gateway.domain.stages import (
    Answered,
    Attempt,
    Claimed,
    Drawn,
    Heard,
    Opened,
    Posted,
    ReferenceTaken,
    Rerouted,
    Routed,
)
from gateway.drivers.batching import Batcher, Rest
from gateway.ledger.codec import encode
from gateway.ledger.drawn_rules import Begun, begun
from gateway.ledger.ports import Books
from gateway.ledger.recovery_rules import holds_in_vain
from gateway.ledger.rules import Change, adopt, begin_capture, consequence
from gateway.ledger.switch_rules import Switch, switch

# The constraints by which a channel's transaction belongs to one attempt; an engine that is spread
# over nodes adds the number of a shard to their names.
TAKEN_TRANSACTION: Final = ("attempt_channel_transaction", "further_channel_transaction")
# Left out so often of a payment that did not change, a change names what belongs to another attempt
# otherwise; the first time a neighbour in the batch may have been in its way.
_LEFT_OUT_MAX: Final = 2

_New = TypeVar("_New")
_Told = TypeVar("_Told")

# Payments gather for the next batch while many come, the longer the more there were.
_REST: Final = Rest(limits.LEDGER_REST_ITEM_SECONDS, limits.LEDGER_REST_SECONDS_MAX)


async def _unless_late(
    open_batch: Callable[[Sequence[_New]], Awaitable[Sequence[_Told]]],
    batch: Sequence[_New],
    claims: Sequence[Claimed],
) -> Sequence[_Told | BaseException]:
    """Open those for which anybody still waits."""
    now = time.monotonic()
    late = [claimed.matched.verified.received.is_late(now) for claimed in claims]
    if not any(late):
        return await open_batch(batch)
    fresh = [new for new, is_late in zip(batch, late, strict=True) if not is_late]
    opened = iter(await open_batch(fresh) if fresh else ())
    return [Overloaded("it waited for too long") if is_late else next(opened) for is_late in late]


class Ledger:
    """Queues of batches over the books, and the rules that say what goes into them."""

    def __init__(
        self,
        books: Books,
        *,
        observe_open: Callable[[int], None] | None = None,
        observe_post: Callable[[int], None] | None = None,
    ) -> None:
        self._books = books
        self._opening: Batcher[Routed, Opened | Heard | ReferenceTaken] = Batcher(
            self._open_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            observe=observe_open,
            rest=_REST,
        )
        self._beginning: Batcher[Begun, Posted | Heard | ReferenceTaken] = Batcher(
            self._begin_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            observe=observe_open,
            rest=_REST,
        )
        self._switching: Batcher[Switch, Posted | None] = Batcher(
            books.switch_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
        )
        self._posting: Batcher[Change, Posted | None] = Batcher(
            books.post_batch,
            items_max=limits.LEDGER_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            observe=observe_post,
            rest=_REST,
        )

    def open(self, new: Routed | Drawn) -> Awaitable[Opened | Posted | Heard | ReferenceTaken]:
        """Make a new payment and its attempt durable, or learn why it must not be.

        One that is drawn is posted by the same commit: there is nobody to ask between two.
        `Overloaded` when meanwhile nobody waits for it any more: then nothing was begun.
        """
        if isinstance(new, Drawn):
            return self._beginning.submit(begun(new))
        return self._opening.submit(new)

    async def open_all(
        self, new: Sequence[Routed | Drawn]
    ) -> Sequence[Opened | Posted | Heard | ReferenceTaken | BaseException]:
        """Open payments that came together; each has its own result, as `open` gives or raises."""
        ready = [_begun(each) if isinstance(each, Drawn) else each for each in new]
        asked = [each for each in ready if isinstance(each, Routed)]
        drawn = [each for each in ready if isinstance(each, Begun)]
        opening = self._opening.submit_all(asked) if asked else None
        beginning = self._beginning.submit_all(drawn) if drawn else None
        opened = iter(await opening if opening is not None else ())
        made = iter(await beginning if beginning is not None else ())
        return [
            each
            if isinstance(each, Exception)
            else next(opened if isinstance(each, Routed) else made)
            for each in ready
        ]

    async def _open_batch(
        self, batch: Sequence[Routed]
    ) -> Sequence[Opened | Heard | ReferenceTaken | BaseException]:
        return await _unless_late(self._books.open_batch, batch, [new.claimed for new in batch])

    async def _begin_batch(
        self, batch: Sequence[Begun]
    ) -> Sequence[Posted | Heard | ReferenceTaken | BaseException]:
        claims = [new.routed.claimed for new in batch]
        return await _unless_late(self._books.begin_batch, batch, claims)

    async def post(self, answered: Answered) -> Posted:
        """Make durable what an outcome means: state, journal, balances and event together.

        A payment that changed meanwhile is read again and the outcome is weighed again, until it
        is either posted or brings nothing new.  A transaction that belongs to another attempt
        already is a conflict, for people to look at.  Money that is held in vain is noted down, to
        be let go, and so is that the channel gave money back.
        """
        standing, attempt = answered.opened.standing, answered.opened.attempt
        outcome, left_out = answered.outcome, 0
        while True:
            change = consequence(standing, attempt, outcome, at=answered.at)
            if change is None:
                if holds_in_vain(standing, attempt, outcome):
                    await self._books.let_go(attempt, answered.at)
                if outcome.returned and not attempt.returned:
                    await self._books.note_returned(attempt, answered.at)
                return Posted(standing, encode(standing.payment))
            try:
                posted = await self._posting.submit(change)
            except StatementRefused as refused:
                if outcome.conflict or not (refused.constraint or "").startswith(TAKEN_TRANSACTION):
                    raise
                outcome = replace(outcome, conflict=True, channel_transaction=None)
                continue
            if posted is not None:
                return posted
            again = await self._books.opened(attempt.merchant, attempt.id)
            assert again is not None, "a payment that was opened does not vanish"
            left_out = left_out + 1 if again.standing.version == standing.version else 0
            if left_out == _LEFT_OUT_MAX:
                outcome = replace(outcome, conflict=True, channel_transaction=None)
            standing, attempt = again.standing, again.attempt

    async def post_all(
        self, answered: Sequence[Answered]
    ) -> list[Posted | Unavailable | InDoubt | None]:
        """Post outcomes that came together: the database's part is asked once, and nobody waits.

        None where it is no plain matter, for `post` to go into: the outcome brings nothing new,
        the payment changed meanwhile, or something refuses it.
        """
        changes = [_consequence(each) for each in answered]
        plain = [change for change in changes if change is not None]
        told = iter(await self._posting.submit_all(plain) if plain else ())
        ends = [None if change is None else next(told) for change in changes]
        return [end if isinstance(end, Posted | Unavailable | InDoubt) else None for end in ends]

    async def switch(self, rerouted: Rerouted) -> Opened | None:
        """Make durable that a payment goes on through another channel, before that one hears of it.

        None when the payment changed meanwhile: then it stays with the attempt that it has.  The
        next attempt is read again, for it may be wished by now that it be canceled.
        """
        change = switch(rerouted)
        if await self._switching.submit(change) is None:
            return None
        begun = await self._books.opened(rerouted.attempt.merchant, rerouted.attempt.id)
        assert begun is not None, "an attempt that was opened does not vanish"
        return replace(rerouted.answered.opened, standing=change.standing, attempt=begun.attempt)

    async def begin_capture(self, claimed: Claimed, amount: int | None) -> Opened | Heard:
        """Make durable that a capture is about to be asked, or learn that it was before.

        `Problem` 409 when the payment does not wait for a capture of this amount.
        """
        (payment_id,) = claimed.matched.parameters
        while True:
            heard = await self._books.heard(claimed)
            if heard is not None:
                return heard
            opened = await self.opened(claimed.merchant.number, payment_id)
            payment = opened.standing.payment
            wanted = payment.amount_authorized if amount is None else amount
            change = begin_capture(opened.standing, opened.attempt, wanted, claimed.at)
            if change is None:
                return await self._heard_or(_not_captured(payment, wanted), claimed)
            change = replace(change, use=claimed.use)
            if await self._posting.submit(change) is not None:
                return Opened(change.standing, change.attempt, lease=change.due_at)

    async def begin_cancel(self, claimed: Claimed) -> Opened | Heard:
        """Make durable that a payment is to be closed, or learn that it was asked before.

        `Problem` 409 when there is nothing left to close, or somebody is closing or capturing it.
        """
        (payment_id,) = claimed.matched.parameters
        wrote = False
        while True:
            heard = await self._books.heard(claimed, wrote=wrote)
            if heard is not None:
                return heard
            opened = await self.opened(claimed.merchant.number, payment_id)
            status, attempt = opened.standing.payment.status, opened.attempt
            if status not in CANCELABLE or attempt.is_capturing or attempt.cancel_wished:
                return await self._heard_or(_not_canceled(status, attempt), claimed, wrote=wrote)
            if await self._books.begin_cancel(claimed, attempt):
                wished = replace(attempt, cancel_wished=True)
                return replace(opened, attempt=wished, lease=silence_ends_at(claimed.at))
            wrote = True

    async def _heard_or(self, refusal: Problem, claimed: Claimed, *, wrote: bool = False) -> Heard:
        """Refuse, unless another try of this very request was quicker, and is why it is refused."""
        heard = await self._books.heard(claimed, wrote=wrote)
        if heard is None:
            raise refusal
        return heard

    async def adopt(self, opened: Opened, at: datetime) -> Posted | None:
        """Take late money as the order's money; None when there is none to take any more.

        A payment that changed meanwhile, such as by more money beside it, is read again.
        """
        while True:
            change = adopt(opened.standing, opened.attempt, at)
            posted = await self._posting.submit(change) if change is not None else None
            if change is None or posted is not None:
                return posted
            again = await self._books.opened(opened.attempt.merchant, opened.attempt.id)
            assert again is not None, "a payment that was opened does not vanish"
            opened = again

    async def opened(self, merchant: int, payment_id: str) -> Opened:
        """Read a payment with its latest attempt; `Problem` 404 when there is none."""
        standing = await self._books.standing(merchant, payment_id)
        attempt = await self._books.attempt_of(merchant, payment_id)
        if standing is None or attempt is None:
            raise Problem("payment_not_found", "This merchant has no payment with this id.")
        return Opened(standing, attempt)

    async def by_attempt(self, merchant: int, attempt_id: str) -> Opened | None:
        """Read an attempt with its payment; None when there is no such attempt."""
        return await self._books.opened(merchant, attempt_id)

    async def heard(self, claimed: Claimed) -> Heard | None:
        """Look up what PostgreSQL remembers of a request's key."""
        return await self._books.heard(claimed)

    async def note_use(self, claimed: Claimed, payment_id: str) -> None:
        """Remember the key of a request about this payment that changed nothing by itself."""
        await self._books.note_use(claimed, payment_id)

    async def standing(self, merchant: int, payment_id: str) -> Standing | None:
        """Read one payment as it now stands."""
        return await self._books.standing(merchant, payment_id)

    def queues(self) -> Mapping[str, Callable[[], int]]:
        """Give by queue what says how many items wait there."""
        return {
            "open": lambda: self._opening.waiting() + self._beginning.waiting(),
            "post": self._posting.waiting,
        }

    async def drain(self) -> None:
        """Wait until every queued batch is durable."""
        await self._opening.drain()
        await self._beginning.drain()
        await self._switching.drain()
        await self._posting.drain()


def _not_captured(payment: Payment, amount: int) -> Problem:
    """Say why no capture of this amount may begin."""
    if payment.status is not Status.REQUIRES_CAPTURE:
        status = payment.status.value
        return Problem(
            "state_conflict",
            f"Only a payment that is requires_capture is captured; this one is {status}.",
        )
    if amount > payment.amount_authorized:
        held = payment.amount_authorized
        return Problem("state_conflict", f"No more than {held} can be captured.", param="amount")
    return Problem("state_conflict", "This payment is being canceled.")


def _not_canceled(status: Status, attempt: Attempt) -> Problem:
    """Say why no cancellation may begin."""
    if status not in CANCELABLE:
        return Problem("state_conflict", f"A payment that is {status.value} cannot be canceled.")
    if attempt.is_capturing:
        return Problem("state_conflict", "This payment is being captured.")
    return Problem("state_conflict", "This payment is being canceled already.")


def _begun(drawn: Drawn) -> Begun | Exception:
    try:
        return begun(drawn)
    except Exception as error:  # noqa: BLE001 - its neighbours go on
        return error


def _consequence(answered: Answered) -> Change | None:
    opened = answered.opened
    try:
        return consequence(opened.standing, opened.attempt, answered.outcome, at=answered.at)
    except Exception:  # noqa: BLE001 - whoever posts it alone meets it again
        return None
