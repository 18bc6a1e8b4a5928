"""The SQL of the recovery queue: what waits, at which pace it may be taken, and who has it.

$1 and $2 of what takes are the merchants and the time; channels come as two arrays, of names and of
how many there is room for.
"""

from typing import Final

MERCHANTS: Final = "SELECT id FROM merchant"
FREE: Final = "(leased_until IS NULL OR leased_until <= $2)"
# All merchants are named, which leaves nobody out and must choose no index: theirs leads through
# every attempt there ever was, at each look anew.  The queue's own is read in order, which leaves
# behind for good what was due once and is not any more.
OF_THEM: Final = "coalesce(merchant_id = ANY($1::bigint[]), false)"

# How much waits in each channel, as far as there is room for it.
WAITING: Final = f"""
SELECT w.channel,
       (SELECT count(*) FROM (
            SELECT FROM attempt
             WHERE {OF_THEM} AND channel = w.channel AND due_at <= $2 AND NOT is_check AND {FREE}
             ORDER BY due_at LIMIT w.room) AS open)
     + (SELECT count(*) FROM (
            SELECT FROM attempt
             WHERE {OF_THEM} AND channel = w.channel AND due_at <= $2 AND is_check AND {FREE}
             ORDER BY due_at LIMIT w.room) AS look) AS waiting
  FROM unnest($3::text[], $4::int[]) AS w (channel, room)
"""
WAITING_REFUNDS: Final = f"""
SELECT w.channel,
       (SELECT count(*) FROM (
            SELECT FROM refund
             WHERE {OF_THEM} AND channel = w.channel AND due_at <= $2
             ORDER BY due_at LIMIT w.room) AS open) AS waiting
  FROM unnest($3::text[], $4::int[]) AS w (channel, room)
"""

# Give as many askings as have come together since the channel was asked last, or since $5 at most:
# one every $6 microseconds.  The row's lock lets workers come one by one; what a clock said that is
# ahead of $10 is forgotten.
PACE_BEGINS: Final = """
CASE WHEN p.next_at > $10 THEN $5::timestamptz ELSE greatest(p.next_at, $5::timestamptz) END"""
PACE_GRANT: Final = f"""
least($7::int, greatest(0, (extract(epoch FROM $4::timestamptz - {PACE_BEGINS})
                            * 1000000)::bigint / $6))::int"""
PACE: Final = f"""
INSERT INTO channel_pace AS p (merchant_id, channel, lane, next_at, granted)
VALUES ($1, $2, $3, $8, $9)
ON CONFLICT (merchant_id, channel, lane) DO UPDATE
   SET granted = {PACE_GRANT},
       next_at = {PACE_BEGINS} + {PACE_GRANT} * ($6::bigint * interval '1 microsecond')
RETURNING granted
"""


def _taking(table: str, queue: str, leased: str, returned: str) -> str:
    """Write the statement by which a worker takes what is due in each channel, up to its room.

    What is due is chosen in a WITH, because a subquery may run once per row, each time for others.
    """
    return f"""
WITH due AS MATERIALIZED (
    SELECT d.merchant_id, d.id
      FROM unnest($3::text[], $4::int[]) AS w (channel, room)
     CROSS JOIN LATERAL (
           SELECT merchant_id, id FROM {table}
            WHERE {OF_THEM} AND channel = w.channel AND due_at <= $2
              {queue}
            ORDER BY due_at LIMIT w.room FOR UPDATE SKIP LOCKED) AS d
)
UPDATE {table} t SET due_at = $5, queries = t.queries + 1{leased}
  FROM due
 WHERE t.merchant_id = due.merchant_id AND t.id = due.id AND t.merchant_id = ANY($1::bigint[])
RETURNING t.merchant_id, t.id, t.channel, t.queries{returned}
"""


TAKE_OPEN: Final = _taking(
    "attempt", f"AND NOT is_check AND {FREE}", ", leased_until = $5", ", t.is_check"
)
TAKE_LOOKS: Final = _taking(
    "attempt", f"AND is_check AND {FREE}", ", leased_until = $5", ", t.is_check"
)
TAKE_REFUNDS: Final = _taking("refund", "", "", "")

LEASE: Final = """
UPDATE attempt SET leased_until = $3
 WHERE merchant_id = $1 AND id = $2 AND (leased_until IS NULL OR leased_until <= $4)
RETURNING id
"""
LEASED: Final = """
SELECT FROM attempt WHERE merchant_id = $1 AND id = $2 AND leased_until > $3
"""
RELEASE: Final = """
UPDATE attempt SET leased_until = NULL WHERE merchant_id = $1 AND id = $2 AND leased_until = $3
"""
# What nobody was to ask about any more is only looked at, or it would be asked about for ever.
HURRY: Final = """
UPDATE attempt
   SET leased_until = NULL, due_at = least(due_at, $4), is_check = is_check OR due_at IS NULL
 WHERE merchant_id = $1 AND id = $2 AND leased_until = $3
"""
# Who held the lease gives it back.  When to ask again is the holder's to say only while nobody else
# has: whatever was posted or wished meanwhile has set another time.
SAW: Final = """
WITH seen AS (
    INSERT INTO sighting (merchant_id, attempt_id, seen_at, source, verdict, code)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
)
UPDATE attempt
   SET leased_until = NULL,
       due_at = CASE WHEN due_at = $8 THEN $9 ELSE due_at END,
       is_check = CASE WHEN due_at = $8 THEN $10 ELSE is_check END
 WHERE merchant_id = $1 AND id = $2 AND leased_until = $7
"""
SOONER: Final = """
UPDATE attempt SET due_at = least(due_at, $3) WHERE merchant_id = $1 AND id = $2
"""
# A payment that had ended has money held at the channel: it is let go as soon as somebody can.
LET_GO: Final = """
UPDATE attempt SET due_at = $3, is_check = false, queries = 0
 WHERE merchant_id = $1 AND id = $2 AND (due_at IS NULL OR is_check)
"""
# So no word of it that comes late is money, and no refund of it is asked for any more.  It is asked
# about once more: a refund that failed just then left money in the books that is not there.
RETURNED: Final = """
UPDATE attempt
   SET returned = true, due_at = coalesce(due_at, $3), is_check = is_check OR due_at IS NULL
 WHERE merchant_id = $1 AND id = $2
"""
REFUND_LATER: Final = """
UPDATE refund SET due_at = $3 WHERE merchant_id = $1 AND id = $2 AND due_at IS NOT NULL
"""
