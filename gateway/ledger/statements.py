"""The SQL of the ledger's writes: one statement, one round trip and one commit per batch.

Each statement takes one array per column, is its own transaction, and may run twice: what the first
run wrote is found by its ids and nothing is written again.  Keys are inserted in order, so that two
batches never wait for each other in a circle; times and ids come from the application.
"""

from typing import Final

# A new payment: its idempotency key, the payment and its first attempt.  Gives a row for each key
# that was free, saying whether the payment was opened (its reference was free as well).  The CASE
# keeps the planner from turning the look-up into a nested loop: it becomes one hash of the set.
OPEN: Final = """
WITH input AS (
    SELECT * FROM unnest(
        $1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::uuid[], $6::text[], $7::bigint[],
        $8::text[], $9::integer[], $10::boolean[], $11::text[], $12::bytea[], $13::bytea[],
        $14::uuid[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[]
    ) AS t (merchant_id, key, fingerprint, operation, payment_id, reference, amount, currency,
            commission_bps, capture, channel, words, payer, attempt_id, created_at, expires_at,
            due_at)
), claimed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT merchant_id, key, fingerprint, operation, payment_id, created_at
      FROM input ORDER BY merchant_id, key
    ON CONFLICT (merchant_id, key) DO NOTHING
    RETURNING resource_id
), opened AS (
    INSERT INTO payment (merchant_id, id, reference, amount, currency, amount_authorized,
                         amount_captured, amount_refunded, fee, commission_bps, capture, status,
                         certainty, channel, words, payer, version, created_at, updated_at,
                         expires_at)
    SELECT merchant_id, payment_id, reference, amount, currency, 0, 0, 0, 0, commission_bps,
           capture, 'processing', 'pending', channel, words, payer, 0, created_at, created_at,
           expires_at
      FROM input
     WHERE CASE WHEN payment_id IN (SELECT resource_id FROM claimed) THEN true END
     ORDER BY merchant_id, reference
    ON CONFLICT (merchant_id, reference) DO NOTHING
    RETURNING id
), tried AS (
    INSERT INTO attempt (merchant_id, id, payment_id, channel, amount, currency, status, sent_at,
                         expires_at, due_at)
    SELECT merchant_id, attempt_id, payment_id, channel, amount, currency, 'sent', created_at,
           expires_at, due_at
      FROM input
     WHERE CASE WHEN payment_id IN (SELECT id FROM opened) THEN true END
)
SELECT resource_id AS payment_id,
       CASE WHEN resource_id IN (SELECT id FROM opened) THEN true ELSE false END AS opened
  FROM claimed
"""

# For those that were not opened: what their key was used for, and who has their reference.
WHY_NOT_OPENED: Final = """
SELECT w.payment_id, k.fingerprint, k.operation, k.resource_id, own.id AS own_id,
       made.id AS made_id, other.id AS other_id
  FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[])
       AS w (merchant_id, key, payment_id, reference)
  LEFT JOIN idempotency_key k ON k.merchant_id = w.merchant_id AND k.key = w.key
  LEFT JOIN payment own ON own.merchant_id = w.merchant_id AND own.id = w.payment_id
  LEFT JOIN payment made ON made.merchant_id = w.merchant_id AND made.id = k.resource_id
  LEFT JOIN payment other ON other.merchant_id = w.merchant_id AND other.reference = w.reference
"""

