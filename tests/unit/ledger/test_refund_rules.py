"""What a refund means in the books: never more than was captured, and fees to the last cent."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain import identity, money
from gateway.domain.errors import Problem
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, Outcome, Verdict
from gateway.domain.payment import Certainty, Standing, Status
from gateway.domain.posting import JournalKind
from gateway.domain.refund import Refund, RefundStanding, RefundStatus
from gateway.ledger.journal_rules import capture_journal, late_journal
from gateway.ledger.refund_rules import (
    RefundChange,
    accepted_journal,
    consequence,
    planned,
    refundable,
)
from tests.unit.ledger.books import Books, table
from tests.unit.nouns import ATTEMPT, NOON, PAYMENT, STANDING

FAILURE = Failure("refund_failed", "The card is closed.", Advice.NEVER)


def captured(amount: int = 10_000, *, fee: int = 60, channel_fee: int = 30) -> Standing:
    """Give a payment of which this much was captured."""
    payment = replace(
        PAYMENT,
        amount=amount,
        amount_authorized=amount,
        amount_captured=amount,
        fee=fee,
        status=Status.SUCCEEDED,
        certainty=None,
    )
    return replace(STANDING, payment=payment, version=1, channel_fee=channel_fee)


def plan(standing: Standing, amount: int | None) -> RefundStanding:
    """Plan a refund of this amount, or of all that is left."""
    refund = Refund(
        id=identity.mint("re", standing.merchant, 0),
        payment=PAYMENT.id,
        merchant=PAYMENT.merchant,
        reference="back",
        amount=refundable(standing, amount),
        currency="CNY",
        created_at=NOON,
        updated_at=NOON,
    )
    return planned(standing, refund=refund, attempt=ATTEMPT)


def reserved(standing: Standing, refund: RefundStanding, sign: int = 1) -> Standing:
    """Reserve a refund on its payment as PostgreSQL does, or with -1 free what was reserved."""
    amount = standing.payment.amount_refunded + sign * refund.refund.amount
    return replace(
        standing,
        payment=replace(standing.payment, amount_refunded=amount),
        fee_refunded=standing.fee_refunded + sign * refund.commission_back,
        channel_fee_refunded=standing.channel_fee_refunded + sign * refund.channel_fee_back,
    )


def brought(standing: RefundStanding, outcome: Outcome) -> RefundChange | None:
    return consequence(standing, outcome, at=NOON, jitter=0)


@pytest.mark.parametrize(
    ("refunded", "asked", "back"),
    [
        (0, None, 10_000),
        (0, 1, 1),
        (0, 10_000, 10_000),
        (4_000, None, 6_000),
        (4_000, 6_000, 6_000),
    ],
)
def test_what_may_go_back(refunded: int, asked: int | None, back: int) -> None:
    standing = captured()
    payment = replace(standing.payment, amount_refunded=refunded)
    assert refundable(replace(standing, payment=payment), asked) == back


@pytest.mark.parametrize(
    ("refunded", "asked"), [(0, 10_001), (4_000, 6_001), (10_000, 1), (10_000, None)]
)
def test_more_than_was_captured_does_not_go_back(refunded: int, asked: int | None) -> None:
    standing = captured()
    payment = replace(standing.payment, amount_refunded=refunded)
    with pytest.raises(Problem) as refusal:
        refundable(replace(standing, payment=payment), asked)
    assert refusal.value.code == "refund_exceeds_captured"


@pytest.mark.parametrize(
    "status", [s for s in Status if s not in {Status.SUCCEEDED, Status.REQUIRES_REVIEW}]
)
def test_a_payment_without_money_is_not_refunded(status: Status) -> None:
    standing = replace(STANDING, payment=replace(PAYMENT, status=status))
    with pytest.raises(Problem) as refusal:
        refundable(standing, 1)
    assert refusal.value.code == "state_conflict"


# One refund of 4,000 that is done and comes back later, and one of 6,000 that fails: accounts in
# rows, what happened in order, debit balances positive.
STORY = """
                        captured accepted    done returned accepted  failed
