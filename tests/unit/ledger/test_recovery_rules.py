"""What an asking comes to: what is closed now, when it is asked again, what is let go."""

import itertools
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import ENDED, Status
from gateway.domain.stages import Answered, Attempt, Opened, Posted
from gateway.ledger.recovery_rules import Again, again, holds_in_vain, is_over
from tests.unit.nouns import ATTEMPT, EXPIRY, NOON, STANDING

SOON, HOLD_ENDS = timedelta(seconds=2), NOON + timedelta(seconds=limits.AUTHORIZATION_SECONDS)
CANCELED = replace(ATTEMPT, cancel_wished=True)
CAPTURING = replace(ATTEMPT, capture_amount=700)
REPLACED = replace(ATTEMPT, replaced=True)
PAID_BESIDE = replace(REPLACED, further_transactions=("tx_1",))
ASKED_OFTEN = len(limits.QUERY_WAIT_SECONDS)
FIVE, HOUR, DAY = (timedelta(seconds=wait) for wait in limits.CHECK_WAIT_SECONDS)
ALIVE = {Verdict.PENDING, Verdict.REQUIRES_ACTION, Verdict.AUTHORIZED}


def answered(
    status: Status, verdict: Verdict, at: datetime, attempt: Attempt = ATTEMPT
) -> Answered:
    captured = STANDING.payment.amount if status is Status.SUCCEEDED else 0
    payment = replace(STANDING.payment, status=status, amount_captured=captured)
    opened = Opened(replace(STANDING, payment=payment), attempt)
    return Answered(opened, Outcome(verdict), at)


def next_look(
    status: Status,
    verdict: Verdict,
    at: datetime,
    *,
    attempt: Attempt = ATTEMPT,
    was_check: bool = False,
    queries: int = 1,
) -> Again | None:
    """When a payment of this status is asked about again; it ended at noon if it ended."""
    told = answered(status, verdict, at, attempt)
    posted = Posted(told.opened.standing, b"")
    return again(told, posted, queries=queries, was_check=was_check, jitter=0)


@pytest.mark.parametrize(
    ("status", "verdict", "at", "attempt", "over"),
    [
        (Status.PROCESSING, Verdict.PENDING, NOON, ATTEMPT, False),
        (Status.PROCESSING, Verdict.PENDING, EXPIRY, ATTEMPT, True),
        (Status.PROCESSING, Verdict.UNKNOWN, EXPIRY, ATTEMPT, True),
        (Status.PROCESSING, Verdict.SUCCEEDED, EXPIRY, ATTEMPT, False),
        (Status.PROCESSING, Verdict.PENDING, NOON, CANCELED, True),
        (Status.PROCESSING, Verdict.AUTHORIZED, EXPIRY, CAPTURING, False),
        (Status.REQUIRES_CAPTURE, Verdict.UNKNOWN, EXPIRY, ATTEMPT, False),
        (Status.REQUIRES_CAPTURE, Verdict.AUTHORIZED, HOLD_ENDS, ATTEMPT, True),
        (Status.CANCELED, Verdict.AUTHORIZED, NOON, ATTEMPT, True),
        (Status.CANCELED, Verdict.AUTHORIZED, NOON, CAPTURING, True),
        (Status.EXPIRED, Verdict.PENDING, EXPIRY, ATTEMPT, True),
        (Status.FAILED, Verdict.AUTHORIZED, NOON, ATTEMPT, True),
        (Status.EXPIRED, Verdict.UNKNOWN, EXPIRY, ATTEMPT, False),
        (Status.EXPIRED, Verdict.NOT_FOUND, EXPIRY, ATTEMPT, False),
        (Status.REQUIRES_REVIEW, Verdict.AUTHORIZED, EXPIRY, ATTEMPT, False),
        (Status.REQUIRES_REVIEW, Verdict.AUTHORIZED, HOLD_ENDS, ATTEMPT, True),
        (Status.SUCCEEDED, Verdict.AUTHORIZED, NOON, REPLACED, True),
        (Status.REQUIRES_CAPTURE, Verdict.PENDING, NOON, REPLACED, True),
        (Status.PROCESSING, Verdict.UNKNOWN, EXPIRY, REPLACED, False),
        (Status.SUCCEEDED, Verdict.SUCCEEDED, NOON, REPLACED, False),
        (Status.SUCCEEDED, Verdict.PENDING, NOON, PAID_BESIDE, False),
    ],
)
def test_what_is_closed_now(
    status: Status, verdict: Verdict, at: datetime, attempt: Attempt, *, over: bool
) -> None:
    assert is_over(answered(status, verdict, at, attempt)) is over


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.REQUIRES_REVIEW])
@pytest.mark.parametrize("attempt", [ATTEMPT, CANCELED, CAPTURING])
@pytest.mark.parametrize("verdict", Verdict)
def test_what_is_paid_is_never_closed(status: Status, attempt: Attempt, verdict: Verdict) -> None:
    told = answered(status, verdict, HOLD_ENDS, attempt)
    paid = replace(told.opened.standing.payment, amount_captured=attempt.expected)
    standing = replace(told.opened.standing, payment=paid)
    assert not is_over(replace(told, opened=replace(told.opened, standing=standing)))


