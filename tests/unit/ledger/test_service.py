"""The ledger's queue of new payments: what nobody waits for any more is taken out unbegun."""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.domain.errors import Overloaded
from gateway.domain.stages import Claimed, Opened, Routed
from gateway.ledger.ports import Books
from gateway.ledger.service import Ledger
from tests.unit.nouns import ATTEMPT, MATCHED, STANDING


class Box:
    """Books that open everything and remember it; nothing else is asked of them."""

    post_batch = switch_batch = None

    def __init__(self) -> None:
        self.opened: list[Routed] = []

    async def open_batch(self, batch: Sequence[Routed]) -> Sequence[Opened]:
        self.opened += batch
        return [Opened(routed.standing, routed.attempt) for routed in batch]


def routed(answer_by: float) -> Routed:
    verified = MATCHED.verified
    received = replace(verified.received, answer_by=answer_by)
    matched = replace(MATCHED, verified=replace(verified, received=received))
    return Routed(Claimed(matched, "k", b"f", None), STANDING, ATTEMPT, None, None)


@pytest.mark.parametrize("late", [(True,), (True, False, True), (False, False)])
async def test_a_payment_that_waited_too_long_is_not_opened(late: tuple[bool, ...]) -> None:
    box, now = Box(), time.monotonic()
    ledger = Ledger(cast(Books, box))
    wanted = [routed(now - 1 if is_late else now + 60) for is_late in late]
    told = await asyncio.gather(*map(ledger.open, wanted), return_exceptions=True)
    assert [isinstance(each, Overloaded) for each in told] == list(late)
    assert box.opened == [each for each, is_late in zip(wanted, late, strict=True) if not is_late]
