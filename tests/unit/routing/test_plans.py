"""Which rate of which plan is in force: tables that an operator could read."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gateway.domain.fees import Rate
from gateway.routing.plans import FeePlan, StoredPlan, Tier, faults, in_force, rate_of
from tests.unit.nouns import NOON

HOUR = timedelta(hours=1)


def plan(**words: Any) -> FeePlan:
    return msgspec.convert({"kind": "commission", "rates": [{"bps": 60}]} | words, FeePlan)


def stored(version: int, hours: int, *rates: dict[str, Any]) -> StoredPlan:
    return StoredPlan(version, 0, plan(rates=list(rates)), NOON + hours * HOUR)


# Rates by how exactly they fit; the plan that came into force last decides alone.
PLANS = [
    stored(1, -9, {"bps": 80}),
    stored(
        2,
        -1,
        {"bps": 60},
        {"method": "card", "bps": 50},
        {"currency": "JPY", "bps": 40, "fixed": 9},
        {"method": "card", "currency": "JPY", "bps": 30},
    ),
    stored(4, -2, {"bps": 70}),
    stored(3, 5, {"method": "card", "bps": 10}),
]
FOUND = """
hours method currency plan bps
0     card   CNY      2    50
0     card   JPY      2    30
0     qr     JPY      2    40
0     qr     CNY      2    60
-1    qr     CNY      2    60
-2    card   CNY      4    70
-5    card   CNY      1    80
-10   card   CNY      .    .
5     card   CNY      3    10
5     qr     CNY      .    .
"""


@pytest.mark.parametrize("line", FOUND.strip().splitlines()[1:])
def test_the_rate_in_force(line: str) -> None:
    hours, method, currency, version, bps = line.split()
    found = in_force(PLANS, NOON + int(hours) * HOUR, method, currency)
    assert found is None if version == "." else found is not None
    if found is not None:
        assert (found[0].version, found[1].bps) == (int(version), int(bps))


@pytest.mark.parametrize(
    ("volume", "bps"), [(0, 60), (999, 60), (1_000, 45), (4_999, 45), (5_000, 38), (10**12, 38)]
)
def test_a_tier_begins_with_its_volume(volume: int, bps: int) -> None:
    one = stored(7, 0, {"currency": "CNY", "bps": 60, "fixed": 5})
    line = msgspec.structs.replace(one.plan.rates[0], tiers=(Tier(1_000, 45), Tier(5_000, 38)))
    assert rate_of(one, line, volume) == Rate(bps, fixed=5, plan=7)


@pytest.mark.parametrize(
    "words",
    [
        {"channel": "simulator"},
        {"kind": "channel"},
        {"returned": False},
        {"rates": [{"bps": 1}, {"bps": 2}]},
        {"rates": [{"currency": "XXX"}]},
        {"rates": [{"fixed": 30}]},
        {"rates": [{"currency": "CNY", "minimum": 5, "cap": 4}]},
        {"rates": [{"currency": "CNY", "tiers": [{"volume": 1, "bps": 2}]}]},
    ],
)
def test_what_a_plan_cannot_mean(words: dict[str, Any]) -> None:
    assert len(faults(plan(**words))) == 1


def test_tiers_ascend() -> None:
    tiers = [{"volume": 5, "bps": 2}, {"volume": 5, "bps": 1}]
    rates = [{"currency": "CNY", "tiers": tiers}]
    assert len(faults(plan(kind="channel", channel="simulator", rates=rates))) == 1


@pytest.mark.parametrize(
    "words", [{"rates": []}, {"rates": [{"bps": 10_001}]}, {"rates": [{"bsp": 1}]}, {"kind": "tax"}]
)
def test_what_is_no_plan(words: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        plan(**words)