def test_what_is_paid_with_another_sum_is_not_closed_either() -> None:
    told = answered(Status.REQUIRES_REVIEW, Verdict.UNKNOWN, EXPIRY)
    assert is_over(told)
    assert not is_over(replace(told, outcome=Outcome(amount=6_000, conflict=True)))


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("verdict", Verdict)
def test_a_hold_is_in_vain_once_its_payment_has_ended(status: Status, verdict: Verdict) -> None:
    told = answered(status, verdict, NOON)
    in_vain = verdict is Verdict.AUTHORIZED and status in ENDED
    assert holds_in_vain(told.opened.standing, ATTEMPT, told.outcome) is in_vain
    assert holds_in_vain(told.opened.standing, REPLACED, told.outcome) is (verdict in ALIVE)


@pytest.mark.parametrize(
    ("status", "verdict", "at", "when"),
    [
        (Status.PROCESSING, Verdict.PENDING, NOON, NOON + SOON),
        (Status.PROCESSING, Verdict.PENDING, EXPIRY - timedelta(seconds=1), EXPIRY),
        (Status.PROCESSING, Verdict.UNKNOWN, EXPIRY, EXPIRY + SOON),
        (Status.REQUIRES_CAPTURE, Verdict.AUTHORIZED, NOON, HOLD_ENDS),
        (Status.REQUIRES_CAPTURE, Verdict.UNKNOWN, HOLD_ENDS, HOLD_ENDS + SOON),
        (Status.REQUIRES_REVIEW, Verdict.UNKNOWN, EXPIRY, EXPIRY + (EXPIRY - NOON) / 4),
        (Status.REQUIRES_REVIEW, Verdict.SUCCEEDED, EXPIRY, None),
        (Status.SUCCEEDED, Verdict.SUCCEEDED, NOON, None),
    ],
)
def test_what_is_open_is_asked_about_again(
    status: Status, verdict: Verdict, at: datetime, when: datetime | None
) -> None:
    assert next_look(status, verdict, at) == (Again(when) if when is not None else None)


def test_silence_does_not_confirm_a_hold_that_something_spoke_against() -> None:
    """A decline was told of it, which may be older than the hold: so its channel was asked."""
    assert next_look(Status.REQUIRES_CAPTURE, Verdict.UNKNOWN, NOON) == Again(NOON + SOON)


def test_a_hold_lives_from_when_it_was_placed_however_old_its_payment_is() -> None:
    """A payer may take a week to confirm; whoever asks on the next day does not let it go."""
    placed, ask = HOLD_ENDS - timedelta(hours=1), HOLD_ENDS + timedelta(hours=1)
    told = answered(Status.REQUIRES_CAPTURE, Verdict.AUTHORIZED, ask)
    payment = replace(told.opened.standing.payment, updated_at=placed)
    standing = replace(told.opened.standing, payment=payment)
    told = replace(told, opened=replace(told.opened, standing=standing))
    assert not is_over(told)
    ends = placed + timedelta(seconds=limits.AUTHORIZATION_SECONDS)
    posted = Posted(standing, b"")
    assert again(told, posted, queries=1, was_check=False, jitter=0) == Again(ends)
    assert is_over(replace(told, at=ends))


def test_a_channel_that_may_know_more_soon_is_asked_soon_however_often_it_was() -> None:
    told = answered(Status.REQUIRES_ACTION, Verdict.PENDING, NOON)
    posted = Posted(told.opened.standing, b"")

    def next_at(news_in: int | None, queries: int) -> datetime:
        hinted = replace(told, outcome=Outcome(Verdict.PENDING, news_in_seconds=news_in))
        look = again(hinted, posted, queries=queries, was_check=False, jitter=0)
        assert look is not None
        return look.at

    assert next_at(15, 6) == NOON + timedelta(seconds=15)
    assert next_at(15, 1) == next_at(None, 1) == NOON + SOON


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.REQUIRES_REVIEW])
@pytest.mark.parametrize(
    ("outcome", "was_check", "wait"),
    [
        (Outcome(Verdict.SUCCEEDED, news_in_seconds=15), False, timedelta(seconds=15)),
        (Outcome(Verdict.SUCCEEDED), False, None),
        # It was asked because it may know of more: silence says nothing of that.
        (Outcome(Verdict.UNKNOWN), False, SOON),
        (Outcome(Verdict.UNKNOWN), True, FIVE),
        (Outcome(Verdict.UNKNOWN, conflict=True), False, None),
        (Outcome(Verdict.SUCCEEDED, tells_more=True), False, FIVE),
        (Outcome(Verdict.SUCCEEDED, tells_more=True), True, FIVE),
    ],
)
def test_a_paid_one_is_asked_about_while_its_channel_may_know_of_more_money(
    status: Status, outcome: Outcome, wait: timedelta | None, *, was_check: bool
) -> None:
    told = answered(status, Verdict.SUCCEEDED, NOON)
    paid = replace(told.opened.standing.payment, amount_captured=10_000)
    posted = Posted(replace(told.opened.standing, payment=paid), b"")
    queries = 9 if outcome.news_in_seconds is not None else 1
    look = again(
        replace(told, outcome=outcome), posted, queries=queries, was_check=was_check, jitter=0
    )
    expected = Again(NOON + wait, is_check=wait == FIVE) if wait is not None else None
    assert look == expected


