"""Outcomes: unknown is the default, and other money than we asked for is never a success."""

from datetime import UTC, datetime

import pytest

from gateway.domain.outcome import Outcome, Verdict, checked

AT = datetime(2026, 5, 1, tzinfo=UTC)


def test_nothing_said_is_unknown() -> None:
    assert Outcome().verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("amount", "currency"), [(100, "CNY"), (None, "CNY"), (100, None), (None, None)]
)
def test_the_money_we_asked_for(amount: int | None, currency: str | None) -> None:
    outcome = Outcome(Verdict.SUCCEEDED, amount=amount, currency=currency)
    assert checked(outcome, amount=100, currency="CNY") is outcome


@pytest.mark.parametrize(("amount", "currency"), [(99, "CNY"), (100, "USD"), (0, None)])
def test_other_money_is_unknown_and_kept_for_people(amount: int, currency: str | None) -> None:
    said = Outcome(
        Verdict.SUCCEEDED, "tx_1", amount=amount, currency=currency, code="ok", paid_at=AT
    )
    outcome = checked(said, amount=100, currency="CNY")
    assert (outcome.verdict, outcome.code) == (Verdict.UNKNOWN, "amount_mismatch")
    assert (outcome.channel_transaction, outcome.amount, outcome.currency, outcome.paid_at) == (
        "tx_1",
        amount,
        currency,
        AT,
    )
