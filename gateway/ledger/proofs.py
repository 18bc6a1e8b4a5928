"""Proofs that the books are right: each is a question of which the right answer is "nothing".

Every proof is one statement and therefore one snapshot, so it may be asked of a running system.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from gateway.drivers.postgres import Postgres
from gateway.ledger.questions import QUESTIONS

_COUNTEREXAMPLES_MAX: Final = 20


class Proof(Struct, frozen=True):
    """One proof: whether it holds, how much was looked at, and what stands against it."""

    id: str
    title: str
    holds: bool
    examined: int
    counterexamples: Sequence[str] = ()
    notes: Sequence[str] = ()


# A refund that the channel's own return of all the money has done is no booking of its own there.
_OURS: Final = """
SELECT a.id,
       p.status IN ('processing', 'requires_action', 'requires_review') OR a.due_at IS NOT NULL
       AS open,
       p.certainty IS NOT DISTINCT FROM 'unknown' AS unknown,
       coalesce(booked.moved, 0) + coalesce(beside.moved, 0) - coalesce(returned.moved, 0) AS moved
  FROM attempt a JOIN payment p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
  LEFT JOIN (SELECT merchant_id, left(journal_id::text, 35) AS cause,
                    sum(CASE WHEN kind = 10 THEN -amount ELSE amount END) AS moved
               FROM transfer
              WHERE kind IN (1, 5) AND debit_account / 10000000 = 1121
                 OR kind = 10 AND credit_account / 10000000 = 1121
              GROUP BY merchant_id, left(journal_id::text, 35)) AS booked
         ON booked.merchant_id = a.merchant_id AND booked.cause = left(a.id::text, 35)
  LEFT JOIN (SELECT merchant_id, attempt_id, sum(amount) AS moved FROM further_transaction
              GROUP BY merchant_id, attempt_id) AS beside
         ON beside.merchant_id = a.merchant_id AND beside.attempt_id = a.id
  LEFT JOIN (SELECT merchant_id, attempt_id, sum(amount) AS moved FROM refund
              WHERE status = 'succeeded' AND code = 'returned'
              GROUP BY merchant_id, attempt_id) AS returned
         ON returned.merchant_id = a.merchant_id AND returned.attempt_id = a.id
 WHERE a.channel = ANY($1::text[])
UNION ALL
SELECT r.id, r.status IN ('processing', 'requires_review'),
       r.certainty IS NOT DISTINCT FROM 'unknown',
       CASE WHEN r.status = 'succeeded' AND r.code IS DISTINCT FROM 'returned'
            THEN r.amount ELSE 0 END
  FROM refund r WHERE r.channel = ANY($1::text[])
"""


async def prove(postgres: Postgres) -> list[Proof]:
    """Ask every question of the books alone."""
    proofs = []
    for question in QUESTIONS:
        # Materialized, so that it is planned to be read to its end: for a first few rows alone the
        # planner takes joins that are quadratic on books of which nothing stands out.
        asked = f"WITH found AS MATERIALIZED ({question.against}) SELECT * FROM found LIMIT $1"  # noqa: S608 - a question of ours
        against = await postgres.read(asked, _COUNTEREXAMPLES_MAX, seconds=600)
        examined = await postgres.read(question.examined, seconds=600)
        proofs.append(
            Proof(
                question.id,
                question.title,
                holds=not against,
                examined=examined[0][0],
                counterexamples=[
                    f"merchant {row['merchant_id']}: {row['what']}" for row in against
                ],
            )
        )
    return proofs


class Booking(Struct, frozen=True):
    """One line of an acquirer's own books, as far as the proof needs it."""

    kind: str
    number: str
    amount: int
    refund_number: str | None = None
    transaction: str = ""

    @property
    def ours(self) -> str:
        """Our number of what was booked: the refund's, or the attempt's."""
        return self.refund_number or self.number

    @property
    def moved(self) -> int:
        """By how much it moves what was booked under that number."""
        return -self.amount if self.kind == "reversal" else self.amount


class Moved(Struct, frozen=True):
    """What our books have of one attempt or refund; whether it may still change, or is unknown."""

    amount: int
    open: bool
    unknown: bool = False


async def our_books(postgres: Postgres, channels: Sequence[str]) -> dict[str, Moved]:
    """Read what we booked through these channels, by the numbers that they know."""
    rows = await postgres.read(_OURS, channels, seconds=600)
    return {
        row["id"].hex: Moved(int(row["moved"]), open=row["open"], unknown=row["unknown"])
        for row in rows
    }


def read_books(lines: bytes) -> list[Booking]:
    """Read an acquirer's books, one JSON object a line."""
    decoder = msgspec.json.Decoder(Booking)
    return [decoder.decode(line) for line in lines.splitlines() if line]


def _sums(books: Sequence[Booking]) -> Counter[str]:
    """Sum an acquirer's books by our number; what stands there twice counts once."""
    sums: Counter[str] = Counter()
    for (number, _), amount in {(b.ours, b.transaction): b.moved for b in books}.items():
        sums[number] += amount
    return sums


def compare(
    before: Sequence[Booking], ours: Mapping[str, Moved], afterwards: Sequence[Booking]
) -> Proof:
    """Hold the acquirer's books beside ours, payment by payment and refund by refund.

    Their books are read before and after ours, because both sides may be at work: what they had
    before must be known to us, and what we have must be known to them afterwards.  An attempt may
    have been paid by several of their transactions, each of which we then must have.
    """
    counted = Counter((booking.ours, booking.transaction) for booking in before)
    taken = {(b.ours, b.transaction): b for b in before if b.kind != "reversal"}.values()
    against = [f"{number}: booked twice" for (number, _), count in counted.items() if count > 1]
    notes = [
        f"{number}: they booked {count} transactions, all but one beside the payment"
        for number, count in Counter(booking.ours for booking in taken).items()
        if count > 1
    ]
    sums, later = _sums(before), _sums(afterwards)
    for number, amount in sums.items():
        mine = ours.get(number)
        said = f"{number}: they booked {amount}"
        if mine is None:
            against.append(f"{said}, we know nothing of it")
        elif not min(amount, later[number]) <= mine.amount <= max(amount, later[number]):
            (notes if mine.open else against).append(
                f"{said}, we are still asking" if mine.open else f"{said}, we booked {mine.amount}"
            )
    notes += [
        f"{number}: unknown to us, they booked nothing yet"
        for number, mine in ours.items()
        if mine.unknown and number not in sums
    ]
    against += [
        f"{number}: we booked {mine.amount}, they booked nothing"
        for number, mine in ours.items()
        if mine.amount and number not in later
    ]
    return Proof(
        "g",
        "the simulator's books equal ours, payment by payment",
        holds=not against,
        examined=len(before),
        counterexamples=against[:_COUNTEREXAMPLES_MAX],
        notes=notes[:_COUNTEREXAMPLES_MAX],
    )
