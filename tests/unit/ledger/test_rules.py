"""What an outcome means: the payment's next state, its event, and its journal to the last cent."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain import limits
from gateway.domain.fees import Rate, Terms
from gateway.domain.outcome import Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.payment import OPEN, Certainty, Standing, Status
from gateway.domain.posting import JournalKind
from gateway.domain.stages import Attempt
from gateway.ledger.rules import Change, adopt, begin_capture, consequence
from tests.unit.ledger.books import Books, table
from tests.unit.nouns import ATTEMPT, EXPIRY, NOON, STANDING

LATER = NOON + timedelta(seconds=1)
AFTER_EXPIRY = EXPIRY + timedelta(seconds=1)
FAILURE = Failure("card_declined", "The card was declined.", Advice.OTHER_METHOD)
SCAN = NextAction("qr", qr="sim://qr")
SUCCEEDED = Outcome(Verdict.SUCCEEDED, "tx_1", amount=10_000, currency="CNY")


def standing_at(status: Status, *, version: int = 1) -> Standing:
    """Give a payment of this status as it would stand after `version` changes."""
    held = status in {Status.REQUIRES_CAPTURE, Status.SUCCEEDED}
    payment = replace(
        STANDING.payment,
        status=status,
        certainty=Certainty.PENDING if status is Status.PROCESSING else None,
        amount_authorized=10_000 if held else 0,
        amount_captured=10_000 if status is Status.SUCCEEDED else 0,
    )
    return replace(STANDING, payment=payment, version=version)


def brought(
    standing: Standing,
    outcome: Outcome,
    *,
    attempt: Attempt = ATTEMPT,
    at: datetime = LATER,
) -> Change | None:
    return consequence(standing, attempt, outcome, at=at)


# Rows are what the payment was, columns what the channel said before its time was over; a dot is
# nothing new.
MATRIX = """
                 succeeded       authorized       requires_action pending failed closed   not_found          unknown
