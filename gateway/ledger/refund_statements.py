"""The SQL of refunds: one reserves its amount and is made at once, then it changes.

As in `statements`, whose parts these are made of, each may run twice.
"""

from typing import Final

from gateway.ledger.statements import (
    EVENT,
    KEY,
    LEGS,
    POSTED,
    TOLD,
    Columns,
    input_of,
    merchants_of,
)

# A new refund: its key, its amount reserved on the payment, the refund, and the journal by which
# the merchant gives the money up.  It is made only on what the payment had refunded when it was
# planned, so that concurrent refunds never share a remainder.  A key that is ours already (this
# very refund was refused before) may go on.
REFUND_COLUMNS: Final[Columns] = (
    ("merchant_id", "bigint"),
    *KEY,
    ("refund_id", "uuid"),
    ("payment_id", "uuid"),
    ("attempt_id", "uuid"),
    ("reference", "text"),
    ("amount", "bigint"),
    ("reason", "text"),
    ("channel", "text"),
    ("from_suspense", "boolean"),
    ("commission_back", "bigint"),
    ("channel_fee_back", "bigint"),
    ("refunded_before", "bigint"),
    ("fee_refunded_before", "bigint"),
    ("channel_fee_refunded_before", "bigint"),
    ("version_before", "integer"),
    ("at", "timestamptz"),
    ("due_at", "timestamptz"),
    ("journal_id", "uuid"),
    ("kind", "smallint"),
    ("currency", "text"),
    *LEGS,
)
REFUND: Final = f"""
WITH {input_of(REFUND_COLUMNS)}, claimed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT merchant_id, key, fingerprint, operation, refund_id, at
      FROM input ORDER BY merchant_id, key
    ON CONFLICT (merchant_id, key) DO NOTHING
    RETURNING resource_id
), mine AS (
    SELECT resource_id FROM claimed
    UNION ALL
    SELECT k.resource_id FROM input i
      JOIN idempotency_key k ON k.merchant_id = i.merchant_id AND k.key = i.key
     WHERE k.resource_id = i.refund_id
), fit AS MATERIALIZED (
    -- Chosen before the payment is locked: what another worker changed meanwhile is checked again
    -- row by row, and a look at `mine` would then run its INSERT a second time.
    SELECT * FROM input
     WHERE CASE WHEN refund_id IN (SELECT resource_id FROM mine) THEN true END
), moved AS (
    UPDATE payment p
       SET amount_refunded = p.amount_refunded + i.amount, updated_at = i.at,
           fee_refunded = p.fee_refunded + i.commission_back,
           channel_fee_refunded = p.channel_fee_refunded + i.channel_fee_back
      FROM fit i
     WHERE p.merchant_id = i.merchant_id AND p.id = i.payment_id
       AND p.merchant_id = ANY({merchants_of(REFUND_COLUMNS)}) AND p.version = i.version_before
       AND p.amount_refunded = i.refunded_before AND p.fee_refunded = i.fee_refunded_before
       AND p.channel_fee_refunded = i.channel_fee_refunded_before
       AND p.amount_refunded + i.amount <= p.amount_captured
       AND NOT EXISTS (SELECT FROM refund r
                        WHERE r.merchant_id = i.merchant_id AND r.reference = i.reference)
    RETURNING i.*
), made AS (
    INSERT INTO refund (merchant_id, id, payment_id, attempt_id, reference, amount, currency,
                        reason, channel, status, certainty, from_suspense, commission_back,
                        channel_fee_back, version, created_at, updated_at, due_at)
    SELECT merchant_id, refund_id, payment_id, attempt_id, reference, amount, currency, reason,
           channel, 'processing', 'pending', from_suspense, commission_back, channel_fee_back, 0,
           at, at, due_at
      FROM moved
), {POSTED}
SELECT refund_id FROM moved
"""
WHY_NOT_REFUNDED: Final = """
SELECT w.refund_id, k.fingerprint, k.operation, k.resource_id, own.id AS own_id,
       own.amount AS own_amount, own.created_at AS own_created_at, other.id AS other_id
  FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[])
       AS w (merchant_id, key, refund_id, reference)
  LEFT JOIN idempotency_key k ON k.merchant_id = w.merchant_id AND k.key = w.key
  LEFT JOIN refund own ON own.merchant_id = w.merchant_id AND own.id = w.refund_id
  LEFT JOIN refund other ON other.merchant_id = w.merchant_id AND other.reference = w.reference
 WHERE w.merchant_id = ANY($1)
"""

