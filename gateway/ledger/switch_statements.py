"""How a payment goes on through another channel: one statement ends an attempt and opens the next.

It applies only while nothing else became of the payment: no change, no capture, no switch.  A wish
to cancel that came in between goes over to the next attempt, which recovery then closes.
"""

from typing import Final

from gateway.ledger.statements import EVENT, TOLD, Columns, input_of, merchants_of

COLUMNS: Final[Columns] = (
    ("merchant_id", "bigint"),
    ("payment_id", "uuid"),
    ("resource_id", "uuid"),
    ("version", "integer"),
    ("at", "timestamptz"),
    *EVENT,
    ("attempt_id", "uuid"),
    ("attempt_status", "text"),
    ("code", "text"),
    ("next_id", "uuid"),
    ("channel", "text"),
    ("account", "text"),
    ("amount", "bigint"),
    ("currency", "text"),
    ("expires_at", "timestamptz"),
    ("due_at", "timestamptz"),
    ("terms", "bytea"),
    ("decision", "bytea"),
)
SWITCH: Final = f"""
WITH {input_of(COLUMNS)}, moved AS (
    UPDATE payment p
       SET status = 'processing', certainty = 'pending', channel = i.channel, reply = NULL,
           updated_at = i.at, version = i.version
      FROM input i
     WHERE p.merchant_id = i.merchant_id AND p.id = i.payment_id AND p.version = i.version - 1
       AND p.merchant_id = ANY({merchants_of(COLUMNS)})
       AND p.status = 'processing' AND p.amount_authorized = 0 AND p.amount_captured = 0
    RETURNING i.*
), ended AS (
    UPDATE attempt a
       SET status = m.attempt_status, code = m.code, answered_at = m.at,
           first_verdict = m.attempt_status, first_code = m.code, due_at = NULL, replaced = true,
           leased_until = NULL
      FROM moved m
     WHERE a.merchant_id = m.merchant_id AND a.id = m.attempt_id AND a.payment_id = m.payment_id
       AND a.merchant_id = ANY({merchants_of(COLUMNS)})
    RETURNING a.merchant_id, a.id, a.cancel_wished
), tried AS (
    INSERT INTO attempt (merchant_id, id, payment_id, channel, account, amount, currency, status,
                         sent_at, expires_at, due_at, leased_until, terms, decision,
                         cancel_wished)
    SELECT m.merchant_id, m.next_id, m.payment_id, m.channel, m.account, m.amount, m.currency,
           'sent', m.at, m.expires_at, m.due_at, m.due_at, m.terms, m.decision, e.cancel_wished
      FROM moved m JOIN ended e ON e.merchant_id = m.merchant_id AND e.id = m.attempt_id
), {TOLD}
SELECT resource_id FROM moved
"""
