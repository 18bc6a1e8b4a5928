"""What is durable is shown when the time for an answer is over, be the books away or only slow."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import CapturePayment, Status
from gateway.domain.stages import Answered, Claimed, Opened, Posted
from gateway.flow.capture import capture
from gateway.flow.close import cancel
from gateway.flow.desk import Desk
from gateway.flow.once import served
from gateway.flow.pay import pay
from tests.unit.nouns import ATTEMPT, MATCHED, NOON, PAYMENT, STANDING

HELD = replace(PAYMENT, status=Status.REQUIRES_CAPTURE, certainty=None)
ASKED = replace(MATCHED, parameters=(PAYMENT.id,))


class SlowBooks:
    """A channel that answers, or not, and books that take an outcome and say nothing."""

    def __init__(self, *, is_answered: bool) -> None:
        self.is_answered = is_answered
        self.released: list[Claimed] = []

    async def open(self, _routed: Any) -> Opened:
        return Opened(STANDING, ATTEMPT)

    async def begin_capture(self, *_: Any) -> Opened:
        return Opened(STANDING, ATTEMPT)

    async def begin_cancel(self, _claimed: Claimed) -> Opened:
        return Opened(replace(STANDING, payment=HELD), ATTEMPT)

    async def ask(self, opened: Opened) -> Answered:
        if not self.is_answered:
            await asyncio.Event().wait()
        return Answered(opened, Outcome(Verdict.SUCCEEDED), NOON)

    capture = ask

    async def close(self, opened: Opened) -> Answered:
        return replace(await self.ask(opened), outcome=Outcome(Verdict.CLOSED))

    async def post(self, _answered: Answered) -> Posted:
        return await asyncio.Future()

    async def release(self, claimed: Claimed) -> None:
        self.released.append(claimed)

    def place(self, _routed: Any) -> Any:
        return contextlib.nullcontext()

    def nothing(self, *_: Any) -> None:
        return None

    choose = draw = learn = choose_next = nothing


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize(
    ("serve", "command", "told"),
    [
        (pay, MATCHED.command, (201, "processing", "unknown")),
        (capture, CapturePayment(), (200, "processing", "unknown")),
        (cancel, None, (200, "requires_capture", None)),
    ],
)
async def test_what_was_begun_is_shown_when_time_is_over(
    serve: Any, command: Any, told: tuple[int, str, str | None], *, is_answered: bool
) -> None:
    fake = SlowBooks(is_answered=is_answered)
    names = ("channels", "ledger", "idempotency", "routing", "recovery")
    clock = SimpleNamespace(now=lambda: NOON)
    desk = cast("Desk", SimpleNamespace(**dict.fromkeys(names, fake), clock=clock))
    claimed = Claimed(replace(ASKED, command=command), "k", b"f", None)
    answer = await served(claimed, desk, serve, seconds=0.01)
    body = msgspec.json.decode(answer.body)
    assert (answer.status, body["status"], body["certainty"]) == told
    assert fake.released == [claimed]


async def test_who_is_cancelled_for_another_reason_answers_nothing() -> None:
    fake = SlowBooks(is_answered=True)
    desk = cast("Desk", SimpleNamespace(channels=fake, ledger=fake, idempotency=fake))
    claimed = Claimed(replace(ASKED, command=None), "k", b"f", None)
    serving = asyncio.ensure_future(served(claimed, desk, cancel, seconds=60))
    for _ in range(3):
        await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert fake.released == []