1121.simulator.CNY         10000    10000    6000    10000    10000   10000
1121.simulator.fees.CNY      -30      -30     -18      -30      -30     -30
2201.CNY                   -9940    -5964   -5964    -9940    -3976   -9940
2222.CNY                       0    -4000       0        0    -6000       0
4001.CNY                     -60      -36     -36      -60      -24     -60
5001.simulator.CNY            30       30      18       30       30      30
"""


def test_the_story_of_two_refunds() -> None:
    accounts, columns = table(STORY)
    books, standing = Books(), captured()
    seen = []
    books.post(capture_journal(standing, ATTEMPT))
    seen.append(books.column(accounts))
    for amount, verdicts in ((4_000, "succeeded failed"), (6_000, "failed")):
        refund = plan(standing, amount)
        books.post(accepted_journal(refund))
        seen.append(books.column(accounts))
        for verdict in verdicts.split():
            change = brought(refund, Outcome(Verdict(verdict), failure=FAILURE))
            assert change is not None
            books.post(change.journal)
            seen.append(books.column(accounts))
            refund = change.standing
    assert seen == columns


LATE = """
                           late accepted     done
1121.simulator.CNY        10000    10000        0
1121.simulator.fees.CNY     -30      -30        0
2221.CNY                 -10000        0        0
2222.CNY                      0   -10000        0
5001.simulator.CNY           30       30        0
"""


def test_late_money_goes_back_from_suspense() -> None:
    accounts, columns = table(LATE)
    books, standing = Books(), captured(fee=0)
    standing = replace(standing, payment=replace(standing.payment, status=Status.REQUIRES_REVIEW))
    books.post(late_journal(standing, ATTEMPT))
    seen = [books.column(accounts)]
    refund = plan(standing, None)
    books.post(accepted_journal(refund))
    seen.append(books.column(accounts))
    done = brought(refund, Outcome(Verdict.SUCCEEDED))
    assert done is not None
    books.post(done.journal)
    seen.append(books.column(accounts))
    assert seen == columns


MATRIX = """
                succeeded authorized requires_action pending            failed closed not_found          unknown
