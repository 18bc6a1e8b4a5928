"""What is paid may be paid once more: by a payer himself, and then his channel may tell of it."""

from datetime import timedelta

from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Status
from gateway.ledger.rules import begin_capture
from tests.unit.ledger.test_rules import LATER, SUCCEEDED, brought, standing_at
from tests.unit.nouns import ATTEMPT


def test_what_a_payer_can_pay_again_is_looked_at_where_its_channel_would_tell() -> None:
    first = LATER + timedelta(seconds=limits.CHECK_WAIT_SECONDS[0])
    told = replace(SUCCEEDED, tells_more=True)
    for outcome, due_at, is_check in (
        (told, first, True),
        (replace(told, news_in_seconds=15), LATER + timedelta(seconds=15), False),
        (SUCCEEDED, None, False),
    ):
        change = brought(standing_at(Status.PROCESSING), outcome)
        assert change is not None
        assert (change.due_at, change.is_check) == (due_at, is_check)
    attempt = replace(ATTEMPT, channel_transaction="tx_1")
    again = replace(told, channel_transaction="tx_2")
    change = brought(standing_at(Status.SUCCEEDED), again, attempt=attempt)
    assert change is not None
    assert (change.due_at, change.is_check) == (first, True)


def test_what_a_replaced_attempt_moved_and_its_channel_gave_back_is_no_money() -> None:
    replaced = replace(ATTEMPT, replaced=True)
    for status in (Status.PROCESSING, Status.SUCCEEDED):
        assert brought(standing_at(status), SUCCEEDED, attempt=replaced) is not None
        returned = replace(replaced, returned=True)
        assert brought(standing_at(status), SUCCEEDED, attempt=returned) is None


def test_a_capture_that_failed_is_asked_about_once_more() -> None:
    """The word may be of a time when nothing was held: then the capture's money comes late."""
    begun = begin_capture(standing_at(Status.REQUIRES_CAPTURE), ATTEMPT, 10_000, LATER)
    assert begun is not None
    failed = Outcome(Verdict.FAILED)
    change = brought(begun.standing, failed, attempt=begun.attempt)
    assert change is not None
    assert change.standing.payment.status is Status.FAILED
    assert change.due_at is not None
    plain = brought(standing_at(Status.PROCESSING), failed)
    assert plain is not None
    assert plain.due_at is None
