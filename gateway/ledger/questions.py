"""What the proofs ask of the books, as SQL: each gives what stands against it, at best nothing.

Each is asked in one pass: every table is read once and folded by hashing, so that the time grows
with the books and not with their square.  An account's number divided by 10 000 000 is its code
(1121 receivable, 2222 refund in transit, 4001 commission, 5001 channel fee), and a journal's id is
its cause's with the kind in the last digit.
"""

from typing import Final

from msgspec import Struct

# A fee by a rate of the terms; without terms the other rate applies, in basis points.
_FEE: Final = """
least(({0} ->> 'cap')::bigint,
      greatest(coalesce(({0} ->> 'minimum')::bigint, 0),
               (p.amount_captured * CASE WHEN agreed THEN coalesce(({0} ->> 'bps')::int, 0)
                                         ELSE {1} END + 5000) / 10000
                   + coalesce(({0} ->> 'fixed')::bigint, 0)))
"""

# Every amount of a payment is what its journals say, and in their currency.  Commission is earned
# by a capture (1) or by the adoption (7) of late money (5), on the terms of the attempt that stands
# for the payment, or at the payment's own rate where no plan says otherwise.  What the channel gave
# back by itself (10) is taken off.
_PAYMENTS_DIFFER: Final = f"""
SELECT merchant_id, 'pay_' || replace(id::text, '-', '') AS what
  FROM payment AS p
  FULL JOIN (SELECT merchant_id, payment_id AS id,
                    count(*) FILTER (WHERE leg = 0 AND kind IN (1, 5)) AS captures,
                    count(*) FILTER (WHERE leg = 0 AND kind = 5) AS late,
                    count(*) FILTER (WHERE leg = 0 AND kind = 7) AS adopted,
                    count(*) FILTER (WHERE leg = 0 AND kind = 10) AS reversals,
                    sum(CASE WHEN kind = 10 THEN -amount ELSE amount END) FILTER (WHERE
                        kind IN (1, 5) AND debit_account / 10000000 = 1121
                        OR kind = 10 AND credit_account / 10000000 = 1121) AS gross,
                    sum(CASE WHEN kind = 10 THEN -amount ELSE amount END) FILTER (WHERE
                        kind IN (1, 7) AND credit_account / 10000000 = 4001
                        OR kind = 10 AND debit_account / 10000000 = 4001) AS commission,
                    sum(CASE WHEN kind = 10 THEN -amount ELSE amount END) FILTER (WHERE
                        kind IN (1, 5) AND debit_account / 10000000 = 5001
                        OR kind = 10 AND credit_account / 10000000 = 5001) AS channel_fee,
                    min(currency) AS currency, max(currency) AS other_currency
               FROM transfer GROUP BY merchant_id, payment_id) AS booked USING (merchant_id, id)
  LEFT JOIN (SELECT merchant_id, payment_id AS id, true AS agreed,
                    convert_from(terms, 'UTF8')::jsonb -> 'commission' AS due,
                    convert_from(terms, 'UTF8')::jsonb -> 'channel' AS kept
               FROM attempt WHERE NOT replaced AND terms IS NOT NULL) AS terms
       USING (merchant_id, id)
 WHERE p.amount IS NULL
    OR coalesce(booked.captures, 0)
       <> CASE WHEN p.amount_captured > 0 OR booked.reversals > 0 THEN 1 ELSE 0 END
    OR booked.reversals > 0 AND p.status = 'succeeded'
    OR coalesce(booked.gross, 0) <> p.amount_captured
    OR coalesce(booked.commission, 0) <> p.fee
    OR coalesce(booked.channel_fee, 0) <> p.channel_fee
    OR booked.currency <> p.currency OR booked.other_currency <> p.currency
    OR booked.adopted > booked.late
    OR booked.late > 0 AND booked.reversals = 0
       AND (p.status = 'succeeded') <> (booked.adopted > 0)
    OR coalesce(booked.reversals, 0) = 0
       AND p.fee <> CASE WHEN booked.captures > booked.late OR booked.adopted > 0
                         THEN least(p.amount_captured, {_FEE.format("due", "p.commission_bps")})
                         ELSE 0 END
    OR agreed AND NOT due ? 'plan' AND coalesce((due ->> 'bps')::int, 0) <> p.commission_bps
    OR agreed AND p.amount_captured > 0 AND booked.reversals = 0
       AND p.channel_fee <> {_FEE.format("kept", "0")}
"""