processing       succeeded       requires_capture requires_action .       failed canceled processing/unknown processing/unknown
requires_action  succeeded       requires_capture .               .       failed canceled .                  .
requires_capture succeeded       .                .               .       failed canceled .                  .
requires_review  succeeded       requires_capture .               .       failed canceled .                  .
succeeded        .               .                .               .       .      .        .                  .
failed           requires_review .                .               .       .      .        .                  .
canceled         requires_review .                .               .       .      .        .                  .
expired          requires_review .                .               .       .      .        .                  .
"""  # noqa: E501 - a table is read in whole lines
HEAD, *ROWS = [line.split() for line in MATRIX.strip().splitlines()]
CELLS = [
    (Status(row[0]), Verdict(verdict), cell)
    for row in ROWS
    for verdict, cell in zip(HEAD, row[1:], strict=True)
]


def test_the_matrix_is_complete() -> None:
    assert len({(status, verdict) for status, verdict, _ in CELLS}) == len(Status) * len(Verdict)


@pytest.mark.parametrize(("before", "verdict", "cell"), CELLS)
def test_every_verdict_on_every_status(before: Status, verdict: Verdict, cell: str) -> None:
    outcome = Outcome(verdict, "tx_1", failure=FAILURE, next_action=SCAN)
    change = brought(standing_at(before), outcome)
    if cell == ".":
        assert change is None
        return
    assert change is not None
    status, _, certainty = cell.partition("/")
    payment = change.standing.payment
    late = before in {Status.FAILED, Status.CANCELED, Status.EXPIRED}
    assert payment.status is Status(status)
    assert payment.certainty == (Certainty(certainty) if certainty else None)
    assert change.event_type == ("payment.late_success" if late else f"payment.{status}")
    assert change.standing.version == 2
    assert (change.at, payment.updated_at, payment.created_at) == (LATER, LATER, NOON)
    assert payment.failure == (FAILURE if status == "failed" else None)
    assert payment.next_action == (SCAN if status == "requires_action" else None)
    assert (change.journal is not None) == (verdict is Verdict.SUCCEEDED)
    # That a hold failed may be older than the hold: then it is let go.
    may_hold = before is Status.REQUIRES_CAPTURE and status == "failed"
    assert (change.due_at is None) == (
        (status in {"succeeded", "failed"} and not may_hold)
        or (status == "requires_review" and not late)
    )


@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.UNKNOWN, Verdict.NOT_FOUND])
def test_the_first_word_is_told_even_when_it_says_little(verdict: Verdict) -> None:
    change = brought(standing_at(Status.PROCESSING, version=0), Outcome(verdict))
    assert change is not None
    assert change.standing.payment.status is Status.PROCESSING
    assert (change.standing.version, change.event_type) == (1, "payment.processing")
    again = brought(change.standing, Outcome(verdict))
    assert again is None


@pytest.mark.parametrize(
    ("at", "cancel_wished", "status"),
    [
        (LATER, False, Status.CANCELED),
        (AFTER_EXPIRY, False, Status.EXPIRED),
        (AFTER_EXPIRY, True, Status.CANCELED),
    ],
)
def test_a_close_is_an_expiry_unless_somebody_wanted_it(
    *, at: datetime, cancel_wished: bool, status: Status
) -> None:
    attempt = replace(ATTEMPT, cancel_wished=cancel_wished)
    standing = standing_at(Status.REQUIRES_CAPTURE)
    change = brought(standing, Outcome(Verdict.CLOSED), attempt=attempt, at=at)
    assert change is not None
    assert change.standing.payment.status is status
    assert change.standing.payment.amount_authorized == 0


@pytest.mark.parametrize(
    ("amount", "currency"), [(9_999, "CNY"), (10_001, None), (0, "CNY"), (10_000, "USD")]
)
@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("before", Status)
def test_other_money_than_we_asked_for_is_for_people_to_look_at(
    before: Status, verdict: Verdict, amount: int, currency: str | None
) -> None:
    outcome = Outcome(verdict, "tx_1", amount=amount, currency=currency)
    change = brought(standing_at(before), outcome)
    ended = {Status.FAILED, Status.CANCELED, Status.EXPIRED}
    moved = before in ended and verdict is Verdict.SUCCEEDED
    if before not in {*OPEN, Status.REQUIRES_CAPTURE} and not moved:
        assert change is None
        return
    assert change is not None
    assert change.standing.payment.status is Status.REQUIRES_REVIEW
    assert change.event_type == "payment.requires_review"
    assert change.journal is None
    assert change.due_at == EXPIRY  # it is closed then, unless people have decided before
    assert change.standing.payment.amount_captured == 0


@pytest.mark.parametrize(
    ("status", "latest"),
    [
        (Verdict.PENDING, NOON + timedelta(seconds=3)),
        (Verdict.AUTHORIZED, LATER + timedelta(seconds=limits.AUTHORIZATION_SECONDS)),
    ],
)
def test_what_is_open_is_asked_about_again(status: Verdict, latest: datetime) -> None:
    change = brought(standing_at(Status.PROCESSING, version=0), Outcome(status))
    assert change is not None
    assert change.due_at is not None
    assert LATER < change.due_at <= latest


CAPTURES = """
amount  commission channel  receivable merchant  commission  cost  kept
10000           60      30       10000    -9940         -60    30   -30
10000            0       0       10000   -10000           0     0     0
10000        10000       0       10000        0      -10000     0     0
    1           60      30           1       -1           0     0     0
   84           60      30          84      -83          -1     0     0
   25          200     200          25      -24          -1     1    -1
