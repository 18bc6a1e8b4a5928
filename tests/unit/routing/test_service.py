"""The router itself: what it hands on, when it goes on elsewhere, and what it does not forget."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.identity import milliseconds_of
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import CardMethod, Words
from gateway.domain.stages import Answered, Claimed, Opened, Routed
from gateway.drivers.clock import Clock
from gateway.drivers.telemetry import CHANNEL_WELL
from gateway.routing.config import Config, StoredConfig
from gateway.routing.decision import Full, decode
from gateway.routing.feebook import FeeBook
from gateway.routing.health import Bucket
from gateway.routing.policy import Policy
from gateway.routing.ports import Tallies
from gateway.routing.quota import Quotas
from gateway.routing.replay import Past, replay
from gateway.routing.rules import Candidate
from gateway.routing.service import Outside, Routing
from native.times import milliseconds
from tests.fakes.operators import Operators
from tests.unit.nouns import COMMAND, MATCHED, MERCHANT, NOON

A, B = "simulator", "simulator_b"
CLAIMED = Claimed(MATCHED, "key", b"f" * 32, None)
AWAY = Failure("channel_unavailable", "Away.", Advice.RETRY_LATER)
NEVER_LEFT = Outcome(Verdict.FAILED, code="never_sent", failure=AWAY, sent=False)
DECLINED = Outcome(
    Verdict.FAILED, failure=Failure("card_declined", "No.", Advice.OTHER_METHOD), code="05"
)


class AtNoon(Clock):
    """A clock that stands, until it is wound."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


class Stage:
    """A router over two channels, of which some may be shut."""

    def __init__(self, *documents: dict[str, Any], tallies: Tallies | None = None) -> None:
        self.kept, self.clock = Operators(*documents), AtNoon()
        self.shut: dict[str, Full] = {}
        self.policy = Policy(self.kept)
        self.candidates = [
            Candidate(A, frozenset({"card"}), None, for_load_tests=True, account="acc_a"),
            Candidate(B, frozenset({"card"}), None),
        ]
        self.routing = Routing(
            Outside(lambda _: self.candidates, lambda name, _: self.shut.get(name), tallies),
            self.policy,
            FeeBook(self.kept, self.clock),
            Quotas(self.kept, workers=1),
            clock=self.clock,
        )

    async def refreshed(self) -> "Stage":
        await self.policy.refresh()
        await self.routing.refresh()
        return self

    def next(self, routed: Routed, outcome: Outcome, *tried: str) -> str | None:
        opened = Opened(routed.standing, routed.attempt)
        answered = Answered(opened, outcome, self.clock.at)
        rerouted = self.routing.choose_next(CLAIMED, answered, tried)
        if rerouted is None:
            return None
        told = {one.channel: one.reason for one in decode(rerouted.decision).candidates}
        assert all(told[channel] == "tried" for channel in tried)
        assert rerouted.attempt.payment_id == routed.standing.payment.id
        assert rerouted.attempt.id != routed.attempt.id
        return rerouted.attempt.channel


async def test_what_is_chosen_is_handed_on() -> None:
    stage = await Stage().refreshed()
    routed = stage.routing.choose(CLAIMED)
    payment, attempt = routed.standing.payment, routed.attempt
    assert (payment.channel, attempt.channel, attempt.account) == (A, A, "acc_a")
    assert (attempt.payment_id, attempt.amount) == (payment.id, COMMAND.amount)
    assert attempt.terms is not None
    assert attempt.terms.commission.bps == MERCHANT.commission_bps
    assert routed.decision is not None
    assert decode(routed.decision).chosen == A


async def test_a_payment_has_the_time_that_its_name_has() -> None:
    """However long its request waited: who lists by names finds the times in the same order."""
    stage = await Stage().refreshed()
    stage.clock.at = NOON + timedelta(milliseconds=1250)
    payment = stage.routing.choose(CLAIMED).standing.payment
    assert payment.created_at == payment.updated_at == stage.clock.at
    assert milliseconds_of(payment.id) == milliseconds(stage.clock.at)
    assert payment.expires_at - payment.created_at == timedelta(seconds=limits.CARD_OPEN_SECONDS)


