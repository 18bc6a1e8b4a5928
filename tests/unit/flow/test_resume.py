"""A worker's round: each channel flies by itself, and a slow one holds nobody up."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.identity import mint
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.stages import Answered, Opened, Posted
from gateway.drivers.flights import Flights
from gateway.flow import resume
from gateway.flow.desk import Desk
from gateway.ledger.recovery import Due
from tests.unit.nouns import ATTEMPT, NOON, STANDING

LEASE_ENDS = NOON + timedelta(seconds=limits.QUERY_LEASE_SECONDS)
SLOW = [mint("att", 7, number) for number in range(3)]
QUICK = [mint("att", 7, number) for number in range(10, 14)]


def channel_of(attempt_id: str) -> str:
    return "slow" if attempt_id in SLOW else "quick"


class FakeQueue:
    """Gives out what is due, round by round, and remembers how busy it was told we were."""

    def __init__(self, *rounds: Sequence[str]) -> None:
        self._rounds = list(rounds)
        self.busy: Mapping[str, int] = {}
        self.seen: list[str] = []

    async def take(self, _now: datetime, busy: Mapping[str, int]) -> list[Due]:
        self.busy = dict(busy)
        return [
            Due(7, each, channel_of(each), queries=1, is_check=False, lease_ends=LEASE_ENDS)
            for each in self._rounds.pop(0)
        ]

    async def take_refunds(self, _now: datetime, _busy: Mapping[str, int]) -> list[Any]:
        return []

    async def saw(self, answered: Answered, *_: Any, **__: Any) -> None:
        self.seen.append(answered.opened.attempt.id)


class FakeRest:
    """Everything else: books that know every attempt, and a channel that answers when told to."""

    def __init__(self) -> None:
        self.slow_answers = asyncio.Event()
        self.time = NOON
        self.learned: list[str] = []

    def now(self) -> datetime:
        return self.time

    async def left(self, _limit: int) -> list[Any]:
        return []

    async def by_attempt(self, _merchant: int, attempt_id: str) -> Opened:
        return Opened(STANDING, replace(ATTEMPT, id=attempt_id))

    async def query(self, opened: Opened) -> Answered:
        if opened.attempt.id in SLOW:
            await self.slow_answers.wait()
        return Answered(opened, Outcome(Verdict.PENDING), NOON)

    async def post(self, answered: Answered) -> Posted:
        return Posted(answered.opened.standing, b"")

    def learn_end(self, answered: Answered) -> None:
        self.learned.append(answered.opened.attempt.id)


def desk_of(queue: FakeQueue, rest: FakeRest) -> Desk:
    others = dict.fromkeys(("ledger", "channels", "routing", "notices", "clock"), rest)
    return cast("Desk", SimpleNamespace(recovery=queue, **others))


async def test_a_slow_channel_holds_up_neither_its_round_nor_the_next_one() -> None:
    queue, rest = FakeQueue([*SLOW, *QUICK[:2]], QUICK[2:]), FakeRest()
    desk = desk_of(queue, rest)
    attempts = Flights()
    for _ in range(2):
        await resume.resume_due(desk, attempts, Flights(), Flights())
        async with asyncio.timeout(5):
            while len(attempts) > len(SLOW):
                await attempts.rest(0, 5)
    assert sorted(queue.seen) == QUICK, "all but the slow ones, of both rounds"
    assert queue.busy == {"slow": 3}, "and the queue hears how full the slow channel is"
    rest.slow_answers.set()
    await attempts.landed()
    assert sorted(queue.seen) == [*SLOW, *QUICK]
    assert sorted(rest.learned) == [*SLOW, *QUICK], "the router hears what became of each"


async def test_a_round_that_finds_nothing_is_followed_by_a_rest() -> None:
    """What is looked at in each round ends no rest: it would be for ever the last one's landing."""
    attempts, refunds, aside = Flights(), Flights(), Flights()
    desk = desk_of(FakeQueue([]), FakeRest())
    await resume.resume_due(desk, attempts, refunds, aside)
    assert (len(attempts), len(refunds), len(aside)) == (0, 0, 2)
    await aside.leave(5)


async def test_nobody_asks_beyond_the_lease(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that took an attempt and then stood still for long leaves it to the next one."""
    queue, rest = FakeQueue([SLOW[0]]), FakeRest()
    desk = desk_of(queue, rest)
    rest.time = LEASE_ENDS - timedelta(seconds=limits.QUERY_LEASE_REST_SECONDS)
    attempts = Flights()
    await resume.resume_due(desk, attempts, Flights(), Flights())
    async with asyncio.timeout(5):
        await attempts.landed()
    assert queue.seen == []
    assert "could not be asked about in time" in caplog.text


async def test_no_error_ends_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0

    async def fail(*_: Any) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            raise asyncio.CancelledError
        raise ValueError

    monkeypatch.setattr(resume, "resume_due", fail)
    monkeypatch.setattr(resume, "_IDLE_SECONDS", 0)
    with pytest.raises(asyncio.CancelledError):
        await resume.keep_resuming(cast("Desk", None))
    assert rounds == 3
