"""The SQL by which money beside payments goes back: which of it is due, and its reservation."""

from typing import Final

from gateway.ledger.statements import LEGS, POSTED, Columns, input_of, merchants_of

# Whoever takes it carries out the merchant's policy before $4, or it is due again.  What is left to
# people is due no more.
TAKE: Final = """
WITH due AS MATERIALIZED (
    SELECT merchant_id, payment_id, id FROM further_transaction
     WHERE merchant_id = ANY($1::bigint[]) AND due_at <= $2
     ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE further_transaction f
   SET due_at = CASE WHEN m.late_success <> 'review' THEN $4::timestamptz END
  FROM due JOIN merchant m ON m.id = due.merchant_id
 WHERE f.merchant_id = due.merchant_id AND f.payment_id = due.payment_id AND f.id = due.id
   AND f.merchant_id = ANY($1::bigint[])
RETURNING f.*, m.public_id AS merchant_public_id
"""

GIVE_BACK_COLUMNS: Final[Columns] = (
    ("merchant_id", "bigint"),
    ("refund_id", "uuid"),
    ("payment_id", "uuid"),
    ("attempt_id", "uuid"),
    ("further_id", "uuid"),
    ("reference", "text"),
    ("amount", "bigint"),
    ("reason", "text"),
    ("channel", "text"),
    ("at", "timestamptz"),
    ("journal_id", "uuid"),
    ("kind", "smallint"),
    ("currency", "text"),
    *LEGS,
)
# Made once, whoever comes first and however often: it is not due any more then.
_IS_DUE: Final = "f.due_at IS NOT NULL"
# What is left to people is due no more, so nobody else takes it; all of it is reserved or nothing.
# Not while people look at a refund of it: one that failed, and was done all the same, is such.
_IS_LEFT: Final = """f.due_at IS NULL
       AND NOT EXISTS (SELECT FROM refund r WHERE r.merchant_id = f.merchant_id
                          AND r.payment_id = f.payment_id AND r.further_id = f.id
                          AND r.status = 'requires_review')"""


def _give_back(condition: str) -> str:
    """Write how what was paid beside a payment goes back, if a condition holds for it.

    Its amount is reserved there, and the refund is made with the journal by which it leaves
    suspense.
    """
    return f"""
WITH {input_of(GIVE_BACK_COLUMNS)}, moved AS (
    UPDATE further_transaction f
       SET amount_refunded = f.amount_refunded + i.amount, due_at = NULL
      FROM input i
     WHERE f.merchant_id = i.merchant_id AND f.payment_id = i.payment_id AND f.id = i.further_id
       AND f.merchant_id = ANY({merchants_of(GIVE_BACK_COLUMNS)}) AND {condition}
       AND f.amount_refunded + i.amount <= f.amount
    RETURNING i.*
), made AS (
    -- Due at once: the queue of refunds asks the channel, at its pace.
    INSERT INTO refund (merchant_id, id, payment_id, attempt_id, further_id, reference, amount,
                        currency, reason, channel, status, certainty, from_suspense,
                        commission_back, channel_fee_back, version, created_at, updated_at, due_at)
    SELECT merchant_id, refund_id, payment_id, attempt_id, further_id, reference, amount, currency,
           reason, channel, 'processing', 'pending', true, 0, 0, 0, at, at, at
      FROM moved
), {POSTED}
SELECT refund_id FROM moved
"""


GIVE_BACK: Final = _give_back(_IS_DUE)
GIVE_BACK_BY_HAND: Final = _give_back(_IS_LEFT)

_FURTHER: Final = """
SELECT f.*, m.public_id AS merchant_public_id
  FROM further_transaction f JOIN merchant m ON m.id = f.merchant_id
 WHERE f.merchant_id = $1"""
OF_PAYMENT: Final = f"{_FURTHER} AND f.payment_id = $2 ORDER BY f.booked_at, f.id"
FIND: Final = f"{_FURTHER} AND f.id = $2"
LEFT_TO_PEOPLE: Final = """
SELECT f.*, m.public_id AS merchant_public_id
  FROM further_transaction f JOIN merchant m ON m.id = f.merchant_id
 WHERE f.merchant_id = ANY($1::bigint[]) AND f.due_at IS NULL AND f.amount_refunded < f.amount
 ORDER BY f.booked_at, f.id
"""