@pytest.mark.parametrize("status", [Status.CANCELED, Status.EXPIRED])
@pytest.mark.parametrize(
    "verdict", [Verdict.CLOSED, Verdict.NOT_FOUND, Verdict.UNKNOWN, Verdict.PENDING]
)
def test_after_the_end_it_is_looked_for_money_three_times(status: Status, verdict: Verdict) -> None:
    for wait, then in ((FIVE, HOUR), (HOUR, DAY)):
        look = next_look(status, verdict, NOON + wait, was_check=True)
        assert look == Again(NOON + then, is_check=True)
    last = next_look(status, verdict, NOON + DAY, was_check=True)
    once_more = Again(NOON + DAY + SOON, is_check=True)
    assert last == (once_more if verdict in {Verdict.UNKNOWN, Verdict.PENDING} else None)
    given_up = NOON + timedelta(seconds=limits.CHECK_GIVE_UP_SECONDS)
    assert next_look(status, verdict, given_up, was_check=True) is None


@pytest.mark.parametrize("status", sorted(ENDED, key=lambda status: status.value))
def test_a_hold_is_let_go_until_the_channel_confirms_it(status: Status) -> None:
    for verdict in ALIVE | {Verdict.UNKNOWN, Verdict.NOT_FOUND}:
        assert next_look(status, verdict, NOON) == Again(NOON + SOON)
    confirmed = next_look(status, Verdict.CLOSED, NOON)
    look = Again(NOON + FIVE, is_check=True)
    assert confirmed == (None if status is Status.FAILED else look)


def test_a_hold_that_nobody_wants_is_asked_about_until_it_must_have_lapsed() -> None:
    for attempt, status in ((ATTEMPT, Status.CANCELED), (REPLACED, Status.SUCCEEDED)):
        for days, verdict in itertools.product((0, 9), ALIVE | {Verdict.UNKNOWN}):
            at = NOON + timedelta(days=days)
            assert next_look(status, verdict, at, attempt=attempt) == Again(at + SOON)
        lapsed = NOON + timedelta(seconds=limits.FROZEN_GIVE_UP_SECONDS)
        for queries in range(1, ASKED_OFTEN + 1):
            look = next_look(status, Verdict.UNKNOWN, lapsed, attempt=attempt, queries=queries)
            assert (look is None) == (queries == ASKED_OFTEN), "one noticed late is not given up"
    for settled in (Verdict.CLOSED, Verdict.SUCCEEDED):
        assert next_look(Status.SUCCEEDED, settled, NOON, attempt=REPLACED) is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Verdict.UNKNOWN),
        Outcome(Verdict.NOT_FOUND),
        Outcome(Verdict.AUTHORIZED, amount=1),
        Outcome(Verdict.UNKNOWN, amount=6_000, conflict=True),
        Outcome(Verdict.PENDING, news_in_seconds=15),
    ],
)
def test_what_is_frozen_without_money_is_asked_about_ever_more_seldom(outcome: Outcome) -> None:
    told = answered(Status.REQUIRES_REVIEW, outcome.verdict, NOON)
    posted, at, looks = Posted(told.opened.standing, b""), NOON, [NOON]
    while True:
        told = replace(told, outcome=outcome, at=at)
        look = again(told, posted, queries=len(looks), was_check=False, jitter=0)
        if look is None:
            break
        assert not look.is_check
        assert look.at > at
        looks.append(at := look.at)
    assert {EXPIRY, HOLD_ENDS} <= set(looks), "where it is closed, if its channel lets it be"
    assert at - NOON >= timedelta(seconds=limits.FROZEN_GIVE_UP_SECONDS)
    assert len(looks) < 60
    assert len([look for look in looks if look - NOON > timedelta(days=1)]) < 15
