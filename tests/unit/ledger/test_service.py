"""The ledger's queues of new payments: what nobody waits for any more is taken out unbegun."""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.domain.errors import Overloaded
from gateway.domain.outcome import NextAction, Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answered, Claimed, Drawn, Opened, Posted, Routed
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