999999999999    60      30 999999999999 -993999999999 -6000000000 3000000000 -3000000000
"""
ACCOUNTS = [
    "1121.simulator.CNY",
    "2201.CNY",
    "4001.CNY",
    "5001.simulator.CNY",
    "1121.simulator.fees.CNY",
]


@pytest.mark.parametrize("line", CAPTURES.strip().splitlines()[1:])
def test_a_capture_in_the_books(line: str) -> None:
    amount, commission_bps, channel_fee_bps, *balances = map(int, line.split())
    standing = standing_at(Status.PROCESSING)
    standing = replace(
        standing,
        payment=replace(standing.payment, amount=amount),
    )
    terms = Terms(Rate(commission_bps), Rate(channel_fee_bps))
    attempt = replace(ATTEMPT, amount=amount, terms=terms)
    change = brought(standing, Outcome(Verdict.SUCCEEDED), attempt=attempt)
    assert change is not None
    assert change.journal is not None
    assert (change.journal.kind, change.journal.cause) == (JournalKind.CAPTURE, ATTEMPT.id)
    books = Books()
    books.post(change.journal)
    assert books.column(ACCOUNTS) == balances
    payment = change.standing.payment
    assert (payment.amount_captured, payment.fee) == (amount, -balances[2])
    assert change.standing.channel_fee == balances[3]


@pytest.mark.parametrize("amount", [1, 4_000, 10_000])
def test_a_capture_takes_what_was_begun(amount: int) -> None:
    begun = begin_capture(standing_at(Status.REQUIRES_CAPTURE), ATTEMPT, amount, NOON)
    assert begun is not None
    assert begun.journal is None
    assert begun.due_at is not None, "whoever dies now, somebody asks"
    payment = begun.standing.payment
    assert (payment.status, payment.certainty) == (Status.PROCESSING, Certainty.PENDING)
    outcome = Outcome(Verdict.SUCCEEDED, amount=amount, currency="CNY")
    change = brought(begun.standing, outcome, attempt=begun.attempt)
    assert change is not None
    payment = change.standing.payment
    assert (payment.status, payment.amount_captured) == (Status.SUCCEEDED, amount)
    assert payment.amount_authorized == 10_000
    books = Books()
    books.post(change.journal)
    assert books["1121.simulator.CNY"] == amount


@pytest.mark.parametrize("amount", [0, -1, 10_001])
def test_a_capture_of_more_than_was_authorized_does_not_begin(amount: int) -> None:
    assert begin_capture(standing_at(Status.REQUIRES_CAPTURE), ATTEMPT, amount, NOON) is None


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.REQUIRES_CAPTURE])
def test_only_an_authorized_payment_is_captured(status: Status) -> None:
    assert begin_capture(standing_at(status), ATTEMPT, 1, NOON) is None


LATE = """
                         late  adopted
