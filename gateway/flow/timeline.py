"""The history of one payment as support staff read it: every fact, in order, nothing secret."""

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from gateway.domain.money import in_words
from gateway.domain.payment import Standing
from gateway.flow.desk import Desk
from gateway.ledger.lists import Entry

_HEARD: Final = {"query": "asked again", "sync": "asked at the merchant's wish", "notice": "told"}


class Moment(Struct, frozen=True, kw_only=True):
    """One fact of a payment's life; `kind` says which step it belongs to."""

    at: datetime
    kind: str
    summary: str
    details: dict[str, Any] = {}


async def tell(standing: Standing, desk: Desk) -> list[Moment]:
    """Gather request, attempts, channel words, state changes, journals and events of a payment."""
    payment = standing.payment
    attempts, sightings = await desk.reader.history(standing.merchant, payment.id)
    entries = await desk.reader.entries(
        standing.merchant, account=None, payment_id=payment.id, below=None, limit=1000
    )
    moments = [
        Moment(
            at=payment.created_at,
            kind="request",
            summary=f"{in_words(payment.amount, payment.currency)} asked for order "
            f"{payment.reference}",
            details={"payment": payment.id},
        )
    ]
    for row in attempts:
        moments.append(
            Moment(
                at=row["sent_at"],
                kind="attempt",
                summary=f"attempt recorded, then sent to {row['channel']}",
                details={"attempt": f"att_{row['id'].hex}", "channel": row["channel"]},
            )
        )
        if row["answered_at"] is not None:
            moments.append(
                Moment(
                    at=row["answered_at"],
                    kind="answer",
                    summary=f"{row['channel']}: {row['status']}",
                    details={
                        "code": row["code"],
                        "channel_transaction": row["channel_transaction"],
                    },
                )
            )
    moments += [
        Moment(
            at=row["seen_at"],
            kind=row["source"],
            summary=f"{_HEARD[row['source']]}: {row['verdict']}",
            details={"code": row["code"]},
        )
        for row in sightings
    ]
    for event in await desk.feed.of_payment(standing.merchant, payment.id):
        noun, _, status = event.type.partition(".")
        moments.append(Moment(at=event.created_at, kind="state", summary=f"{noun} is {status}"))
        moments.append(
            Moment(
                at=event.created_at,
                kind="event",
                summary=event.type,
                details={"event": event.id, "sequence": event.sequence},
            )
        )
    moments += _journals(entries)
    order = ("request", "attempt", "answer", "query", "sync", "notice", "state", "journal", "event")
    return sorted(moments, key=lambda moment: (moment.at, order.index(moment.kind)))


def _journals(entries: list[Entry]) -> list[Moment]:
    debits = [entry for entry in reversed(entries) if entry.direction == "debit"]
    return [
        Moment(
            at=entry.created_at,
            kind="journal",
            summary=f"{entry.kind.name.lower()}: {in_words(entry.amount, entry.currency)} from "
            f"{entry.account.name} to {entry.counter_account.name}",
            details={
                "journal": f"jrn_{entry.key.journal}",
                "debit": entry.account.id,
                "credit": entry.counter_account.id,
                "amount": entry.amount,
            },
        )
        for entry in debits
    ]
