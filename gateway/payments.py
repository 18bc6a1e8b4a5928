"""Payments for operators, from the command line: one's story, and money that is left to people.

A refund is made durable here; the background worker asks the channel, as for every other one.
"""

from typing import Any, Final

import msgspec

from gateway import merchants
from gateway.assembly import on_database
from gateway.channels.remarks import Remarks
from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import is_id, merchant_number
from gateway.domain.refund import FurtherTransaction, RefundStatus
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.events.feed import Feed
from gateway.flow.query import show_entry
from gateway.flow.timeline import ENTRIES_MAX, Records, tell
from gateway.ledger.lists import Reader
from gateway.ledger.refund_rules import planned_further
from gateway.ledger.refund_store import PostgresRefundBooks
from gateway.settings import Settings
from gateway.verify.store import PostgresKeyStore

_NAMES: Final = ("pay", "att", "re", "xtr")


def show(settings: Settings, named: str) -> dict[str, Any]:
    """Give a payment as it stands, what happened to it, its entries, and what came beside it.

    It is named by its own id, or by that of an attempt, a refund or what was paid beside it.
    """

    async def showing(postgres: Postgres) -> dict[str, Any]:
        records = Records(Reader(postgres), Remarks(postgres), Feed(postgres))
        payment_id: str | None = named if is_id(named, "pay") else None
        number = merchant_number(named) if any(is_id(named, each) for each in _NAMES) else 0
        if number and payment_id is None:
            payment_id = await records.reader.payment_of(number, named)
        standing = await records.reader.payment(number, payment_id) if payment_id else None
        if standing is None or payment_id is None:
            raise FloodgateError("there is no such payment")
        books = PostgresRefundBooks(postgres, Clock())
        refunds = await books.refunds_of(number, payment_id)
        entries = await records.reader.entries(
            number, account=None, payment_id=payment_id, below=None, limit=ENTRIES_MAX
        )
        told: dict[str, Any] = msgspec.to_builtins(
            {
                "payment": standing.payment,
                "timeline": await tell(standing, records, refunds=refunds),
                "entries": [show_entry(entry) for entry in entries],
                "refunds": [each.refund for each in refunds if not each.refund.is_further],
                "further_transactions": await books.further_of(number, payment_id),
            }
        )
        return told

    return on_database(settings, showing)


def left_to_people(settings: Settings, merchant: str | None) -> list[dict[str, Any]]:
    """Give what waits for people, of a merchant or of all, oldest first, as the API shows it."""

    async def listing(postgres: Postgres) -> list[dict[str, Any]]:
        keys = PostgresKeyStore(postgres, vault=None)
        numbers = (
            await keys.merchant_numbers()
            if merchant is None
            else [(await merchants.known(keys, merchant)).number]
        )
        books = PostgresRefundBooks(postgres, Clock())
        return [msgspec.to_builtins(each) for each in await books.left_to_people(numbers)]

    return on_database(settings, listing)


def give_back(settings: Settings, further_id: str, *, reason: str | None) -> dict[str, Any]:
    """Begin to give all of it back to its payer, once; gives the refund."""
    if reason is not None and (
        not 0 < len(reason) <= limits.DESCRIPTION_CHARS_MAX or not reason.isprintable()
    ):
        raise FloodgateError("a reason is one short line")

    async def giving(postgres: Postgres) -> dict[str, Any]:
        clock = Clock()
        books = PostgresRefundBooks(postgres, clock)
        number = merchant_number(further_id) if is_id(further_id, "xtr") else 0
        found = await books.further(number, further_id) if number else None
        if found is None:
            raise FloodgateError("there is no such further transaction")
        told = {"reason": reason} if reason is not None else {}
        plan = planned_further(found[0], clock.mint("re", number), clock.now(), **told)
        if not await books.give_back_by_hand(plan):
            now = await books.further(number, further_id)
            raise FloodgateError(_why_not(now[1] if now is not None else found[1]))
        refund: dict[str, Any] = msgspec.to_builtins(plan.refund)
        return refund

    return on_database(settings, giving)


def _why_not(further: FurtherTransaction) -> str:
    for refund in further.refunds:
        if refund.status is RefundStatus.REQUIRES_REVIEW:
            return f"{refund.id} is to be looked at first: its channel may have given it back"
        if further.amount_refunded and refund.status is not RefundStatus.FAILED:
            return f"it goes back already, or did, as {refund.id}"
    return "it is not left to people: its merchant's policy is carried out in a moment"
