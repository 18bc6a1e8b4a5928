"""What a channel says of money that was not asked for: never booked as ours, never unknown."""

import pytest
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.outcome import ANOTHER_NUMBER, NextAction, Outcome, Verdict, checked
from gateway.domain.payment import Standing, Status
from gateway.domain.stages import Attempt
from tests.unit.ledger.test_rules import AFTER_EXPIRY, SUCCEEDED, brought, standing_at
from tests.unit.nouns import ATTEMPT


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED, Status.EXPIRED])
def test_another_sum_that_a_query_finds_after_the_end_is_for_people(status: Status) -> None:
    """A notice of it is, too; money that came must not be known to nobody but the channel."""
    partly = checked(replace(SUCCEEDED, amount=6_000), amount=10_000, currency="CNY")
    change = brought(standing_at(status), partly, at=AFTER_EXPIRY)
    assert change is not None
    assert change.standing.payment.status is Status.REQUIRES_REVIEW
    assert (change.journal, change.event_type) == (None, "payment.requires_review")
    assert brought(standing_at(status), ANOTHER_NUMBER, at=AFTER_EXPIRY) is None


@pytest.mark.parametrize(
    "strange",
    [
        replace(SUCCEEDED, currency="USD"),
        replace(SUCCEEDED, conflict=True),
        *(replace(SUCCEEDED, amount=amount) for amount in (0, -1, limits.AMOUNT_MINOR_MAX + 1)),
    ],
)
@pytest.mark.parametrize(
    ("standing", "attempt"),
    [
        (standing_at(Status.PROCESSING), replace(ATTEMPT, replaced=True)),
        (standing_at(Status.SUCCEEDED), replace(ATTEMPT, channel_transaction="tx_0")),
    ],
)
def test_what_cannot_be_so_is_no_money_beside_a_payment_either(
    standing: Standing, attempt: Attempt, strange: Outcome
) -> None:
    """It would be booked a second time, in a currency that it does not have, or as no sum at all.

    What the database refuses would be asked about again and again, and a notice of it be failed.
    """
    assert brought(standing, SUCCEEDED, attempt=attempt) is not None
    assert brought(standing, strange, attempt=attempt) is None


def test_of_what_the_channel_gave_back_nothing_is_held_again() -> None:
    """Captured once more it would have two journals of one cause, which the database refuses."""
    held = Outcome(Verdict.AUTHORIZED, amount=10_000)
    frozen, returned = standing_at(Status.REQUIRES_REVIEW), replace(ATTEMPT, returned=True)
    assert brought(frozen, held) is not None
    assert brought(frozen, held, attempt=returned) is None


def test_nobody_is_asked_to_pay_while_what_he_paid_is_captured() -> None:
    """Such a word is from before the hold: it was late, or whoever brought it stood still."""
    held = replace(standing_at(Status.PROCESSING).payment, amount_authorized=10_000)
    capturing = replace(standing_at(Status.PROCESSING), payment=held)
    scan = Outcome(Verdict.REQUIRES_ACTION, next_action=NextAction("qr", qr="code"))
    assert brought(standing_at(Status.PROCESSING), scan) is not None
    attempt = replace(ATTEMPT, capture_amount=10_000)
    assert brought(capturing, scan, attempt=attempt) is None
