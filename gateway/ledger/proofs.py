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
        "every succeeded capture has exactly one journal, and every journal its cause",
        "SELECT count(*) FROM payment WHERE amount_captured > 0",
        """
        SELECT merchant_id, 'pay_' || replace(payment_id::text, '-', '') AS what
          FROM (SELECT merchant_id, id AS payment_id, amount_captured FROM payment
                 WHERE amount_captured > 0) AS paid
          FULL JOIN (SELECT merchant_id, payment_id, count(DISTINCT journal_id) AS journals,
                            sum(amount) FILTER (WHERE debit_account / 10000000 = 1121) AS gross
                       FROM transfer WHERE kind = 1 GROUP BY merchant_id, payment_id) AS booked
               USING (merchant_id, payment_id)
         WHERE booked.journals IS DISTINCT FROM 1
            OR booked.gross IS DISTINCT FROM paid.amount_captured
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
        SELECT merchant_id, 'pay_' || replace(id::text, '-', '') AS what FROM payment
         WHERE amount_refunded > amount_captured OR amount_captured > amount
        """,
    ),
    _Question(
        "h",
        "every state change has its event, and no merchant's sequence has a gap",
        "SELECT count(*) FROM event",
        """
        SELECT merchant_id, 'pay_' || replace(p.id::text, '-', '') AS what
          FROM payment p
          FULL JOIN (SELECT merchant_id, payment_id AS id, count(*) AS events,
                            count(DISTINCT version) AS versions, max(version) AS latest
                       FROM event WHERE resource_id = payment_id
                      GROUP BY merchant_id, payment_id) AS told USING (merchant_id, id)
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
SELECT a.id, a.merchant_id, a.status, p.status IN ('processing', 'requires_action') AS open,
       (SELECT sum(amount) FROM transfer t
         WHERE t.merchant_id = a.merchant_id AND t.payment_id = a.payment_id
           AND t.kind = 1 AND t.journal_id >= a.id
           AND t.debit_account / 10000000 = 1121) AS captured
  FROM attempt a JOIN payment p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
 WHERE a.channel = $1
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


class OurAttempt(Struct, frozen=True):
    """One attempt as our books have it: what was captured through it, and whether it is open."""

    captured: int
    open: bool


async def our_attempts(postgres: Postgres, channel: str) -> dict[str, OurAttempt]:
    """Read every attempt at a channel by the number that the channel knows."""
    rows = await postgres.read(_OURS, channel, seconds=600)
    return {row["id"].hex: OurAttempt(int(row["captured"] or 0), open=row["open"]) for row in rows}


def read_books(lines: bytes) -> list[Booking]:
    """Read an acquirer's books, one JSON object a line."""
    decoder = msgspec.json.Decoder(Booking)
    return [decoder.decode(line) for line in lines.splitlines() if line]


def compare(
    before: Sequence[Booking], ours: Mapping[str, OurAttempt], afterwards: Sequence[Booking]
) -> Proof:
    """Hold the acquirer's books beside ours, payment by payment.

    Their books are read before and after ours, because both sides may be at work: what they had
    before must be known to us, and what we have must be known to them afterwards.
    """
    taken_before, taken_afterwards = _taken(before), _taken(afterwards)
    twice = [
        n for n, c in Counter(b.number for b in before if b.kind == "payment").items() if c > 1
    ]
    against = [f"{number}: booked twice" for number in twice]
    unknown = []
    for number, amount in taken_before.items():
        mine = ours.get(number)
        if mine is None:
            against.append(f"{number}: they took {amount}, we know nothing of it")
        elif mine.open:
            unknown.append(f"{number}: they took {amount}, we are still asking")
        elif mine.captured != amount:
            against.append(f"{number}: they took {amount}, we booked {mine.captured}")
    against += [
        f"{number}: we booked {mine.captured}, they took nothing"
        for number, mine in ours.items()
        if mine.captured and number not in taken_afterwards
    ]
    return Proof(
        "g",
        "the simulator's books equal ours, payment by payment",
        holds=not against,
        examined=len(taken_before),
        counterexamples=against[:_COUNTEREXAMPLES_MAX],
        notes=unknown[:_COUNTEREXAMPLES_MAX],
    )


def _taken(books: Sequence[Booking]) -> dict[str, int]:
    taken: Counter[str] = Counter()
    for booking in books:
        if booking.kind == "payment":
            taken[booking.number] += booking.amount
    return dict(taken)