# An attempt asks for its payment's money, and what was captured through it is what it asked for.
# Money is held from the channel's word until the payment ends without it.
_ATTEMPTS_DIFFER: Final = """
SELECT merchant_id, 'att_' || replace(a.id::text, '-', '')
  FROM (SELECT *, left(id::text, 35) AS cause FROM attempt) AS a
  LEFT JOIN (SELECT merchant_id, id AS payment_id, amount AS asked, amount_authorized AS held,
                    amount_captured AS captured, currency AS asked_in, status AS stands
               FROM payment) AS p USING (merchant_id, payment_id)
  LEFT JOIN (SELECT merchant_id, left(journal_id::text, 35) AS cause, sum(amount) AS gross
               FROM transfer WHERE kind IN (1, 5) AND debit_account / 10000000 = 1121
              GROUP BY merchant_id, left(journal_id::text, 35)) AS booked USING (merchant_id, cause)
 WHERE p.asked IS NULL OR a.amount <> p.asked OR a.currency <> p.asked_in
    OR a.capture_amount NOT BETWEEN 1 AND a.amount
    OR booked.gross <> coalesce(a.capture_amount, a.amount)
    OR p.held NOT IN (0, p.asked)
    OR p.held = 0 AND (p.captured > 0 OR p.stands = 'requires_capture')
    OR p.held > 0 AND p.captured = 0 AND p.stands IN ('failed', 'canceled', 'expired')
    OR p.stands IN ('processing', 'requires_action') AND NOT a.replaced
       AND (p.held > 0) <> (a.capture_amount IS NOT NULL)
"""

# A refund is accepted (2), done (3), undone (4) or taken back (6), of its amount and in its fees.
_REFUNDS_DIFFER: Final = """
SELECT merchant_id, 're_' || what
  FROM (SELECT merchant_id, left(replace(id::text, '-', ''), 31) AS what, amount, status, currency,
               commission_back, channel_fee_back
          FROM refund) AS asked
  FULL JOIN (SELECT merchant_id, left(replace(journal_id::text, '-', ''), 31) AS what,
                    sum(amount) FILTER (WHERE kind = 2) AS accepted,
                    sum(amount) FILTER (WHERE kind = 2
                        AND debit_account / 10000000 = 4001) AS commission,
                    sum(amount) FILTER (WHERE kind = 3
                        AND credit_account / 10000000 = 1121) AS done,
                    sum(amount) FILTER (WHERE kind = 3
                        AND credit_account / 10000000 = 5001) AS channel_fee,
                    sum(amount) FILTER (WHERE kind IN (4, 6)
                        AND debit_account / 10000000 IN (1121, 2222)) AS undone,
                    min(currency) AS booked_in
               FROM transfer WHERE kind IN (2, 3, 4, 6)
              GROUP BY merchant_id, left(replace(journal_id::text, '-', ''), 31)) AS booked
       USING (merchant_id, what)
 WHERE booked.accepted IS DISTINCT FROM asked.amount OR booked.booked_in <> asked.currency
    OR coalesce(booked.commission, 0) <> asked.commission_back
    OR booked.done IS NOT NULL AND coalesce(booked.channel_fee, 0) <> asked.channel_fee_back
    OR asked.status = 'succeeded' AND booked.done IS DISTINCT FROM asked.amount
    OR asked.status = 'succeeded' AND booked.undone IS NOT NULL
    OR asked.status = 'failed' AND booked.undone IS DISTINCT FROM asked.amount
    OR asked.status = 'processing' AND coalesce(booked.done, booked.undone) IS NOT NULL
"""

# Every further transaction of an attempt waits in suspense under a journal (9) of its own.
_FURTHER_DIFFER: Final = """
SELECT merchant_id, 'transaction ' || channel_transaction
  FROM (SELECT *, left(id::text, 35) AS cause FROM further_transaction) AS f
  FULL JOIN (SELECT merchant_id, left(journal_id::text, 35) AS cause, payment_id AS booked_for,
                    sum(amount) AS booked, min(currency) AS booked_in
               FROM transfer
              WHERE kind = 9 AND debit_account / 10000000 = 1121
                AND credit_account / 10000000 = 2221
              GROUP BY merchant_id, left(journal_id::text, 35), payment_id) AS entered
       USING (merchant_id, cause)
 WHERE booked IS DISTINCT FROM f.amount OR booked_in <> f.currency OR booked_for <> f.payment_id
"""

# Of what was paid beside payments as much is reserved as its refunds, other than those that failed
# or came back, give back.
_FURTHER_REFUNDED: Final = """
SELECT merchant_id, 'transaction ' || channel_transaction
  FROM further_transaction AS f
  FULL JOIN (SELECT merchant_id, payment_id, further_id AS id, sum(amount) AS refunded
               FROM (SELECT *, left(id::text, 35) AS cause FROM refund
                      WHERE further_id IS NOT NULL AND status <> 'failed') AS kept
               LEFT JOIN (SELECT DISTINCT merchant_id, left(journal_id::text, 35) AS cause,
                                 true AS freed
                            FROM transfer WHERE kind IN (4, 6)) AS undone
                    USING (merchant_id, cause)
              WHERE undone.freed IS NULL
              GROUP BY merchant_id, payment_id, further_id) AS given
       USING (merchant_id, payment_id, id)
 WHERE f.amount_refunded IS DISTINCT FROM coalesce(given.refunded, 0)
    OR f.amount_refunded > f.amount
"""

