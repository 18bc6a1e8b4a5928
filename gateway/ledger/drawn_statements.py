"""The SQL by which payments of which nobody has to be asked begin: open and posted in one commit.

What stands in the tables afterwards is what OPEN and then POST would have left there.
"""

from typing import Final

from gateway.ledger.statements import BEGAN, EVENT, OPEN_COLUMNS, TOLD, Columns, begin, input_of

COLUMNS: Final[Columns] = (
    *OPEN_COLUMNS,
    ("version", "integer"),
    ("status", "text"),
    ("reply", "bytea"),
    ("at", "timestamptz"),
    *EVENT,
    ("attempt_status", "text"),
    ("code", "text"),
)
_BEGUN: Final = begin("status, reply, version, updated_at", "status, reply, version, at")
BEGIN: Final = f"""
WITH {input_of(COLUMNS)}, {_BEGUN}, moved AS (
    SELECT *, payment_id AS resource_id
      FROM input
     WHERE CASE WHEN payment_id IN (SELECT id FROM opened) THEN true END
), tried AS (
    INSERT INTO attempt (merchant_id, id, payment_id, channel, account, amount, currency, status,
                         code, first_verdict, first_code, sent_at, answered_at, expires_at, due_at,
                         terms, decision)
    SELECT merchant_id, attempt_id, payment_id, channel, account, amount, currency, attempt_status,
           code, attempt_status, code, created_at, at, expires_at, due_at, terms, decision
      FROM moved
), {TOLD} {BEGAN}
"""
