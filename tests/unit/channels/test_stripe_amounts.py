"""Amounts at Stripe: the few currencies that it counts in its own way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.stripe.amounts import from_stripe, to_stripe
from gateway.domain.money import EXPONENTS


@pytest.mark.parametrize(
    ("amount", "currency", "at_stripe"),
    [
        (1999, "USD", 1999),
        (1999, "JPY", 1999),
        (1999, "HUF", 1999),
        (1990, "KWD", 1990),
        (1999, "KWD", None),
        (5, "UGX", 500),
        (5, "ISK", 500),
        (500, "MGA", 5),
        (501, "MGA", None),
    ],
)
def test_what_stripe_is_told(amount: int, currency: str, at_stripe: int | None) -> None:
    assert to_stripe(amount, currency) == at_stripe


@given(st.integers(1, 10**12), st.sampled_from(sorted(EXPONENTS)))
def test_what_stripe_is_told_reads_back(amount: int, currency: str) -> None:
    at_stripe = to_stripe(amount, currency)
    assert at_stripe is None or from_stripe(at_stripe, currency) == amount


def test_a_fraction_that_cannot_be_is_no_amount() -> None:
    with pytest.raises(ValueError, match="fraction"):
        from_stripe(501, "ISK")
