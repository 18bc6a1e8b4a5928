"""The SQL of the ledger's writes: one statement, one round trip and one commit per batch.

Each statement takes one array per column, is its own transaction, and may run twice: what the first
run wrote is found by its ids and nothing is written again.  Keys are inserted in order, so that two
batches never wait for each other in a circle; times and ids come from the application.

`x IN (SELECT …)` inside a CASE keeps the planner from turning the look-up into a nested loop over
the batch: it becomes one hash of the set.
"""

from collections.abc import Sequence
from typing import Final

from gateway.domain import limits
from gateway.domain.posting import JournalKind

Columns = Sequence[tuple[str, str]]

_CLOSE_ENDS: Final = f"interval '{limits.SILENCE_SECONDS} seconds'"
_WRITTEN_BY: Final = f"interval '{limits.DATABASE_WRITE_SECONDS} seconds'"


def input_of(columns: Columns) -> str:
    """Write the batch as a table: one array parameter per column."""
    arrays = ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(columns, start=1))
    names = ", ".join(name for name, _ in columns)
    return f"input AS (SELECT * FROM unnest({arrays}) AS t ({names}))"


def merchants_of(columns: Columns) -> str:
    """Name the parameter after the columns: each merchant once, to find its node by."""
    return f"${len(columns) + 1}::bigint[]"


KEY: Final[Columns] = (("key", "text"), ("fingerprint", "bytea"), ("operation", "text"))
LEGS: Final[Columns] = tuple(
    (f"{side}_{leg}", "bigint") for leg in range(3) for side in ("debit", "credit", "amount")
)
EVENT: Final[Columns] = (("event_id", "uuid"), ("event_type", "text"), ("event_data", "bytea"))

# What every posting does once its item is `moved`: transfers, balances, the merchant's next
# sequences, events.  Balances are folded by journals of the same accounts and then by account, from
# the items themselves: no transfer has to be given back, and little is sorted.
POSTED: Final = """
posted AS (
    INSERT INTO transfer (merchant_id, journal_id, leg, payment_id, kind, debit_account,
                          credit_account, amount, currency, created_at)
    SELECT m.merchant_id, m.journal_id, leg.n, m.payment_id, m.kind, leg.debit, leg.credit,
           leg.amount, m.currency, m.at
      FROM moved m CROSS JOIN LATERAL (VALUES
           (0::smallint, m.debit_0, m.credit_0, m.amount_0),
           (1::smallint, m.debit_1, m.credit_1, m.amount_1),
           (2::smallint, m.debit_2, m.credit_2, m.amount_2)) AS leg (n, debit, credit, amount)
     WHERE leg.amount IS NOT NULL
), summed AS (
    SELECT merchant_id, debit_0, credit_0, sum(amount_0) AS amount_0, debit_1, credit_1,
           sum(amount_1) AS amount_1, debit_2, credit_2, sum(amount_2) AS amount_2
      FROM moved
     GROUP BY merchant_id, debit_0, credit_0, debit_1, credit_1, debit_2, credit_2
), folded AS (
    INSERT INTO account AS a (merchant_id, account, debits_posted, credits_posted)
    SELECT s.merchant_id, side.account, sum(side.debit), sum(side.credit)
      FROM summed s CROSS JOIN LATERAL (VALUES
           (s.debit_0, s.amount_0, 0), (s.credit_0, 0, s.amount_0),
           (s.debit_1, s.amount_1, 0), (s.credit_1, 0, s.amount_1),
           (s.debit_2, s.amount_2, 0), (s.credit_2, 0, s.amount_2)) AS side (account, debit, credit)
     WHERE side.account IS NOT NULL
     GROUP BY s.merchant_id, side.account ORDER BY s.merchant_id, side.account
    ON CONFLICT (merchant_id, account) DO UPDATE
       SET debits_posted = a.debits_posted + EXCLUDED.debits_posted,
           credits_posted = a.credits_posted + EXCLUDED.credits_posted
)"""
TOLD: Final = """
numbered AS (
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
           m.event_id, m.event_type, m.payment_id, m.resource_id, m.version, m.at, m.event_data
      FROM moved m JOIN numbered n ON n.merchant_id = m.merchant_id
)"""

# A new payment: its idempotency key, the payment and its first attempt.  Gives a row for each key
# that was free, saying whether the payment was opened (its reference was free as well).
OPEN_COLUMNS: Final[Columns] = (
    ("merchant_id", "bigint"),
    *KEY,
    ("payment_id", "uuid"),
    ("reference", "text"),
    ("amount", "bigint"),
    ("currency", "text"),
    ("commission_bps", "integer"),
    ("capture", "boolean"),
    ("channel", "text"),
    ("account", "text"),
    ("words", "bytea"),
    ("payer", "bytea"),
    ("attempt_id", "uuid"),
    ("terms", "bytea"),
    ("decision", "bytea"),
    ("created_at", "timestamptz"),
    ("expires_at", "timestamptz"),
    ("due_at", "timestamptz"),
)


