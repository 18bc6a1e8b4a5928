"""What is closed at its channel and what is not, whoever asks: for money, or what became of it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.domain.stages import Answered, Attempt, Claimed, Opened, Posted
from gateway.flow import pay
from gateway.flow.asking import ask_again
from gateway.flow.desk import Desk
from tests.unit.nouns import ATTEMPT, EXPIRY, MATCHED, NOON, STANDING

PAID = replace(
    STANDING, payment=replace(STANDING.payment, status=Status.SUCCEEDED, amount_captured=10_000)
)
CLAIMED = Claimed(MATCHED, "k", b"f", None)


class FakeDesk:
    """Books with one payment, and a channel that notes down its questions and does not know."""

    def __init__(self, stands: Opened) -> None:
        self.stands = stands
        self.asked: list[str] = []
        self.posted: list[Answered] = []

    def now(self) -> Any:
        return EXPIRY if self.stands.lease else NOON

    async def ask(self, opened: Opened) -> Answered:
        self.asked.append("create")
        return Answered(opened, Outcome(), self.now())

    async def query(self, opened: Opened) -> Answered:
        self.asked.append("query")
        return Answered(opened, Outcome(), self.now())

    async def close(self, opened: Opened) -> Answered:
        self.asked.append("close")
        return Answered(opened, Outcome(Verdict.CLOSED), self.now())

    async def by_attempt(self, *_: Any) -> Opened:
        return self.stands

    async def post(self, answered: Answered) -> Posted:
        self.posted.append(answered)
        return Posted(answered.opened.standing, b"")

    async def saw(self, *_: Any, **__: Any) -> None:
        return None

    def learn(self, *_: Any) -> None:
        return None

    def learn_end(self, *_: Any) -> None:
        return None

    def choose_next(self, *_: Any) -> None:
        return None


def desk_of(fake: FakeDesk) -> Desk:
    names = ("channels", "ledger", "recovery", "routing", "clock")
    return cast("Desk", SimpleNamespace(**dict.fromkeys(names, fake)))


@pytest.mark.parametrize(("standing", "asked"), [(STANDING, ["query", "close"]), (PAID, ["query"])])
async def test_what_a_notice_told_while_the_channel_was_silent_is_not_closed(
    standing: Any, asked: list[str]
) -> None:
    fake = FakeDesk(Opened(standing, ATTEMPT, lease=EXPIRY.replace(hour=13)))
    await ask_again(replace(fake.stands, standing=STANDING), desk_of(fake), "query")
    assert fake.asked == asked
    assert fake.posted[0].opened == fake.stands


@pytest.mark.parametrize(
    ("attempt", "asked"),
    [
        (ATTEMPT, ["create"]),
        (replace(ATTEMPT, cancel_wished=True), ["close"]),
        (replace(ATTEMPT, expires_at=NOON), ["close"]),
    ],
)
async def test_no_channel_begins_with_what_is_over_or_to_be_canceled(
    attempt: Attempt, asked: list[str]
) -> None:
    fake = FakeDesk(Opened(STANDING, attempt))
    await pay.ask_around(CLAIMED, fake.stands, desk_of(fake))
    assert fake.asked == asked
