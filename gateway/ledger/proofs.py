"""Proofs that the books are right: each is a question of which the right answer is "nothing".

Every proof is one statement and therefore one snapshot, so it may be asked of a running system.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from gateway.drivers.postgres import Postgres

_COUNTEREXAMPLES_MAX: Final = 20


class Proof(Struct, frozen=True):
    """One proof: whether it holds, how much was looked at, and what stands against it."""

    id: str
    title: str
    holds: bool
    examined: int
    counterexamples: Sequence[str] = ()
    notes: Sequence[str] = ()


class _Question(Struct, frozen=True):
    id: str
    title: str
    examined: str
    against: str


_QUESTIONS: Final = (
    _Question(
        "a",
        "every journal sums to zero per currency",
        "SELECT count(*) FROM (SELECT DISTINCT merchant_id, journal_id FROM transfer) AS journal",
        """
        SELECT merchant_id, 'jrn_' || replace(journal_id::text, '-', '') AS what FROM entry
         GROUP BY merchant_id, journal_id, account % 1000
        HAVING sum(CASE WHEN direction = 'debit' THEN amount ELSE -amount END) <> 0
        """,
    ),
    _Question(
        "b",
        "each account's balance equals the sum of its entries",
        "SELECT count(*) FROM account",
        """
        SELECT merchant_id, 'account ' || account AS what
          FROM (SELECT merchant_id, account,
                       sum(CASE WHEN direction = 'debit' THEN amount ELSE 0 END) AS debits,
                       sum(CASE WHEN direction = 'credit' THEN amount ELSE 0 END) AS credits
                  FROM entry GROUP BY merchant_id, account) AS summed
          FULL JOIN account AS kept USING (merchant_id, account)
         WHERE summed.debits IS DISTINCT FROM kept.debits_posted
            OR summed.credits IS DISTINCT FROM kept.credits_posted
        """,
    ),
    _Question(
        "c",
        "the trial balance is zero",
        "SELECT count(DISTINCT merchant_id) FROM account",
        """
        SELECT merchant_id, 'currency ' || account % 1000 AS what FROM account
         GROUP BY merchant_id, account % 1000 HAVING sum(debits_posted) <> sum(credits_posted)
        """,
    ),
    _Question(
        "d",
        "every succeeded capture and refund has exactly one journal, and every journal its cause",
        """
        SELECT (SELECT count(*) FROM payment WHERE amount_captured > 0)
             + (SELECT count(*) FROM refund)
        """,
        """
        SELECT merchant_id, 'pay_' || replace(payment_id::text, '-', '') AS what
          FROM (SELECT merchant_id, id AS payment_id, amount_captured FROM payment
                 WHERE amount_captured > 0) AS paid
          FULL JOIN (SELECT merchant_id, payment_id, count(DISTINCT journal_id) AS journals,
                            sum(amount) FILTER (WHERE debit_account / 10000000 = 1121) AS gross
                       FROM transfer WHERE kind IN (1, 5)
                      GROUP BY merchant_id, payment_id) AS booked
               USING (merchant_id, payment_id)
         WHERE booked.journals IS DISTINCT FROM 1
            OR booked.gross IS DISTINCT FROM paid.amount_captured
        UNION ALL
        SELECT merchant_id, 're_' || what
          FROM (SELECT merchant_id, left(replace(id::text, '-', ''), 31) AS what, amount, status
                  FROM refund) AS asked
          FULL JOIN (SELECT merchant_id, left(replace(journal_id::text, '-', ''), 31) AS what,
                            sum(amount) FILTER (WHERE kind = 2) AS accepted,
                            sum(amount) FILTER (WHERE kind = 3
                                AND credit_account / 10000000 = 1121) AS done,
                            sum(amount) FILTER (WHERE kind IN (4, 6)
                                AND debit_account / 10000000 IN (1121, 2222)) AS undone
                       FROM transfer WHERE kind IN (2, 3, 4, 6)
                      GROUP BY merchant_id, left(replace(journal_id::text, '-', ''), 31)) AS booked
               USING (merchant_id, what)
         WHERE booked.accepted IS DISTINCT FROM asked.amount
            OR asked.status = 'succeeded' AND booked.done IS DISTINCT FROM asked.amount
            OR asked.status = 'succeeded' AND booked.undone IS NOT NULL
            OR asked.status = 'failed' AND booked.undone IS DISTINCT FROM asked.amount
            OR asked.status = 'processing' AND coalesce(booked.done, booked.undone) IS NOT NULL
        UNION ALL
        SELECT p.merchant_id, 'adoption of pay_' || replace(p.id::text, '-', '')
          FROM payment p
          JOIN (SELECT merchant_id, payment_id AS id, count(*) FILTER (WHERE kind = 5) AS late,
                       count(*) FILTER (WHERE kind = 7) AS adopted
                  FROM transfer WHERE kind IN (5, 7) GROUP BY merchant_id, payment_id) AS moved
               USING (merchant_id, id)
         WHERE moved.late = 0 OR (p.status = 'succeeded') <> (moved.adopted > 0)
        """,
    ),
    _Question(
        "e",
        "no merchant and reference, and no channel and channel transaction, exists twice",
        "SELECT count(*) FROM payment",
        """
        SELECT merchant_id, 'reference of payments' AS what FROM payment
         GROUP BY merchant_id, reference HAVING count(*) > 1
        UNION ALL
        SELECT min(merchant_id), channel || ' ' || channel_transaction FROM attempt
         WHERE channel_transaction IS NOT NULL
         GROUP BY channel, channel_transaction HAVING count(*) > 1
        """,
    ),
    _Question(
        "f",
        "no payment has more refunded than captured",
        "SELECT count(*) FROM payment WHERE amount_refunded > 0",
        """
        SELECT merchant_id, 'pay_' || replace(p.id::text, '-', '') AS what
          FROM payment p
          LEFT JOIN (SELECT merchant_id, payment_id AS id, sum(amount) AS refunded
                       FROM (SELECT *, left(id::text, 35) AS cause FROM refund
                              WHERE status <> 'failed') AS kept
                       LEFT JOIN (SELECT DISTINCT merchant_id, left(journal_id::text, 35) AS cause,
                                         true AS freed
                                    FROM transfer WHERE kind IN (4, 6)) AS undone
                            USING (merchant_id, cause)
                      WHERE undone.freed IS NULL
                      GROUP BY merchant_id, payment_id) AS given USING (merchant_id, id)
         WHERE p.amount_refunded > p.amount_captured OR p.amount_captured > p.amount
            OR p.amount_refunded <> coalesce(given.refunded, 0)
        """,
    ),
    _Question(
        "h",
        "every state change has its event, and no merchant's sequence has a gap",
        "SELECT count(*) FROM event",
        """
        SELECT merchant_id, 'id ' || replace(id::text, '-', '') AS what
          FROM (SELECT merchant_id, id, version FROM payment
                UNION ALL SELECT merchant_id, id, version FROM refund) AS p
          FULL JOIN (SELECT merchant_id, resource_id AS id, count(*) AS events,
                            count(DISTINCT version) AS versions, max(version) AS latest
                       FROM event GROUP BY merchant_id, resource_id) AS told
               USING (merchant_id, id)
         WHERE coalesce(told.events, 0) <> p.version OR told.versions <> p.version
            OR told.latest <> p.version OR p.id IS NULL
        UNION ALL
        SELECT merchant_id, 'sequence'
          FROM (SELECT merchant_id, count(*) AS events, min(sequence) AS first,
                       max(sequence) AS last
                  FROM event GROUP BY merchant_id) AS told
          FULL JOIN feed USING (merchant_id)
         WHERE told.first IS DISTINCT FROM 1 OR told.last IS DISTINCT FROM told.events
            OR feed.last_sequence IS DISTINCT FROM told.events
        """,
    ),
)

_OURS: Final = """
SELECT a.id, p.status IN ('processing', 'requires_action', 'requires_review') AS open,
       coalesce(booked.moved, 0) AS moved
  FROM attempt a JOIN payment p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
  LEFT JOIN (SELECT merchant_id, payment_id, sum(amount) AS moved FROM transfer
              WHERE kind IN (1, 5) AND debit_account / 10000000 = 1121
              GROUP BY merchant_id, payment_id) AS booked
         ON booked.merchant_id = a.merchant_id AND booked.payment_id = a.payment_id
 WHERE a.channel = $1