def begin(columns: str, values: str) -> str:
    """Write how a key and its payment begin; the state of that is in these columns as well."""
    return f"""
claimed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT merchant_id, key, fingerprint, operation, payment_id, created_at
      FROM input ORDER BY merchant_id, key
    ON CONFLICT (merchant_id, key) DO NOTHING
    RETURNING resource_id
), opened AS (
    INSERT INTO payment (merchant_id, id, reference, amount, currency, amount_authorized,
                         amount_captured, amount_refunded, fee, commission_bps, capture, channel,
                         words, payer, created_at, expires_at, {columns})
    SELECT merchant_id, payment_id, reference, amount, currency, 0, 0, 0, 0, commission_bps,
           capture, channel, words, payer, created_at, expires_at, {values}
      FROM input
     WHERE CASE WHEN payment_id IN (SELECT resource_id FROM claimed) THEN true END
     ORDER BY merchant_id, reference
    ON CONFLICT (merchant_id, reference) DO NOTHING
    RETURNING id
)"""


BEGAN: Final = """
SELECT resource_id AS payment_id,
       CASE WHEN resource_id IN (SELECT id FROM opened) THEN true ELSE false END AS opened
  FROM claimed
"""
_OPENED: Final = begin(
    "status, certainty, version, updated_at", "'processing', 'pending', 0, created_at"
)
OPEN: Final = f"""
WITH {input_of(OPEN_COLUMNS)}, {_OPENED}, tried AS (
    INSERT INTO attempt (merchant_id, id, payment_id, channel, account, amount, currency, status,
                         sent_at, expires_at, due_at, leased_until, terms,
                         decision)
    SELECT merchant_id, attempt_id, payment_id, channel, account, amount, currency, 'sent',
           created_at, expires_at, due_at, due_at, terms, decision
      FROM input
     WHERE CASE WHEN payment_id IN (SELECT id FROM opened) THEN true END
) {BEGAN}
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
 WHERE w.merchant_id = ANY($1)
"""

# A change of a payment: state, attempt, journal, balances and event, all or nothing for each item.
# An item whose payment is no longer of the expected version, or whose idempotency key was used, is
# left out; the rest goes on.  A key that was taken while this ran fails the whole statement, which
# then runs again and sees it.  Late money of which a refund has begun is not adopted any more.
# Where money came, the waits between questions begin anew: perhaps more has come.
# An attempt is known by the transaction that was booked, whatever was told before; what comes after
# that is a further one.  A success may cross a close that gives it back, so one that comes when the
# attempt was to be closed, or is told so shortly before that it may be written only then, is asked
# about once more: at a time of its own, because whoever holds the lease says what follows on the
# lease's own end.  What was due sooner stays a look or a question, as it was, and where somebody
# asks just now it is a question.  What a reversal leaves is what refunds have: one that came in
# between is weighed first.  The first answer ends the lease under which the money was asked for; a
# change that a request's key belongs to begins one, because the channel is about to be asked.
POST_COLUMNS: Final[Columns] = (
    ("merchant_id", "bigint"),
    ("payment_id", "uuid"),
    ("resource_id", "uuid"),
    ("version", "integer"),
    ("status", "text"),
    ("certainty", "text"),
    ("amount_authorized", "bigint"),
    ("amount_captured", "bigint"),
    ("fee", "bigint"),
    ("channel_fee", "bigint"),
    ("reply", "bytea"),
    ("at", "timestamptz"),
    *EVENT,
    ("attempt_id", "uuid"),
    ("attempt_status", "text"),
    ("channel_transaction", "text"),
    ("channel", "text"),
    ("returned", "boolean"),
    ("further_id", "uuid"),
    ("further_transaction", "text"),
    ("code", "text"),
    ("due_at", "timestamptz"),
    ("is_check", "boolean"),
    ("capture_amount", "bigint"),
    *KEY,
    ("journal_id", "uuid"),
    ("kind", "smallint"),
    ("currency", "text"),
    *LEGS,
)
_CROSSES_CLOSE: Final = f"""\
m.status = 'succeeded' AND (a.cancel_wished OR a.capture_amount IS NULL AND (
    a.expires_at <= m.at
    OR a.answered_at IS NOT NULL AND a.expires_at <= m.at + {_WRITTEN_BY}))"""