# What lies in suspense is explained: late money (5) that nobody adopted (7), and what was paid
# beside payments, less what of both goes back.
_SUSPENSE_DIFFERS: Final = """
SELECT merchant_id, 'suspense in currency ' || currency
  FROM (SELECT merchant_id, currency, sum(net) AS lies
          FROM (SELECT merchant_id, currency, amount AS net FROM transfer
                 WHERE credit_account / 10000000 = 2221
                UNION ALL
                SELECT merchant_id, currency, -amount FROM transfer
                 WHERE debit_account / 10000000 = 2221) AS moved
         GROUP BY merchant_id, currency) AS booked
  FULL JOIN (SELECT merchant_id, currency, sum(amount) AS waits
               FROM (SELECT merchant_id, currency, amount_captured - amount_refunded AS amount
                       FROM payment
                       JOIN (SELECT merchant_id, payment_id AS id FROM transfer
                              WHERE leg = 0 AND kind IN (5, 7)
                              GROUP BY merchant_id, payment_id HAVING max(kind) = 5) AS late
                            USING (merchant_id, id)
                     UNION ALL
                     SELECT merchant_id, currency, amount - amount_refunded
                       FROM further_transaction) AS open
              GROUP BY merchant_id, currency) AS explained USING (merchant_id, currency)
 WHERE coalesce(booked.lies, 0) <> coalesce(explained.waits, 0)
"""


class Question(Struct, frozen=True):
    """One proof: how much it looks at, and what it finds against it (`merchant_id`, `what`)."""

    id: str
    title: str
    examined: str
    against: str


QUESTIONS: Final = (
    Question(
        "a",
        "every journal sums to zero per currency",
        "SELECT count(*) FROM (SELECT DISTINCT merchant_id, journal_id FROM transfer) AS journal",
        """
        SELECT merchant_id, 'jrn_' || replace(journal_id::text, '-', '') AS what FROM entry
         GROUP BY merchant_id, journal_id, account % 1000
        HAVING sum(CASE WHEN direction = 'debit' THEN amount ELSE -amount END) <> 0
        """,
    ),
    Question(
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
    Question(
        "c",
        "the trial balance is zero",
        "SELECT count(DISTINCT merchant_id) FROM account",
        """
        SELECT merchant_id, 'currency ' || account % 1000 AS what FROM account
         GROUP BY merchant_id, account % 1000 HAVING sum(debits_posted) <> sum(credits_posted)
        """,
    ),
    Question(
        "d",
        "every succeeded capture and refund has exactly one journal, and every journal its cause",
        """
        SELECT (SELECT count(*) FROM payment WHERE amount_captured > 0)
             + (SELECT count(*) FROM refund) + (SELECT count(*) FROM further_transaction)
        """,
        f"{_PAYMENTS_DIFFER} UNION ALL {_ATTEMPTS_DIFFER} UNION ALL {_REFUNDS_DIFFER}"
        f" UNION ALL {_FURTHER_DIFFER} UNION ALL {_SUSPENSE_DIFFERS}",
    ),
    Question(
        "e",
        "no merchant and reference, and no channel and channel transaction, exists twice",
        "SELECT count(*) FROM payment",
        """
        SELECT merchant_id, 'reference of payments' AS what FROM payment
         GROUP BY merchant_id, reference HAVING count(*) > 1
        UNION ALL
        SELECT min(merchant_id), channel || ' ' || channel_transaction
          FROM (SELECT merchant_id, channel, channel_transaction FROM attempt
                UNION ALL
                SELECT merchant_id, channel, channel_transaction FROM further_transaction) AS known
         WHERE channel_transaction IS NOT NULL
         GROUP BY channel, channel_transaction HAVING count(*) > 1
        """,
    ),
    Question(
        "f",
        "no payment has more refunded than captured",
        """
        SELECT (SELECT count(*) FROM payment WHERE amount_refunded > 0)
             + (SELECT count(*) FROM further_transaction WHERE amount_refunded > 0)
        """,
        f"""
        SELECT merchant_id, 'pay_' || replace(p.id::text, '-', '') AS what
          FROM payment p
          LEFT JOIN (SELECT merchant_id, payment_id AS id, sum(amount) AS refunded,
                            sum(commission_back) AS fee, sum(channel_fee_back) AS channel_fee
                       FROM (SELECT *, left(id::text, 35) AS cause FROM refund
                              WHERE further_id IS NULL AND status <> 'failed') AS kept
                       LEFT JOIN (SELECT DISTINCT merchant_id, left(journal_id::text, 35) AS cause,
                                         true AS freed
                                    FROM transfer WHERE kind IN (4, 6)) AS undone
                            USING (merchant_id, cause)
                      WHERE undone.freed IS NULL
                      GROUP BY merchant_id, payment_id) AS given USING (merchant_id, id)
         WHERE p.amount_refunded > p.amount_captured OR p.amount_captured > p.amount
            OR p.amount_refunded <> coalesce(given.refunded, 0)
            OR p.fee_refunded <> coalesce(given.fee, 0)
            OR p.channel_fee_refunded <> coalesce(given.channel_fee, 0)
        UNION ALL {_FURTHER_REFUNDED}
        """,
    ),
    Question(
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