async def test_a_payment_that_waited_is_decided_at_the_time_that_it_has() -> None:
    """What is kept with it is then what comes out of it again, and no quota's second is split."""
    closed = {"begins": "2026-05-01T12:00:01Z", "ends": "2026-05-01T13:00:00Z"}
    document = {"channels": {A: {"windows": [closed]}, B: {"per_second": 1}}}
    stage = await Stage(document).refreshed()
    stage.clock.at = NOON + timedelta(seconds=1)
    routed = stage.routing.choose(CLAIMED)
    payment = routed.standing.payment
    assert payment.channel == B
    assert routed.decision is not None
    past = Past(
        attempt=routed.attempt.id,
        payment=payment.id,
        merchant=payment.merchant,
        amount=payment.amount,
        currency=payment.currency,
        words=Words(payment.method),
        at=payment.created_at,
        told=routed.decision,
    )
    assert replay(past, 0, decode(routed.decision), stage.policy.stored).identical
    with pytest.raises(Problem, match="has its fill"):
        stage.routing.choose(CLAIMED)


async def test_money_that_is_to_be_held_goes_where_it_can_be() -> None:
    stage = await Stage().refreshed()
    stage.candidates[0] = replace(stage.candidates[0], holds=False)
    held = replace(CLAIMED, matched=replace(MATCHED, command=replace(COMMAND, capture="manual")))
    routed = stage.routing.choose(held)
    assert routed.attempt.channel == B
    assert stage.routing.choose(CLAIMED).attempt.channel == A, "others are served as before"
    assert stage.next(routed, NEVER_LEFT, B) is None, "nor does it go on there"
    stage.candidates[1] = replace(stage.candidates[1], holds=False)
    await stage.routing.refresh()
    with pytest.raises(Problem, match="simulator: hold, simulator_b: hold") as refused:
        stage.routing.choose(held)
    assert refused.value.code == "no_channel"


async def test_a_new_configuration_is_used_at_once() -> None:
    stage = await Stage().refreshed()
    assert stage.routing.choose(CLAIMED).attempt.channel == A
    stage.kept.stored.append(StoredConfig(1, Config(order=(B,))))
    await stage.policy.refresh()
    assert stage.routing.choose(CLAIMED).attempt.channel == B


async def test_another_channel_only_where_no_money_can_have_moved() -> None:
    stage = await Stage({"retry": {"attempts_max": 3, "codes": ["card_declined"]}}).refreshed()
    routed = stage.routing.choose(CLAIMED)
    assert stage.next(routed, NEVER_LEFT, A) == B
    assert stage.next(routed, DECLINED, A) == B
    assert stage.next(routed, NEVER_LEFT, A, B) is None, "nobody is left"
    for verdict in set(Verdict) - {Verdict.FAILED}:
        unsure = Outcome(verdict, failure=DECLINED.failure)
        assert stage.next(routed, unsure, A) is None
    stage.clock.at = routed.standing.payment.expires_at
    assert stage.next(routed, NEVER_LEFT, A) is None, "its time is over"


@pytest.mark.parametrize(("attempts_max", "channel"), [(1, None), (2, B)])
async def test_attempts_are_counted(attempts_max: int, channel: str | None) -> None:
    stage = await Stage({"retry": {"attempts_max": attempts_max}}).refreshed()
    routed = stage.routing.choose(CLAIMED)
    assert stage.next(routed, NEVER_LEFT, A) == channel
    assert stage.next(routed, DECLINED, A) is None


@pytest.mark.parametrize("full", ["breaker", "lane"])
@pytest.mark.parametrize("document", [{}, {"channels": {A: {"per_day": 9}}}])
async def test_a_shut_channel_is_passed_over_unless_it_is_the_last(
    full: Full, document: dict[str, Any]
) -> None:
    stage = await Stage(document).refreshed()
    stage.shut[A] = full
    routed = stage.routing.choose(CLAIMED)
    assert routed.attempt.channel == B
    assert routed.decision is not None
    assert [one.reason for one in decode(routed.decision).candidates] == [full, None]
    stage.shut[B] = full
    assert stage.routing.choose(CLAIMED).attempt.channel == A
    stage.shut.clear()
    assert stage.routing.choose(CLAIMED).attempt.channel == A


