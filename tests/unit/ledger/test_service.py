"""The ledger's queues of new payments: what nobody waits for any more is taken out unbegun."""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.domain.errors import Overloaded, Problem
from gateway.domain.outcome import NextAction, Outcome, Verdict
from gateway.domain.payment import Standing, Status
from gateway.domain.stages import (
    Answered,
    Attempt,
    Claimed,
    Drawn,
    Heard,
    Opened,
    Posted,
    Routed,
)
from gateway.ledger.drawn_rules import Begun
from gateway.ledger.ports import Books
from gateway.ledger.service import Ledger
from tests.unit.nouns import ATTEMPT, MATCHED, NOON, STANDING

SHOWN = Outcome(Verdict.REQUIRES_ACTION, next_action=NextAction("qr", qr="x"))


class Box:
    """Books that open everything and remember it; nothing else is asked of them."""

    post_batch = switch_batch = None

    def __init__(self) -> None:
        self.opened: list[Routed] = []

    async def open_batch(self, batch: Sequence[Routed]) -> Sequence[Opened]:
        self.opened += batch
        return [Opened(routed.standing, routed.attempt) for routed in batch]

    async def begin_batch(self, batch: Sequence[Begun]) -> Sequence[Posted]:
        self.opened += [begun.routed for begun in batch]
        return [Posted(begun.change.standing, b"") for begun in batch]


def routed(answer_by: float) -> Routed:
    verified = MATCHED.verified
    received = replace(verified.received, answer_by=answer_by)
    matched = replace(MATCHED, verified=replace(verified, received=received))
    return Routed(Claimed(matched, "k", b"f", None), STANDING, ATTEMPT, None, None)


def drawn(new: Routed) -> Drawn:
    return Drawn(new, Answered(Opened(new.standing, new.attempt), SHOWN, NOON))


@pytest.mark.parametrize("is_drawn", [False, True])
@pytest.mark.parametrize("late", [(True,), (True, False, True), (False, False)])
async def test_a_payment_that_waited_too_long_is_not_opened(
    late: tuple[bool, ...], *, is_drawn: bool
) -> None:
    box, now = Box(), time.monotonic()
    ledger = Ledger(cast(Books, box))
    wanted = [routed(now - 1 if is_late else now + 60) for is_late in late]
    asked = [drawn(new) if is_drawn else new for new in wanted]
    told = await asyncio.gather(*map(ledger.open, asked), return_exceptions=True)
    assert [isinstance(each, Overloaded) for each in told] == list(late)
    assert box.opened == [each for each, is_late in zip(wanted, late, strict=True) if not is_late]


async def test_what_is_drawn_is_posted_with_the_first_change_of_its_payment() -> None:
    ledger = Ledger(cast(Books, Box()))
    posted = await ledger.open(drawn(routed(time.monotonic() + 60)))
    assert isinstance(posted, Posted)
    payment = posted.standing.payment
    assert (posted.standing.version, payment.status) == (1, Status.REQUIRES_ACTION)
    assert (payment.certainty, payment.next_action) == (None, SHOWN.next_action)
    assert [waiting() for waiting in ledger.queues().values()] == [0, 0]


async def test_what_is_drawn_wrongly_fails_alone() -> None:
    ledger = Ledger(cast(Books, Box()))
    good = routed(time.monotonic() + 60)
    paid = Answered(Opened(good.standing, good.attempt), Outcome(Verdict.SUCCEEDED), NOON)
    told = await ledger.open_all([good, Drawn(good, paid), drawn(good)])
    assert [type(each) for each in told] == [Opened, AssertionError, Posted]


class Raced(Box):
    """Books in which a payment was canceled or captured just after its request was looked up."""

    def __init__(self, heard: Heard | None) -> None:
        super().__init__()
        self._told = iter((None, heard))

    async def heard(self, _claimed: Claimed, *, wrote: bool = False) -> Heard | None:
        assert not wrote
        return next(self._told)

    async def standing(self, *_: object) -> Standing:
        return replace(STANDING, payment=replace(STANDING.payment, status=Status.SUCCEEDED))

    async def attempt_of(self, *_: object) -> Attempt:
        return ATTEMPT


@pytest.mark.parametrize("is_capture", [False, True])
async def test_a_try_that_was_slower_is_not_refused_for_what_the_quicker_one_did(
    *, is_capture: bool
) -> None:
    """Both came while Redis was away, so neither knew of the other."""
    matched = replace(MATCHED, parameters=(STANDING.payment.id,))
    claimed, heard = Claimed(matched, "k", b"f", None), Heard(b"f", "any", "0" * 32)

    async def begin(ledger: Ledger) -> Opened | Heard:
        if is_capture:
            return await ledger.begin_capture(claimed, None)
        return await ledger.begin_cancel(claimed)

    assert await begin(Ledger(cast(Books, Raced(heard)))) is heard
    with pytest.raises(Problem, match="state_conflict"):
        await begin(Ledger(cast(Books, Raced(None))))