UNION ALL
SELECT r.id, r.status IN ('processing', 'requires_review'),
       CASE WHEN r.status = 'succeeded' THEN r.amount ELSE 0 END
  FROM refund r WHERE r.channel = $1
"""


async def prove(postgres: Postgres) -> list[Proof]:
    """Ask every question of the books alone."""
    proofs = []
    for question in _QUESTIONS:
        against = await postgres.read(
            question.against + f" LIMIT {_COUNTEREXAMPLES_MAX}", seconds=600
        )
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

    @property
    def ours(self) -> str:
        """Our number of what was booked: the refund's, or the attempt's."""
        return self.refund_number or self.number


class Moved(Struct, frozen=True):
    """What our books have of one attempt or refund, and whether that may still change."""

    amount: int
    open: bool


async def our_books(postgres: Postgres, channel: str) -> dict[str, Moved]:
    """Read what we booked through a channel, by the numbers that it knows."""
    rows = await postgres.read(_OURS, channel, seconds=600)
    return {row["id"].hex: Moved(int(row["moved"]), open=row["open"]) for row in rows}


def read_books(lines: bytes) -> list[Booking]:
    """Read an acquirer's books, one JSON object a line."""
    decoder = msgspec.json.Decoder(Booking)
    return [decoder.decode(line) for line in lines.splitlines() if line]


def compare(
    before: Sequence[Booking], ours: Mapping[str, Moved], afterwards: Sequence[Booking]
) -> Proof:
    """Hold the acquirer's books beside ours, payment by payment and refund by refund.

    Their books are read before and after ours, because both sides may be at work: what they had
    before must be known to us, and what we have must be known to them afterwards.
    """
    counted = Counter(booking.ours for booking in before)
    against = [f"{number}: booked twice" for number, count in counted.items() if count > 1]
    unknown = []
    for booking in before:
        mine = ours.get(booking.ours)
        said = f"{booking.ours}: they booked a {booking.kind} of {booking.amount}"
        if mine is None:
            against.append(f"{said}, we know nothing of it")
        elif mine.amount != booking.amount and mine.open:
            unknown.append(f"{said}, we are still asking")
        elif mine.amount != booking.amount:
            against.append(f"{said}, we booked {mine.amount}")
    known = {booking.ours for booking in afterwards}
    against += [
        f"{number}: we booked {mine.amount}, they booked nothing"
        for number, mine in ours.items()
        if mine.amount and number not in known
    ]
    return Proof(
        "g",
        "the simulator's books equal ours, payment by payment",
        holds=not against,
        examined=len(before),
        counterexamples=against[:_COUNTEREXAMPLES_MAX],
        notes=unknown[:_COUNTEREXAMPLES_MAX],
    )