async def test_a_sick_channel_is_remembered_beyond_a_refresh() -> None:
    stage = await Stage({"health": {"answers_min": 2}}).refreshed()
    routed = stage.routing.choose(CLAIMED)
    for _ in range(2):
        unknown = Answered(Opened(routed.standing, routed.attempt), Outcome(), NOON)
        stage.routing.learn(unknown, 3_000)
    await stage.refreshed()
    assert stage.routing.choose(CLAIMED).attempt.channel == B
    stage.clock.at += timedelta(seconds=5)
    assert stage.routing.choose(CLAIMED).attempt.channel == B


async def test_who_chooses_no_channel_says_nothing_of_their_health() -> None:
    """It hears that one is sick, and has no trial by which it would hear that it is well again."""

    class Shared:
        """What Redis holds for two workers."""

        sums: ClassVar[dict[Bucket, Sequence[int]]] = {}

        async def add(
            self, counted: Mapping[Bucket, Sequence[int]], _: Sequence[int]
        ) -> Mapping[Bucket, Sequence[int]]:
            self.sums.update(counted)
            return self.sums

    def shown() -> float | None:
        named = {"channel": A, "bank": ""}
        return REGISTRY.get_sample_value("floodgate_channel_well", named)

    busy, idle = [Stage({"health": {"answers_min": 2}}, tallies=Shared()) for _ in range(2)]
    for stage in (busy, idle):
        await stage.refreshed()
    routed = busy.routing.choose(CLAIMED)
    for _ in range(2):
        unknown = Answered(Opened(routed.standing, routed.attempt), Outcome(), NOON)
        busy.routing.learn(unknown, 3_000)
    await busy.refreshed()
    assert shown() == 0
    CHANNEL_WELL.labels(A, "").set(1)
    await idle.refreshed()
    assert shown() == 1
    assert idle.routing.choose(CLAIMED).attempt.channel == B, "it heard of it"
    await idle.refreshed()
    assert shown() == 0


async def test_a_load_test_and_a_trial_leave_no_trace() -> None:
    stage = await Stage({"channels": {A: {"per_day": 1}, B: {"per_day": 1}}}).refreshed()
    for _ in range(3):
        assert stage.routing.simulate(MERCHANT, COMMAND, NOON).chosen == A
    load_test = replace(MERCHANT, load_test=True)
    decision = stage.routing.simulate(load_test, COMMAND, NOON)
    assert (decision.chosen, decision.by) == (A, "only")
    taken = [stage.routing.choose(CLAIMED).attempt.channel for _ in range(2)]
    assert taken == [A, B]
    with pytest.raises(Problem) as refused:
        stage.routing.choose(CLAIMED)
    assert (refused.value.code, refused.value.extra) == ("overloaded", {"retry_after": 12 * 3600})


async def test_who_cannot_be_served_hears_why() -> None:
    stage = await Stage({"channels": {A: {"enabled": False}, B: {"methods": ["qr"]}}}).refreshed()
    with pytest.raises(Problem, match=r"simulator: off, simulator_b: method") as refused:
        stage.routing.choose(CLAIMED)
    assert refused.value.code == "no_channel"


async def test_a_card_is_known_by_its_first_digits() -> None:
    bins = [{"prefix": "6228", "issuer": "ABC"}]
    rule = {"name": "abc", "then": "deny", "channels": [A], "when": {"banks": ["ABC"]}}
    stage = await Stage({"bins": bins, "rules": [rule]}).refreshed()
    for digits, channel in (("62284801", B), ("42424242", A), (None, A)):
        command = replace(COMMAND, method=CardMethod("tok_ok", digits))
        claimed = replace(CLAIMED, matched=replace(MATCHED, command=command))
        routed = stage.routing.choose(claimed)
        assert routed.attempt.channel == channel
        assert routed.decision is not None
        bank = decode(routed.decision).bank
        assert bank == ("ABC" if digits is not None and digits.startswith("6228") else None)
