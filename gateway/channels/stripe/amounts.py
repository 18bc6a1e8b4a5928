"""Amounts as Stripe counts them, which in a few currencies is not as ISO 4217 does.

Stripe counts MGA whole, where ISO has a minor unit, and ISK and UGX in hundredths, where ISO has
none; and the last digit of a three-decimal amount must be zero (docs.stripe.com/currencies).
"""

from typing import Final

from gateway.domain.money import EXPONENTS

_WHOLE: Final = frozenset({"MGA"})
_HUNDREDTHS: Final = frozenset({"ISK", "UGX"})
_THREE_DECIMALS: Final = 3


def to_stripe(amount: int, currency: str) -> int | None:
    """Write an amount of minor units as Stripe counts it; None when it has no such amount."""
    if currency in _WHOLE:
        whole, rest = divmod(amount, 100)
        return whole if rest == 0 else None
    if currency in _HUNDREDTHS:
        return amount * 100
    if EXPONENTS.get(currency) == _THREE_DECIMALS and amount % 10:
        return None
    return amount


def from_stripe(amount: int, currency: str) -> int:
    """Read an amount of Stripe's as minor units; ValueError when it is none of them."""
    if currency in _WHOLE:
        return amount * 100
    if currency in _HUNDREDTHS:
        whole, rest = divmod(amount, 100)
        if rest:
            raise ValueError("a fraction of a currency without fractions")
        return whole
    return amount
