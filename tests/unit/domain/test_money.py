"""Money: shares round half up, parts of a fee never lose a cent, currencies are ISO 4217's."""

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits, money

AMOUNTS = st.integers(0, limits.AMOUNT_MINOR_MAX)
BASIS_POINTS = st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("amount", "basis_points", "fee"),
    [
        (10_000, 60, 60),
        (10_000, 0, 0),
        (10_000, 10_000, 10_000),
        (0, 60, 0),
        (83, 60, 0),  # 0.498
        (84, 60, 1),  # 0.504
        (25, 200, 1),  # exactly one half goes up
        (75, 200, 2),  # 1.5, too: half up, not half even
        (125, 200, 3),
        (limits.AMOUNT_MINOR_MAX, 10_000, limits.AMOUNT_MINOR_MAX),
    ],
)
def test_a_share_rounds_half_up(amount: int, basis_points: int, fee: int) -> None:
    assert money.share(amount, basis_points) == fee


@given(AMOUNTS, BASIS_POINTS)
def test_a_share_is_the_nearest_minor_unit(amount: int, basis_points: int) -> None:
    error = money.share(amount, basis_points) - Fraction(amount * basis_points, 10_000)
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=12), BASIS_POINTS)
def test_the_parts_of_a_fee_are_the_fee(parts: list[int], basis_points: int) -> None:
    total = sum(parts)
    fee = money.share(total, basis_points)
    before = [0, *accumulate(parts)]
    back = [
        money.cumulative_share(fee, total, so_far, now)
        for so_far, now in zip(before, parts, strict=False)
    ]
    assert sum(back) == fee
    assert min(back) >= 0


@given(st.integers(1, 10**12), BASIS_POINTS, st.data())
def test_no_part_is_off_by_more_than_one(
    total: int, basis_points: int, data: st.DataObject
) -> None:
    fee = money.share(total, basis_points)
    before = data.draw(st.integers(0, total))
    now = data.draw(st.integers(0, total - before))
    back = money.cumulative_share(fee, total, before, now)
    assert abs(back - Fraction(fee * now, total)) <= 1


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        (1999, "CNY", "19.99 CNY"),
        (5, "CNY", "0.05 CNY"),
        (0, "USD", "0.00 USD"),
        (-5, "CNY", "-0.05 CNY"),
        (-1999, "EUR", "-19.99 EUR"),
        (1999, "JPY", "1999 JPY"),
        (-1999, "JPY", "-1999 JPY"),
        (1999, "KWD", "1.999 KWD"),
    ],
)
def test_an_amount_in_words(amount: int, currency: str, words: str) -> None:
    assert money.in_words(amount, currency) == words


@pytest.mark.parametrize(
    ("currency", "numeric", "exponent"),
    [
        ("CNY", 156, 2),
        ("USD", 840, 2),
        ("EUR", 978, 2),
        ("ALL", 8, 2),
        ("JPY", 392, 0),
        ("KRW", 410, 0),
        ("VND", 704, 0),
        ("KWD", 414, 3),
        ("BHD", 48, 3),
    ],
)
def test_a_currency_of_iso_4217(currency: str, numeric: int, exponent: int) -> None:
    assert money.NUMERIC_CODES[currency] == numeric
    assert money.EXPONENTS[currency] == exponent


def test_currencies_are_named_once() -> None:
    assert money.NUMERIC_CODES.keys() == money.EXPONENTS.keys()
    assert len(money.CURRENCY_OF_NUMERIC) == len(money.NUMERIC_CODES)
    assert all(len(c) == 3 and c.isascii() and c.isupper() for c in money.EXPONENTS)
    assert all(0 < number < 1000 for number in money.CURRENCY_OF_NUMERIC)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [("19.99", "CNY", 1999), ("-0.50", "CNY", -50), ("20", "JPY", 20), ("1.234", "KWD", 1234)],
)
def test_decimal_numbers_of_acquirers_are_read_exactly(
    text: str, currency: str, minor: int
) -> None:
    assert money.from_decimal(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "1.999", "NaN", "Infinity", "1e-3", "1,00", "1_0"),
        *(" 1", "\uff11", "1e9", "--1", "."),
        "19.990000000000000000000000000000001",
        "1e999999",
        "9" * 5000,
    ],
)
def test_what_is_no_whole_number_of_minor_units_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        money.from_decimal(text, "CNY")


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(money.EXPONENTS)))
def test_an_amount_survives_being_written_and_read(amount: int, currency: str) -> None:
    assert money.from_decimal(money.to_decimal(amount, currency), currency) == amount