# A change of a payment: state, attempt, journal, balances and event, all or nothing for each item.
# An item whose payment is no longer of the expected version is left out; the rest goes on.
# $32 names each merchant once, for an engine that must know which nodes to ask.
POST: Final = """
WITH input AS (
    SELECT * FROM unnest(
        $1::bigint[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::timestamptz[], $12::uuid[],
        $13::text[], $14::bytea[], $15::uuid[], $16::text[], $17::text[], $18::text[],
        $19::timestamptz[], $20::uuid[], $21::smallint[], $22::text[], $23::bigint[],
        $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[],
        $30::bigint[], $31::bigint[]
    ) AS t (merchant_id, payment_id, version, status, certainty, amount_authorized,
            amount_captured, amount_refunded, fee, reply, at, event_id, event_type, event_data,
            attempt_id, attempt_status, channel_transaction, code, due_at, journal_id, kind,
            currency, debit_0, credit_0, amount_0, debit_1, credit_1, amount_1,
            debit_2, credit_2, amount_2)
), moved AS (
    UPDATE payment p
       SET status = i.status, certainty = i.certainty, amount_authorized = i.amount_authorized,
           amount_captured = i.amount_captured, amount_refunded = i.amount_refunded, fee = i.fee,
           reply = i.reply, updated_at = i.at, version = i.version
      FROM input i
     WHERE p.merchant_id = i.merchant_id AND p.id = i.payment_id
       AND p.version = i.version - 1 AND p.merchant_id = ANY($32::bigint[])
    RETURNING i.*
), tried AS (
    UPDATE attempt a
       SET status = m.attempt_status, code = m.code, answered_at = m.at, due_at = m.due_at,
           channel_transaction = coalesce(m.channel_transaction, a.channel_transaction)
      FROM moved m
     WHERE a.merchant_id = m.merchant_id AND a.id = m.attempt_id AND a.merchant_id = ANY($32::bigint[])
), posted AS (
    INSERT INTO transfer (merchant_id, journal_id, leg, payment_id, kind, debit_account,
                          credit_account, amount, currency, created_at)
    SELECT m.merchant_id, m.journal_id, leg.n, m.payment_id, m.kind, leg.debit, leg.credit,
           leg.amount, m.currency, m.at
      FROM moved m CROSS JOIN LATERAL (VALUES
           (0::smallint, m.debit_0, m.credit_0, m.amount_0),
           (1::smallint, m.debit_1, m.credit_1, m.amount_1),
           (2::smallint, m.debit_2, m.credit_2, m.amount_2)) AS leg (n, debit, credit, amount)
     WHERE leg.amount IS NOT NULL
    RETURNING merchant_id, debit_account, credit_account, amount
), numbered AS (
    INSERT INTO feed AS f (merchant_id, last_sequence)
    SELECT merchant_id, count(*) FROM moved GROUP BY merchant_id ORDER BY merchant_id
    ON CONFLICT (merchant_id) DO UPDATE SET last_sequence = f.last_sequence + EXCLUDED.last_sequence
    RETURNING merchant_id, last_sequence
), told AS (
    INSERT INTO event (merchant_id, sequence, id, type, payment_id, resource_id, version,
                       created_at, data)
    SELECT m.merchant_id,
           n.last_sequence + 1
               - row_number() OVER (PARTITION BY m.merchant_id ORDER BY m.event_id DESC),
           m.event_id, m.event_type, m.payment_id, m.payment_id, m.version, m.at, m.event_data
      FROM moved m JOIN numbered n ON n.merchant_id = m.merchant_id
), folded AS (
    INSERT INTO account AS a (merchant_id, account, debits_posted, credits_posted)
    SELECT merchant_id, account, sum(debit), sum(credit)
      FROM (SELECT merchant_id, debit_account AS account, amount AS debit, 0 AS credit FROM posted
            UNION ALL
            SELECT merchant_id, credit_account, 0, amount FROM posted) AS side
     GROUP BY merchant_id, account ORDER BY merchant_id, account
    ON CONFLICT (merchant_id, account) DO UPDATE
       SET debits_posted = a.debits_posted + EXCLUDED.debits_posted,
           credits_posted = a.credits_posted + EXCLUDED.credits_posted
)
SELECT payment_id, version FROM moved
"""

# Which of these changes are in the books already: the events that we named are there.
ALREADY_POSTED: Final = """
SELECT w.event_id
  FROM unnest($1::bigint[], $2::uuid[], $3::uuid[]) AS w (merchant_id, payment_id, event_id)
  JOIN event e ON e.merchant_id = w.merchant_id AND e.payment_id = w.payment_id
              AND e.id = w.event_id
"""
