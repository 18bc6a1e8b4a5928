"""What a payment costs: a table that a banker could read, and laws that hold for every rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.fees import Rate, Terms, usual_terms
from gateway.domain.payment import Standing
from gateway.ledger.refund_rules import fees_back
from tests.unit.nouns import STANDING

# A dot is "none".
FEES = """
amount   bps  fixed  minimum  cap    fee
10000    60   0      0        .      60
10000    60   30     0        .      90
100      60   0      10       .      10
83       60   0      0        .      0
84       60   0      0        .      1
1000000  60   0      0        3000   3000
1000000  60   100    0        3000   3000
100      0    30     50       40     40
1        0    0      0        .      0
10000    0    0      0        0      0
"""
RATES = st.builds(
    Rate,
    bps=st.integers(0, 10_000),
    fixed=st.integers(0, 500),
    minimum=st.integers(0, 500),
    cap=st.none() | st.integers(500, 2_000),
)
AMOUNTS = st.integers(1, 100_000)


@pytest.mark.parametrize("line", FEES.strip().splitlines()[1:])
def test_a_fee(line: str) -> None:
    amount, bps, fixed, minimum, cap, fee = [
        None if word == "." else int(word) for word in line.split()
    ]
    assert amount is not None
    assert Rate(bps or 0, fixed or 0, minimum or 0, cap).of(amount) == fee


@given(RATES, AMOUNTS, AMOUNTS)
def test_a_fee_keeps_its_bounds_and_grows_with_the_amount(rate: Rate, one: int, more: int) -> None:
    fee = rate.of(one)
    assert rate.minimum <= fee or rate.cap == fee
    assert rate.cap is None or fee <= rate.cap
    assert fee <= rate.of(one + more)
    assert 0 <= Terms(rate, rate).commission_of(one) <= one, "there is no more to take"


@given(RATES, RATES, st.lists(st.integers(1, 3_000), min_size=1, max_size=8))
def test_whatever_the_rates_refunds_return_exactly_the_fees(
    commission: Rate, channel: Rate, parts: list[int]
) -> None:
    total, terms = sum(parts), Terms(commission, channel)
    standing = captured(total, terms)
    for part in parts:
        ours, theirs = fees_back(standing, part)
        assert 0 <= ours <= part
        standing = replace(
            standing,
            payment=replace(
                standing.payment, amount_refunded=standing.payment.amount_refunded + part
            ),
            fee_refunded=standing.fee_refunded + ours,
            channel_fee_refunded=standing.channel_fee_refunded + theirs,
        )
    assert standing.fee_refunded == standing.payment.fee
    assert standing.channel_fee_refunded == standing.channel_fee


def captured(amount: int, terms: Terms) -> Standing:
    payment = replace(
        STANDING.payment, amount=amount, amount_captured=amount, fee=terms.commission_of(amount)
    )
    return replace(STANDING, payment=payment, channel_fee=terms.channel.of(amount))


def test_the_usual_terms_are_the_merchants_commission_and_the_channels_share() -> None:
    assert usual_terms(60, "simulator") == Terms(Rate(60), Rate(30))
    assert usual_terms(60, "another").channel == Rate(0)