1121.simulator.CNY      10000    10000
2221.CNY               -10000        0
2201.CNY                    0    -9940
4001.CNY                    0      -60
5001.simulator.CNY         30       30
1121.simulator.fees.CNY   -30      -30
"""


@pytest.mark.parametrize("ended", [Status.FAILED, Status.CANCELED, Status.EXPIRED])
def test_money_that_comes_late_waits_in_suspense_until_it_is_adopted(ended: Status) -> None:
    accounts, (when_late, when_adopted) = table(LATE)
    books = Books()
    late = brought(standing_at(ended), SUCCEEDED)
    assert late is not None
    books.post(late.journal)
    assert books.column(accounts) == when_late
    assert late.standing.payment.fee == 0, "nothing is earned on money that nobody wanted yet"
    assert late.due_at == LATER
    assert brought(late.standing, SUCCEEDED) is None, "it comes once"
    adopted = adopt(late.standing, ATTEMPT, LATER)
    assert adopted is not None
    books.post(adopted.journal)
    assert books.column(accounts) == when_adopted
    payment = adopted.standing.payment
    assert (payment.status, payment.fee) == (Status.SUCCEEDED, 60)
    assert adopt(adopted.standing, ATTEMPT, LATER) is None


@pytest.mark.parametrize("status", Status)
def test_there_is_nothing_to_adopt_where_no_money_came(status: Status) -> None:
    assert adopt(standing_at(status), ATTEMPT, LATER) is None


STEPS = st.one_of(
    st.builds(
        Outcome,
        st.sampled_from(Verdict),
        amount=st.sampled_from([None, 10_000, 10_000, 4_000]),
        currency=st.sampled_from([None, "CNY", "CNY", "USD"]),
    ),
    st.sampled_from([1, 4_000, 10_000]),
    st.just("adopt"),
)


@given(st.lists(STEPS, max_size=12), st.integers(0, 10_000))
def test_whatever_happens_the_payment_and_the_books_say_the_same(
    steps: list[Outcome | int | str], commission_bps: int
) -> None:
    books, attempt = Books(), ATTEMPT
    standing = replace(STANDING, commission_bps=commission_bps)
    for step in steps:
        change: Change | None
        if isinstance(step, Outcome):
            change = brought(standing, step, attempt=attempt)
        elif isinstance(step, int):
            change = begin_capture(standing, attempt, step, LATER)
        else:
            change = adopt(standing, attempt, LATER)
        if change is None:
            continue
        assert change.standing.version == standing.version + 1
        books.post(change.journal)
        standing, attempt = change.standing, change.attempt
        payment = standing.payment
        assert 0 <= payment.amount_captured <= payment.amount_authorized <= payment.amount or (
            not payment.amount_captured
        )
        assert books["1121.simulator.CNY"] == payment.amount_captured
        assert books["4001.CNY"] == -payment.fee
        assert books["5001.simulator.CNY"] == standing.channel_fee
        in_suspense = payment.amount_captured and payment.status is Status.REQUIRES_REVIEW
        assert books["2221.CNY"] == (-payment.amount_captured if in_suspense else 0)
        if payment.amount_captured:
            assert payment.status in {Status.SUCCEEDED, Status.REQUIRES_REVIEW}


def paid_again(standing: Standing, attempt: Attempt, transaction: str) -> Change:
    change = brought(standing, replace(SUCCEEDED, channel_transaction=transaction), attempt=attempt)
    assert change is not None
    assert change.event_type == "payment.late_success"
    assert change.standing.payment == replace(standing.payment, updated_at=LATER)
    assert change.journal is not None
    assert (change.journal.kind, change.journal.cause) == (
        JournalKind.PAID_AGAIN,
        change.further_id,
    )
    assert [transfer.amount for transfer in change.journal.transfers] == [10_000]
    return change


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.REQUIRES_REVIEW])
def test_every_further_transaction_of_an_attempt_waits_in_suspense_once(status: Status) -> None:
    """Beside money that is in order, and beside late money that was refunded or not."""
    paid = standing_at(Status.SUCCEEDED)
    paid = replace(paid, payment=replace(paid.payment, status=status, amount_refunded=500))
    attempt = replace(ATTEMPT, channel_transaction="tx_1")
    second = paid_again(paid, attempt, "tx_2")
    third = paid_again(second.standing, second.attempt, "tx_3")
    assert third.attempt.further_transactions == ("tx_2", "tx_3")
    assert second.journal is not None
    assert third.journal is not None
    assert second.journal.uuid != third.journal.uuid
    for known in ("tx_1", "tx_2", "tx_3", None):
        told = replace(SUCCEEDED, channel_transaction=known)
        assert brought(third.standing, told, attempt=third.attempt) is None
    assert second.due_at == (LATER if status is Status.REQUIRES_REVIEW else None)


def test_a_channel_that_knows_of_more_money_beside_the_paid_is_asked_again() -> None:
    soon, more = LATER + timedelta(seconds=15), replace(SUCCEEDED, news_in_seconds=15)
    change = brought(standing_at(Status.PROCESSING), more)
    assert change is not None
    assert (change.standing.payment.status, change.due_at) == (Status.SUCCEEDED, soon)
    attempt = replace(ATTEMPT, channel_transaction="tx_1")
    further = replace(more, channel_transaction="tx_2", amount=123)
    change = brought(standing_at(Status.SUCCEEDED), further, attempt=attempt)
    assert change is not None
    assert change.journal is not None
    assert [transfer.amount for transfer in change.journal.transfers] == [123]
    assert change.due_at == soon


def test_a_further_transaction_in_another_currency_is_not_booked_as_ours() -> None:
    attempt = replace(ATTEMPT, channel_transaction="tx_1")
    told = replace(SUCCEEDED, channel_transaction="tx_2", currency="USD")
    assert brought(standing_at(Status.SUCCEEDED), told, attempt=attempt) is None


@pytest.mark.parametrize("status", [Status.CANCELED, Status.EXPIRED])
def test_what_was_closed_is_looked_at_again(status: Status) -> None:
    at = LATER if status is Status.CANCELED else AFTER_EXPIRY
    change = brought(standing_at(Status.PROCESSING), Outcome(Verdict.CLOSED), at=at)
    assert change is not None
    assert change.standing.payment.status is status
    assert change.due_at == at + timedelta(seconds=limits.CHECK_WAIT_SECONDS[0])


def test_what_cannot_be_so_beside_the_books_is_for_people() -> None:
    change = brought(standing_at(Status.PROCESSING), replace(SUCCEEDED, conflict=True))
    assert change is not None
    assert change.standing.payment.status is Status.REQUIRES_REVIEW
    assert change.journal is None
