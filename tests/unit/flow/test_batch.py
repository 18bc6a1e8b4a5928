"""A batch keeps each item to itself, also where the database leaves or somebody hangs."""

import asyncio
import gc
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.errors import InDoubt, Problem, StatementRefused, Unavailable
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import CreatePayments
from gateway.domain.stages import (
    Answer,
    Answered,
    Claimed,
    Drawn,
    Heard,
    Matched,
    Opened,
    Posted,
    Routed,
)
from gateway.drivers.redis import Redis
from gateway.drivers.redis_line import Command
from gateway.flow.batch import _Company, pay_all
from gateway.flow.desk import Desk
from gateway.idempotency.fast import FastClaims
from gateway.idempotency.rules import fingerprint_of, key_of
from gateway.idempotency.service import Idempotency
from tests.unit.nouns import ATTEMPT, COMMAND, MATCHED, NOON, STANDING, VERIFIED

BATCH = Claimed(Matched(VERIFIED, MATCHED.operation, (), CreatePayments(())), "b", b"b", b"t")  # type: ignore[arg-type]


class Steps:
    """Every step of the house for a batch; what one of the items meets is named by its key."""

    def __init__(self) -> None:
        self.ends: dict[str, str] = {}
        self.places = 0
        self.alone: list[str] = []

    # Match.
    def item(self, batch: Matched, item: bytes) -> Matched:
        if item == b"bad":
            raise Problem("field_invalid", "No.")
        verified = replace(batch.verified, idempotency_key=item.decode(), body_digest=item)
        return Matched(verified, MATCHED.operation, (), COMMAND)

    # Idempotency.
    def unclaimed(self, matched: Matched) -> Claimed:
        key = key_of(matched.verified.idempotency_key)
        return Claimed(matched, key, fingerprint_of(matched.verified), None)

    async def claim_all(self, claims: Sequence[Claimed]) -> list[Claimed | Problem]:
        return [
            Problem("idempotency_key_reused", "It was.")
            if claimed.key == "misused"
            else replace(claimed, token=b"token")
            for claimed in claims
        ]

    async def claim(self, matched: Matched) -> Claimed:
        claimed = replace(self.unclaimed(matched), token=b"token")
        self.ends[claimed.key] = "claimed"
        return claimed

    def keeps(self, status: int) -> bool:
        return status == 422

    async def refuse(self, claimed: Claimed, _answer: Answer) -> None:
        self.ends[claimed.key] = "refused"

    async def release(self, claimed: Claimed) -> None:
        self.ends[claimed.key] = "released"

    async def settle(self, claimed: Claimed, answer: Answer) -> Answer:
        self.ends[claimed.key] = "settled"
        return answer

    async def settle_all(self, ends: Sequence[tuple[Claimed, Answer]]) -> None:
        self.ends |= {claimed.key: "settled" for claimed, _ in ends}

    # Routing and channels.
    def choose(self, claimed: Claimed) -> Routed:
        if claimed.key == "nobody":
            raise Problem("no_channel", "None.")
        return Routed(claimed, STANDING, replace(ATTEMPT, account=claimed.key), None, None)

    def place(self, _routed: Routed) -> Any:
        steps = self

        class Place:
            def __enter__(self) -> None:
                steps.places += 1

            def __exit__(self, *_: object) -> None:
                steps.places -= 1

        return Place()

    def draw(self, routed: Routed) -> Drawn | None:
        if routed.claimed.key != "drawn":
            return None
        opened = Opened(routed.standing, routed.attempt)
        return Drawn(routed, Answered(opened, Outcome(Verdict.REQUIRES_ACTION), NOON))

    def learn(self, *_: object) -> None:
        pass

    def choose_next(self, *_: object) -> None:
        return None

    async def ask(self, opened: Opened) -> Answered:
        if opened.attempt.account == "hangs":
            await asyncio.Future()
        if opened.attempt.account == "bug":
            raise ZeroDivisionError
        return Answered(opened, Outcome(Verdict.SUCCEEDED), NOON)

    # Ledger.
    async def open_all(self, new: Sequence[Routed | Drawn]) -> list[Opened | Posted | Exception]:
        return [
            Posted(STANDING, b'"drawn"')
            if isinstance(each, Drawn)
            else Unavailable("away")
            if each.attempt.account == "unopened"
            else Opened(each.standing, each.attempt)
            for each in new
        ]

    async def heard(self, claimed: Claimed) -> Heard:
        return Heard(claimed.fingerprint, "create_payment", "019d")

    async def open(self, _routed: Routed) -> Heard:
        return await asyncio.Future()

    async def post_all(self, answered: Sequence[Answered]) -> list[Posted | Exception | None]:
        left = {"away": Unavailable("away"), "doubt": InDoubt("?"), "odd": None, "refused": None}
        return [
            left.get(str(each.opened.attempt.account), Posted(STANDING, b'"paid"'))
            for each in answered
        ]

    async def post(self, answered: Answered) -> Posted:
        key = str(answered.opened.attempt.account)
        self.alone.append(key)
        if key == "refused":
            raise StatementRefused("no", "a_check")
        return Posted(STANDING, b'"alone"')