# A change of a refund; when it failed, what it had reserved on the payment, or on what was paid
# beside it, is free again.  Nothing is free of a payment that its channel reversed in between: what
# was reserved came back with the rest, so that this failure is to be weighed again.
REFUND_POST_COLUMNS: Final[Columns] = (
    ("merchant_id", "bigint"),
    ("resource_id", "uuid"),
    ("payment_id", "uuid"),
    ("version", "integer"),
    ("status", "text"),
    ("certainty", "text"),
    ("reply", "bytea"),
    ("at", "timestamptz"),
    *EVENT,
    ("channel_transaction", "text"),
    ("code", "text"),
    ("due_at", "timestamptz"),
    ("amount_freed", "bigint"),
    ("fee_freed", "bigint"),
    ("channel_fee_freed", "bigint"),
    ("further_id", "uuid"),
    ("journal_id", "uuid"),
    ("kind", "smallint"),
    ("currency", "text"),
    *LEGS,
)
REFUND_POST: Final = f"""
WITH {input_of(REFUND_POST_COLUMNS)}, held AS MATERIALIZED (
    SELECT p.merchant_id, p.id, p.status FROM payment p
     WHERE (p.merchant_id, p.id) IN (SELECT merchant_id, payment_id FROM input
                                      WHERE amount_freed > 0 AND further_id IS NULL)
       AND p.merchant_id = ANY({merchants_of(REFUND_POST_COLUMNS)})
     ORDER BY p.merchant_id, p.id FOR NO KEY UPDATE
), moved AS (
    UPDATE refund r
       SET status = i.status, certainty = i.certainty, reply = i.reply, updated_at = i.at,
           version = i.version,
           channel_transaction = coalesce(i.channel_transaction, r.channel_transaction),
           code = i.code, due_at = i.due_at
      FROM input i
      LEFT JOIN held h ON h.merchant_id = i.merchant_id AND h.id = i.payment_id
            AND i.amount_freed > 0 AND i.further_id IS NULL
     WHERE r.merchant_id = i.merchant_id AND r.id = i.resource_id AND r.version = i.version - 1
       AND h.status IS DISTINCT FROM 'canceled'
       AND r.merchant_id = ANY({merchants_of(REFUND_POST_COLUMNS)})
    RETURNING i.*
), freed AS (
    UPDATE payment p
       SET amount_refunded = p.amount_refunded - f.amount, updated_at = f.at,
           fee_refunded = p.fee_refunded - f.fee,
           channel_fee_refunded = p.channel_fee_refunded - f.channel_fee
      FROM (SELECT merchant_id, payment_id, sum(amount_freed) AS amount, sum(fee_freed) AS fee,
                   sum(channel_fee_freed) AS channel_fee, max(at) AS at
              FROM moved WHERE amount_freed > 0 AND further_id IS NULL
             GROUP BY merchant_id, payment_id) AS f
     WHERE p.merchant_id = f.merchant_id AND p.id = f.payment_id
       AND p.merchant_id = ANY({merchants_of(REFUND_POST_COLUMNS)})
), freed_beside AS (
    UPDATE further_transaction f SET amount_refunded = f.amount_refunded - m.amount_freed
      FROM moved m
     WHERE f.merchant_id = m.merchant_id AND f.payment_id = m.payment_id AND f.id = m.further_id
       AND f.merchant_id = ANY({merchants_of(REFUND_POST_COLUMNS)}) AND m.amount_freed > 0
), {POSTED}, {TOLD}
SELECT resource_id FROM moved
"""
