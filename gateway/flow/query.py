"""What a merchant may ask of us: payments, their history, balances, entries and events.

Reading moves nothing and asks no channel; everything is within the caller's own merchant.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.domain.errors import Problem
from gateway.domain.identity import is_id, public, uuid_of
from gateway.domain.payment import Standing
from gateway.domain.stages import Answer, Claimed, Heard, Matched
from gateway.flow.desk import Desk
from gateway.flow.timeline import Records, tell
from gateway.ledger.chart import account_of, number_of
from gateway.ledger.lists import Balance, Entry, PaymentFilter, entry_key
from gateway.match.table import ListEntries, ListEvents, ListPayments

_encode: Final = msgspec.json.Encoder().encode


def page(items: Sequence[Any], next_cursor: str | None) -> Answer:
    """Write one page of a list."""
    return Answer(200, _encode({"data": items, "next_cursor": next_cursor}))


async def standing_of(matched: Matched, desk: Desk) -> Standing:
    """Find the payment that the path names; Problem 404 when this merchant has none such."""
    payment_id = payment_id_of(matched)
    standing = await desk.ledger.standing(matched.verified.merchant.number, payment_id)
    if standing is None:
        raise _no_payment()
    return standing


def payment_id_of(matched: Matched) -> str:
    """Read the payment's id out of the path; Problem 404 when it is none."""
    (payment_id,) = matched.parameters
    if not is_id(payment_id, "pay"):
        raise _no_payment()
    return payment_id


def _no_payment() -> Problem:
    return Problem("payment_not_found", "This merchant has no payment with this id.")


async def recall(claimed: Claimed, heard: Heard, desk: Desk) -> Answer:
    """Answer a key that PostgreSQL remembers and Redis does not: the payment as it now stands.

    The claim is given back, because whoever began may still be at work and will keep the answer.
    """
    desk.idempotency.recall(claimed, heard)
    standing = await desk.ledger.standing(claimed.merchant.number, public("pay", heard.resource))
    assert standing is not None, "PostgreSQL has just named it"
    await desk.idempotency.release(claimed)
    success = claimed.matched.operation.success
    return Answer(success, _encode(standing.payment), replayed=True)


async def get_payment(matched: Matched, desk: Desk) -> Answer:
    """Show one payment."""
    standing = await standing_of(matched, desk)
    return Answer(200, _encode(standing.payment))


async def list_payments(matched: Matched, desk: Desk) -> Answer:
    """List payments, newest first."""
    command = matched.command
    assert isinstance(command, ListPayments)
    if command.cursor is not None and not is_id(command.cursor, "pay"):
        raise Problem("field_invalid", "This cursor was not given by us.", param="cursor")
    wanted = PaymentFilter(
        merchant=matched.verified.merchant.number,
        reference=command.reference,
        status=command.status,
        created_after=_instant(command.created_after, "created_after"),
        created_before=_instant(command.created_before, "created_before"),
        below=uuid_of(command.cursor) if command.cursor is not None else None,
    )
    found = await desk.reader.payments(wanted, command.limit)
    return page(found.payments, found.next_id)


def _instant(text: str | None, param: str) -> datetime | None:
    """Read an RFC 3339 time with its offset."""
    if text is None:
        return None
    try:
        instant = msgspec.convert(text, datetime)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):  # the offset may leave the calendar
        pass
    raise Problem("field_invalid", "It must be an RFC 3339 time with offset.", param=param)


async def show_timeline(matched: Matched, desk: Desk) -> Answer:
    """Tell everything that happened to a payment, in order."""
    standing = await standing_of(matched, desk)
    refunds = await desk.refunds.of_payment(standing.merchant, standing.payment.id)
    records = Records(desk.reader, desk.remarks, desk.feed)
    return page(await tell(standing, records, refunds=refunds), None)


async def list_accounts(matched: Matched, desk: Desk) -> Answer:
    """List the merchant's accounts with their balances."""
    balances = await desk.reader.balances(matched.verified.merchant.number)
    return page([show_balance(balance) for balance in balances], None)


def show_balance(balance: Balance) -> dict[str, Any]:
    """Show an account with what lies on it."""
    account = balance.account
    net = balance.debits - balance.credits
    return {
        "object": "account",
        "id": account.id,
        "code": str(int(account.code)),
        "name": account.name,
        "channel": account.channel,
        "currency": account.currency,
        "normal_side": account.grows_by,
        "debits": balance.debits,
        "credits": balance.credits,
        "balance": net if account.grows_by == "debit" else -net,
    }


async def list_entries(matched: Matched, desk: Desk) -> Answer:
    """List the merchant's entries, each transfer from both of its sides.

    They stand in the order of their causes, the newest attempt or refund first: what is booked long
    after its cause began comes in between.
    """
    command = matched.command
    assert isinstance(command, ListEntries)
    if command.payment is not None and not is_id(command.payment, "pay"):
        raise Problem("field_invalid", "This is no payment's id.", param="payment")
    account = number_of(command.account) if command.account is not None else None
    if command.account is not None and (account is None or not account_of(account).is_shown):
        raise Problem("field_invalid", "This is no account's id.", param="account")
    below = entry_key(command.cursor) if command.cursor is not None else None
    if command.cursor is not None and below is None:
        raise Problem("field_invalid", "This cursor was not given by us.", param="cursor")
    entries = await desk.reader.entries(
        matched.verified.merchant.number,
        account=account,
        payment_id=command.payment,
        below=below,
        limit=command.limit + 1,
    )
    shown = entries[: command.limit]
    cursor = shown[-1].key.cursor if len(entries) > len(shown) else None
    return page([show_entry(entry) for entry in shown], cursor)


def show_entry(entry: Entry) -> dict[str, Any]:
    """Show one side of a transfer."""
    return {
        "object": "entry",
        "id": f"ent_{entry.key.cursor}",
        "journal": f"jrn_{entry.key.journal}",
        "kind": entry.kind.name.lower(),
        "account": entry.account.id,
        "account_name": entry.account.name,
        "counter_account": entry.counter_account.id,
        "direction": entry.direction,
        "amount": entry.amount,
        "currency": entry.currency,
        "payment": entry.payment_id,
        "created_at": entry.created_at,
    }


async def list_events(matched: Matched, desk: Desk) -> Answer:
    """Read the feed, oldest first; `next_cursor` is the `after` of the next page."""
    command = matched.command
    assert isinstance(command, ListEvents)
    events = await desk.feed.after(
        matched.verified.merchant.number, command.after, command.limit + 1
    )
    shown = events[: command.limit]
    return page(shown, str(shown[-1].sequence) if len(events) > len(shown) else None)