processing      succeeded .          .               processing/pending failed failed processing/unknown processing/unknown
succeeded       .         .          .               .                  failed .      .                  .
failed          .         .          .               .                  .      .      .                  .
requires_review .         .          .               .                  .      .      .                  .
"""  # noqa: E501 - a table is read in whole lines
HEAD, *ROWS = [line.split() for line in MATRIX.strip().splitlines()]
CELLS = [
    (RefundStatus(row[0]), Verdict(verdict), cell)
    for row in ROWS
    for verdict, cell in zip(HEAD, row[1:], strict=True)
]


@pytest.mark.parametrize(("before", "verdict", "cell"), CELLS)
def test_every_verdict_on_every_status(before: RefundStatus, verdict: Verdict, cell: str) -> None:
    standing = plan(captured(), 4_000)
    standing = replace(standing, refund=replace(standing.refund, status=before, certainty=None))
    change = brought(standing, Outcome(verdict, failure=FAILURE))
    if cell == ".":
        assert change is None
        return
    assert change is not None
    status, _, certainty = cell.partition("/")
    refund = change.standing.refund
    assert refund.status is RefundStatus(status)
    assert refund.certainty == (Certainty(certainty) if certainty else None)
    assert refund.failure == (FAILURE if status == "failed" else None)
    assert change.event_type == f"refund.{status}"
    assert change.standing.version == 1
    assert change.frees == (status == "failed")
    assert (change.due_at is not None) == (status == "processing")
    assert (change.journal is None) == (status == "processing")


@pytest.mark.parametrize(("amount", "currency"), [(3_999, "CNY"), (4_000, "USD"), (0, None)])
def test_other_money_than_we_gave_back_is_for_people_to_look_at(
    amount: int, currency: str | None
) -> None:
    said = Outcome(Verdict.SUCCEEDED, amount=amount, currency=currency)
    change = brought(plan(captured(), 4_000), said)
    assert change is not None
    assert change.standing.refund.status is RefundStatus.REQUIRES_REVIEW
    assert (change.journal, change.due_at, change.frees) == (None, None, False)


def test_words_about_another_number_are_for_people_to_look_at() -> None:
    change = brought(plan(captured(), 4_000), ANOTHER_NUMBER)
    assert change is not None
    assert change.standing.refund.status is RefundStatus.REQUIRES_REVIEW
    assert change.journal is None


# Each step refunds some cents, and may let the refund at that place fail afterwards.
STEPS = st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(0, 11)), max_size=12)


@given(STEPS, st.integers(0, 10_000), st.integers(0, 10_000))
@example([(2, 2), (1, 0), (1, 2)], 7_000, 0)
def test_refunds_return_the_fees_to_the_last_cent(
    steps: list[tuple[int, int | None]], commission_bps: int, channel_fee_bps: int
) -> None:
    total = sum(amount for amount, _ in steps) + 1
    fee, channel_fee = money.share(total, commission_bps), money.share(total, channel_fee_bps)
    standing = captured(total, fee=fee, channel_fee=channel_fee)
    books = Books()
    books.post(capture_journal(standing, ATTEMPT))
    waiting: list[RefundStanding] = []
    for amount, fails in [*steps, (None, None)]:
        refund = plan(standing, amount)
        books.post(accepted_journal(refund))
        standing = reserved(standing, refund)
        waiting.append(refund)
        assert books["2222.CNY"] == -standing.payment.amount_refunded, "neither more nor less"
        if fails is not None and fails < len(waiting):
            failing = waiting.pop(fails)
            failed = brought(failing, Outcome(Verdict.FAILED))
            assert failed is not None
            books.post(failed.journal)
            standing = reserved(standing, failing, -1)
    for refund in waiting:
        done = brought(refund, Outcome(Verdict.SUCCEEDED))
        assert done is not None
        books.post(done.journal)
    assert books["2222.CNY"] == books["1121.simulator.CNY"] == 0, "all went back"
    assert books["4001.CNY"] <= 0, "no more commission than was taken"
    if all(fails is None for _, fails in steps):
        assert books.column([]) == [], "all is back where it came from"


SAID = st.builds(
    Outcome,
    st.sampled_from([Verdict.SUCCEEDED, Verdict.FAILED, Verdict.CLOSED, Verdict.UNKNOWN]),
    amount=st.sampled_from([None, 3_999]),
)
DONE, FAILED = Outcome(Verdict.SUCCEEDED), Outcome(Verdict.FAILED)
FAILED_OTHERWISE = Outcome(Verdict.FAILED, amount=3_999)


@given(st.lists(SAID, max_size=8))
@example([DONE, FAILED_OTHERWISE, DONE])
@example([DONE, FAILED_OTHERWISE, FAILED])
def test_whatever_is_said_the_refund_and_the_books_say_the_same(said: list[Outcome]) -> None:
    books, refund = Books(), plan(captured(), 4_000)
    books.post(capture_journal(captured(), ATTEMPT))
    books.post(accepted_journal(refund))
    for outcome in said:
        change = brought(refund, outcome)
        if change is None:
            continue
        books.post(change.journal)
        refund = change.standing
        money_is = (books["2222.CNY"], books["1121.simulator.CNY"], books["2201.CNY"])
        match refund.refund.status:
            case RefundStatus.PROCESSING:
                assert money_is == (-4_000, 10_000, -5_964)
            case RefundStatus.SUCCEEDED:
                assert money_is == (0, 6_000, -5_964)
            case RefundStatus.FAILED:
                assert money_is == (0, 10_000, -9_940)


def test_a_refund_that_failed_and_was_done_all_the_same_is_for_people() -> None:
    failed = brought(plan(captured(), 1_000), Outcome(Verdict.FAILED))
    assert failed is not None
    done = Outcome(Verdict.SUCCEEDED, "tx_late", amount=1_000, currency="CNY")
    late = brought(failed.standing, done)
    assert late is not None
    assert late.standing.refund.status is RefundStatus.REQUIRES_REVIEW
    assert late.frees is False
    assert late.journal is not None
    assert late.journal.kind is JournalKind.REFUND_LATE
    assert brought(late.standing, done) is None


def test_a_refund_that_came_back_is_not_done_again_by_an_old_notice() -> None:
    done = Outcome(Verdict.SUCCEEDED, "tx_1", amount=1_000, currency="CNY")
    made = brought(plan(captured(), 1_000), done)
    assert made is not None
    back = brought(made.standing, Outcome(Verdict.FAILED))
    assert back is not None
    assert brought(back.standing, done) is None
