"""Times choosing a channel: without a document, by lot, by score, and with many rules."""

import asyncio
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.channels.lanes import Call, Lanes
from gateway.channels.port import Verb
from gateway.domain.identity import uuid_of
from gateway.domain.stages import Claimed
from gateway.drivers.clock import Clock
from gateway.routing.feebook import FeeBook
from gateway.routing.policy import Policy
from gateway.routing.quota import Quotas
from gateway.routing.rules import Candidate
from gateway.routing.service import Outside, Routing
from tests.fakes.operators import Operators
from tests.unit.nouns import ATTEMPT, MATCHED

CLAIMED = Claimed(MATCHED, "key", b"f" * 32, None)
CHANNELS = ("simulator", "simulator_b", "stripe", "unionpay", "alipay", "wechat")
RULES = [
    {
        "name": f"rule_{number}",
        "then": "prefer",
        "channels": ["stripe"],
        "when": {"currencies": ["CNY" if number % 2 else "USD"], "amount_min": 10**6 + number},
    }
    for number in range(20)
]
TERMS = {"stripe": {"amounts": {"CNY": {"max": 100}}}, "simulator_b": {"per_day": 10**9}}
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "no document, 1 channel": (1, {}),
    "no document, 6 channels": (6, {}),
    "by lot, 2 channels": (2, {"strategy": "weights"}),
    "by score, 2 channels": (2, {"strategy": "score"}),
    "by score, 6 channels, 20 rules": (
        6,
        {"strategy": "score", "rules": RULES, "channels": TERMS},
    ),
}


def routing_of(channels: int, document: dict[str, Any]) -> Routing:
    """A router of so many channels by this document."""
    store, clock = Operators(*filter(None, [document])), Clock()
    policy, fees = Policy(store), FeeBook(store, clock)
    for held in (policy, fees):
        asyncio.run(held.refresh())
    candidates = [Candidate(name, frozenset({"card"}), None) for name in CHANNELS[:channels]]
    lanes = Lanes(lambda _: CHANNELS)
    for name in CHANNELS[:channels]:  # each was asked before, so its lane and breaker are looked at
        call = lanes.begin(name, Verb.CREATE, uuid_of(ATTEMPT.id))
        assert isinstance(call, Call)
        call.went(well=True)
        call.over()
    outside = Outside(lambda _: candidates, lanes.shut)
    return Routing(outside, policy, fees, Quotas(store, workers=1), clock=clock)


@pytest.mark.parametrize("rival", CASES)
def test_choosing(benchmark: BenchmarkFixture, rival: str) -> None:
    benchmark.group = "choosing a channel"
    routing = routing_of(*CASES[rival])
    assert routing.choose(CLAIMED).attempt.channel in CHANNELS
    benchmark(routing.choose, CLAIMED)
