"""What a payment's facts mean in the books: the journals of money that comes, waits and goes; pure.

Those of refunds stand with the rules of refunds.
"""

import functools

from gateway.domain.payment import Standing, Status
from gateway.domain.posting import Journal, JournalKind
from gateway.domain.stages import Attempt
from gateway.ledger.chart import FEES, Code, account_number, journal


@functools.lru_cache(maxsize=1024)
def _of_capture(currency: str, channel: str) -> tuple[int, int, int, int, int]:
    """Number the accounts of a capture: what is owed, to whom, our part, and the channel's two."""
    return (
        account_number(Code.CHANNEL_RECEIVABLE, currency, channel),
        account_number(Code.MERCHANT_PENDING, currency),
        account_number(Code.COMMISSION_INCOME, currency),
        account_number(Code.CHANNEL_FEE_COST, currency, channel),
        account_number(Code.CHANNEL_RECEIVABLE, currency, channel, FEES),
    )


def _channel_fee(standing: Standing, attempt: Attempt) -> tuple[int, int, int]:
    """Accrue what the channel will keep as cost, against what it owes us."""
    *_, cost, kept = _of_capture(standing.payment.currency, attempt.channel)
    return cost, kept, standing.channel_fee


def capture_journal(standing: Standing, attempt: Attempt) -> Journal:
    """The channel owes us the amount; the merchant gets it less our commission."""
    payment = standing.payment
    receivable, pending, commission, cost, kept = _of_capture(payment.currency, attempt.channel)
    return journal(
        JournalKind.CAPTURE,
        attempt.id,
        payment.currency,
        (
            (receivable, pending, payment.amount_captured - payment.fee),
            (receivable, commission, payment.fee),
            (cost, kept, standing.channel_fee),
        ),
    )


def late_journal(standing: Standing, attempt: Attempt) -> Journal:
    """The channel owes us money for an order that had ended: it waits in suspense."""
    amount = standing.payment.amount_captured
    fee = _channel_fee(standing, attempt)
    return suspense_journal(JournalKind.LATE_SUCCESS, attempt, amount, fee, cause=attempt.id)


def suspense_journal(
    kind: JournalKind,
    attempt: Attempt,
    amount: int,
    *more: tuple[int, int, int],
    cause: str,
) -> Journal:
    """The channel owes us money that belongs to nobody yet."""
    receivable = account_number(Code.CHANNEL_RECEIVABLE, attempt.currency, attempt.channel)
    suspense = account_number(Code.SUSPENSE_LONG, attempt.currency)
    return journal(kind, cause, attempt.currency, ((receivable, suspense, amount), *more))


def adoption_journal(standing: Standing, attempt: Attempt) -> Journal:
    """Money leaves suspense for the merchant, less our commission."""
    payment = standing.payment
    suspense = account_number(Code.SUSPENSE_LONG, payment.currency)
    return journal(
        JournalKind.ADOPTION,
        attempt.id,
        payment.currency,
        (
            (
                suspense,
                account_number(Code.MERCHANT_PENDING, payment.currency),
                payment.amount_captured - payment.fee,
            ),
            (suspense, account_number(Code.COMMISSION_INCOME, payment.currency), payment.fee),
        ),
    )


def reversal_journal(before: Standing, after: Standing, attempt: Attempt) -> Journal:
    """The channel owes us less, for it gave back money by itself; who had it gives it up.

    What differs between the payment as it was and as it is goes back the way it came.
    """
    was, now = before.payment, after.payment
    late = was.status is Status.REQUIRES_REVIEW
    holder = account_number(Code.SUSPENSE_LONG if late else Code.MERCHANT_PENDING, was.currency)
    receivable = account_number(Code.CHANNEL_RECEIVABLE, was.currency, attempt.channel)
    fee, channel_fee = was.fee - now.fee, before.channel_fee - after.channel_fee
    cost, kept, _ = _channel_fee(before, attempt)
    return journal(
        JournalKind.REVERSAL,
        attempt.id,
        was.currency,
        (
            (holder, receivable, was.amount_captured - now.amount_captured - fee),
            (account_number(Code.COMMISSION_INCOME, was.currency), receivable, fee),
            (kept, cost, channel_fee),
        ),
    )