async def taken(*keys: str, by: type[Steps] = Steps) -> tuple[Steps, list[Any]]:
    """Serve a batch of items with these keys; the steps after it, and what became of each."""
    made = by()
    clock = SimpleNamespace(now=lambda: NOON)
    desk = SimpleNamespace(
        **dict.fromkeys(("match", "idempotency", "routing", "channels", "ledger"), made),
        admission=SimpleNamespace(widen=lambda *_: None),
        clock=clock,
    )
    command = CreatePayments(tuple(key.encode() for key in keys))  # type: ignore[arg-type]
    batch = replace(BATCH, matched=replace(BATCH.matched, command=command))
    answer = await pay_all(batch, cast("Desk", desk))
    assert (answer.status, made.places) == (200, 0)
    told = [
        result["payment"] if "payment" in result else result["problem"]["code"]
        for result in json.loads(answer.body)["results"]
    ]
    return made, told


async def test_each_has_its_own_end() -> None:
    keys = ("a", "nobody", "unopened", "bug", "away", "doubt", "odd", "refused", "a", "drawn")
    steps, told = await taken(*keys)
    assert told[:4] == ["paid", "no_channel", "unavailable", "internal_error"]
    assert [payment["certainty"] for payment in told[4:6]] == ["unknown", "unknown"]
    assert told[6:] == ["alone", "internal_error", "paid", "drawn"]
    assert steps.alone == ["odd", "refused"]
    assert steps.ends == {
        **dict.fromkeys(("a", "drawn", "odd"), "settled"),
        **dict.fromkeys(("unopened", "away", "doubt"), "released"),
        "nobody": "refused",
        "b": "released",
    }, "what nobody foresaw keeps its claim until that ends"


async def test_who_is_late_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened is shown as it is durable; of the rest nobody knows."""
    monkeypatch.setattr(limits, "ITEM_SECONDS_MAX", 0.05)
    steps, told = await taken("a", "hangs", "misused", "z")
    assert (told[0], told[2:]) == ("paid", ["internal_error", "paid"])
    assert (told[1]["status"], told[1]["certainty"]) == ("processing", "unknown")
    # Its own time and that of the batch end in the same moment: perhaps it hears of its own first.
    assert steps.ends.pop("misused", "released") == "released", "no key is left claimed"
    assert steps.ends == {"a": "settled", "z": "settled", "hangs": "released", "b": "released"}


@pytest.mark.parametrize(
    ("key", "end"), [("away", "released"), ("hangs", "released"), ("b1", "settled")]
)
async def test_a_batch_is_kept_when_nothing_more_will_be_known(
    monkeypatch: pytest.MonkeyPatch, key: str, end: str
) -> None:
    """Who asks again is told what became of those that could not be posted in time."""
    monkeypatch.setattr(limits, "ITEM_SECONDS_MAX", 0.05 if key == "hangs" else 60)
    steps, _ = await taken("a", key)
    assert steps.ends["b"] == end


class Forgetful(Steps):
    """Claims that cannot be ended, for a reason that nobody foresaw."""

    async def release(self, claimed: Claimed) -> None:
        if claimed.key != "b":
            raise ZeroDivisionError

    async def refuse(self, *_: object) -> None:
        raise ZeroDivisionError

    async def settle_all(self, _ends: object) -> None:
        raise ZeroDivisionError


async def test_what_only_the_next_try_would_use_fails_nobody() -> None:
    _, told = await taken("a", "nobody", by=Forgetful)
    assert told == ["paid", "no_channel"]


async def test_who_is_late_takes_no_result_of_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ITEM_SECONDS_MAX", 0.05)
    _, told = await taken("a", "hangs", by=Forgetful)
    assert (told[0], told[1]["certainty"]) == ("paid", "unknown")


class SlowRedis:
    """Takes what is to be kept, and answers only when something else is asked meanwhile."""

    is_away = False

    def __init__(self) -> None:
        self.claims = FastClaims(cast("Redis", self))
        self.ended: list[tuple[object, object]] = []

    async def ask(self, commands: Sequence[Command]) -> list[None]:
        while commands[0][0] == b"SET" and not self.claims.waiting():  # noqa: ASYNC110 - no Event
            await asyncio.sleep(0)
        for each in commands:
            self.ended.append((each[0], each[1 if each[0] == b"SET" else 3]))
        return [None] * len(commands)


class Remembering(Steps):
    """Claims that are ended in such a Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.redis = SlowRedis()
        self.idempotency = Idempotency(self.redis.claims)

    async def settle_all(self, ends: Sequence[tuple[Claimed, Answer]]) -> None:
        await self.idempotency.settle_all(ends)

    async def release(self, claimed: Claimed) -> None:
        await self.idempotency.release(claimed)


async def test_an_answer_that_is_being_kept_when_time_is_over_is_kept_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ITEM_SECONDS_MAX", 0.05)
    steps, told = await taken("a", "hangs", by=Remembering)
    assert (told[0], told[1]["certainty"]) == ("paid", "unknown")
    assert isinstance(steps, Remembering)
    kept, *released = steps.redis.ended
    assert kept == (b"SET", b"idem:{7:a}")
    assert released == [(b"EVAL", b"idem:{7:hangs}"), (b"EVAL", b"idem:{7:b}")]


async def test_a_batch_is_gone_once_it_is_answered() -> None:
    """Also where items were refused: the collector of cycles comes seldom."""
    gc.collect()
    gc.disable()
    try:
        await taken("a", "nobody", "unopened", "away", "bad", "odd")
        assert not [each for each in gc.get_objects() if isinstance(each, _Company)]
    finally:
        gc.enable()