_WAS_DUE_AT: Final = f"""\
CASE WHEN a.due_at = a.leased_until THEN m.at + {_CLOSE_ENDS} ELSE a.due_at END"""
POST: Final = f"""
WITH {input_of(POST_COLUMNS)}, moved AS (
    UPDATE payment p
       SET status = i.status, certainty = i.certainty, amount_authorized = i.amount_authorized,
           amount_captured = i.amount_captured, fee = i.fee, channel_fee = i.channel_fee,
           reply = i.reply, updated_at = i.at, version = i.version
      FROM input i
     WHERE p.merchant_id = i.merchant_id AND p.id = i.payment_id
       AND p.version = i.version - 1 AND p.merchant_id = ANY({merchants_of(POST_COLUMNS)})
       AND (i.key IS NULL OR NOT EXISTS (
            SELECT FROM idempotency_key k WHERE k.merchant_id = i.merchant_id AND k.key = i.key))
       AND (i.kind IS DISTINCT FROM {JournalKind.ADOPTION:d} OR p.amount_refunded = 0)
       AND (i.kind IS DISTINCT FROM {JournalKind.REVERSAL:d}
            OR p.amount_refunded = i.amount_captured AND p.fee_refunded = i.fee)
       AND (i.kind IS DISTINCT FROM {JournalKind.PAID_AGAIN:d} OR NOT EXISTS (
            SELECT FROM attempt a
             WHERE a.merchant_id = i.merchant_id AND a.channel = i.channel
               AND a.channel_transaction = i.further_transaction))
    RETURNING i.*
), keyed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT merchant_id, key, fingerprint, operation, payment_id, at
      FROM moved WHERE key IS NOT NULL ORDER BY merchant_id, key
    RETURNING merchant_id, key, resource_id
), asked AS (
    -- Told in the payment's history; changes that nobody asked for cost nothing here.
    INSERT INTO remark (merchant_id, payment_id, at, kind, subject_id, amount)
    SELECT m.merchant_id, m.payment_id, m.at, 'capture_asked', m.attempt_id, m.capture_amount
      FROM keyed k JOIN moved m ON m.merchant_id = k.merchant_id AND m.key = k.key
), tried AS (
    UPDATE attempt a
       SET status = m.attempt_status, code = m.code,
           answered_at = coalesce(a.answered_at, m.at),
           first_verdict = coalesce(a.first_verdict, m.attempt_status),
           first_code = CASE WHEN a.first_verdict IS NULL THEN m.code ELSE a.first_code END,
           due_at = CASE WHEN {_CROSSES_CLOSE} THEN least(m.due_at, {_WAS_DUE_AT})
                         WHEN a.cancel_wished AND m.due_at IS NOT NULL
                              AND m.status NOT IN ('canceled', 'expired')
                         THEN least(a.due_at, m.due_at) ELSE m.due_at END,
           is_check = CASE WHEN {_CROSSES_CLOSE} AND {_WAS_DUE_AT} < coalesce(m.due_at, 'infinity')
                           THEN a.due_at IS DISTINCT FROM a.leased_until AND a.is_check
                           ELSE m.is_check END,
           queries = CASE WHEN m.kind IS NULL THEN a.queries ELSE 0 END,
           leased_until = CASE WHEN m.key IS NOT NULL THEN m.due_at
                               WHEN a.answered_at IS NOT NULL THEN a.leased_until END,
           channel_transaction = CASE WHEN m.kind IN ({JournalKind.CAPTURE:d},
                                                      {JournalKind.LATE_SUCCESS:d})
                                      THEN coalesce(m.channel_transaction, a.channel_transaction)
                                      ELSE coalesce(a.channel_transaction, m.channel_transaction)
                                 END,
           returned = a.returned OR m.returned,
           capture_amount = CASE WHEN m.status <> 'requires_capture'
                                 THEN coalesce(m.capture_amount, a.capture_amount) END
      FROM moved m
     WHERE a.merchant_id = m.merchant_id AND a.id = m.attempt_id AND a.payment_id = m.payment_id
       AND a.merchant_id = ANY({merchants_of(POST_COLUMNS)})
), paid_again AS (
    -- Due at once: the worker carries out what the merchant wants done with it.
    INSERT INTO further_transaction (merchant_id, payment_id, attempt_id, channel_transaction,
                                     channel, id, amount, currency, booked_at, due_at)
    SELECT merchant_id, payment_id, attempt_id, further_transaction, channel, further_id, amount_0,
           currency, at, at
      FROM moved WHERE further_id IS NOT NULL ORDER BY merchant_id, channel, further_transaction
), {POSTED}, {TOLD}
SELECT resource_id FROM moved
"""

# Which of these changes are in the books already: the events that we named are there.
ALREADY_POSTED: Final = """
SELECT w.event_id
  FROM unnest($1::bigint[], $2::uuid[], $3::uuid[]) AS w (merchant_id, payment_id, event_id)
  JOIN event e ON e.merchant_id = w.merchant_id AND e.payment_id = w.payment_id
              AND e.id = w.event_id
 WHERE w.merchant_id = ANY($1)
"""
