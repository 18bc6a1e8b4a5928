"""What a notice changes happens when it is posted, however long it was left before."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.channels.notices import KeptNotice
from gateway.channels.port import Notice
from gateway.channels.registry import Account
from gateway.domain.identity import PLATFORM, mint
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answered, Attempt, Opened, Posted
from gateway.flow.desk import Desk
from gateway.flow.notice import serve_left_notices
from tests.unit.nouns import ATTEMPT, HEX, NOON, STANDING

LEFT = KeptNotice(
    mint("ntc", PLATFORM, 1), "simulator", PLATFORM, {}, b"", NOON - timedelta(hours=1)
)


class FakeDesk:
    """One notice that was left, of the one payment that there is."""

    def __init__(
        self,
        verdict: Verdict = Verdict.SUCCEEDED,
        status: Status = Status.PROCESSING,
        attempt: Attempt = ATTEMPT,
    ) -> None:
        self.outcome = Outcome(verdict)
        self.attempt = attempt
        self.standing = replace(STANDING, payment=replace(STANDING.payment, status=status))
        self.made_due: list[datetime] = []
        self.posted: list[Answered] = []
        self.seen: list[Answered] = []
        self.filed: list[str] = []

    async def left(self, _limit: int) -> list[KeptNotice]:
        return [LEFT]

    def read_notice(self, _kept: KeptNotice) -> tuple[Notice, Account]:
        channel: Any = SimpleNamespace(name="simulator", taken=b"")
        return Notice("n", HEX, None, self.outcome), Account(channel)

    async def by_attempt(self, *_: Any) -> Opened:
        return Opened(self.standing, self.attempt)

    def now(self) -> Any:
        return NOON

    async def post(self, answered: Answered) -> Posted:
        self.posted.append(answered)
        return Posted(answered.opened.standing, b"")

    def learn_end(self, _answered: Answered) -> None:
        return None

    async def saw(self, answered: Answered, _source: str) -> None:
        self.seen.append(answered)

    async def ask_soon(self, _attempt: Attempt, now: datetime) -> None:
        self.made_due.append(now)

    async def done(self, _kept: KeptNotice, result: str) -> None:
        self.filed.append(result)

    @property
    def desk(self) -> Desk:
        names = ("notices", "channels", "ledger", "routing", "recovery", "clock")
        return cast("Desk", SimpleNamespace(**dict.fromkeys(names, self)))


async def test_what_was_left_is_posted_as_of_now_and_told_as_of_when_it_came() -> None:
    """An event is found by the time in its id, and by that of its change: they lie together."""
    fake = FakeDesk()
    await serve_left_notices(fake.desk, 9)
    assert [each.at for each in fake.posted] == [NOON]
    assert [each.at for each in fake.seen] == [LEFT.received_at]
    assert fake.filed == ["nothing new"]


@pytest.mark.parametrize(
    ("status", "attempt"),
    [
        (Status.REQUIRES_CAPTURE, ATTEMPT),
        (Status.PROCESSING, replace(ATTEMPT, capture_amount=10_000)),
    ],
    ids=["held", "being captured"],
)
async def test_that_a_hold_failed_is_asked_about_before_it_is_believed(
    status: Status, attempt: Attempt
) -> None:
    """The notice may be older than the hold, which is perhaps being captured just now."""
    held = FakeDesk(Verdict.FAILED, status, attempt)
    await serve_left_notices(held.desk, 9)
    assert (held.posted, held.made_due, held.filed) == ([], [NOON], ["asked about"])
    assert [each.at for each in held.seen] == [LEFT.received_at]


async def test_what_is_told_of_anything_else_is_believed_at_once() -> None:
    for verdict, status in (
        (Verdict.FAILED, Status.PROCESSING),
        (Verdict.CLOSED, Status.REQUIRES_CAPTURE),
    ):
        other = FakeDesk(verdict, status)
        await serve_left_notices(other.desk, 9)
        assert (len(other.posted), other.made_due) == (1, [])
