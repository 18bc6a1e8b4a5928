"""The history of one payment as support staff read it: every fact, in order, nothing secret."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from gateway.channels.remarks import Remark, Remarks
from gateway.domain.identity import public
from gateway.domain.money import in_words
from gateway.domain.payment import Payment, Standing
from gateway.domain.refund import RefundStanding
from gateway.drivers.postgres import Row
from gateway.events.feed import Event, Feed
from gateway.flow.route import told
from gateway.ledger.lists import Entry, Reader

# What was asked of the channel, or told by it, as the history words it.
_REMARKED: Final = {
    "capture": ("answer", "asked to capture"),
    "close": ("answer", "asked to close"),
    "refund": ("answer", "asked to refund"),
    "query": ("query", "asked how it stands"),
    "query_refund": ("query", "asked about the refund"),
    "refund_notice": ("notice", "told of the refund"),
    "notice_differs": ("notice", "told of other money than was asked for"),
}
_HEARD: Final = {
    "query": "asked again",
    "sync": "asked at the merchant's wish",
    "notice": "told",
    "void": "let go of a hold that came late",
}


# Facts of one instant are told in the order in which they come about.
_ORDER: Final = (
    *("request", "attempt", "refund", "answer", "query", "sync", "notice", "void"),
    *("refusal", "state", "journal", "event"),
)
ENTRIES_MAX: Final = 1000


class Records(Struct, frozen=True):
    """What a history is gathered from."""

    reader: Reader
    remarks: Remarks
    feed: Feed


class Moment(Struct, frozen=True, kw_only=True):
    """One fact of a payment's life; `kind` says which step it belongs to."""

    at: datetime
    kind: str
    summary: str
    details: dict[str, Any] = {}


async def tell(
    standing: Standing, records: Records, *, refunds: Sequence[RefundStanding]
) -> list[Moment]:
    """Gather request, attempts, channel words, state changes, journals and events of a payment.

    `refunds` are all of it, those of what was paid beside it, too.
    """
    payment, merchant = standing.payment, standing.merchant
    attempts, sightings = await records.reader.history(merchant, payment.id)
    entries = await records.reader.entries(
        merchant, account=None, payment_id=payment.id, below=None, limit=ENTRIES_MAX
    )
    remarks = await records.remarks.of_payment(merchant, payment.id)
    # What was seen in the same instant is the same answer: the remark says what had been asked.
    noted = {remark.at for remark in remarks if remark.kind in {"capture", "close"}}
    seen = {row["seen_at"] for row in sightings}
    moments = [
        Moment(
            at=payment.created_at,
            kind="request",
            summary=f"{in_words(payment.amount, payment.currency)} asked for order "
            f"{payment.reference}",
            details={"payment": payment.id},
        ),
        *(moment for row in attempts for moment in _of_attempt(row)),
        *(
            _of_sighting(row)
            for row in sightings
            if row["source"] != "query" or row["seen_at"] not in noted
        ),
        *(
            _of_remark(remark, payment)
            for remark in remarks
            if remark.kind != "query" or remark.at not in seen
        ),
        *(_of_refund(each) for each in refunds),
        *(m for e in await records.feed.of_payment(merchant, payment.id) for m in _of_event(e)),
        *_of_journals(entries),
    ]
    return sorted(moments, key=lambda moment: (moment.at, _ORDER.index(moment.kind)))


def _of_attempt(row: Row) -> list[Moment]:
    sent = Moment(
        at=row["sent_at"],
        kind="attempt",
        summary=f"attempt recorded, then sent to {row['channel']}",
        details={
            "attempt": public("att", row["id"].hex),
            "channel": row["channel"],
            "routing": told(row["decision"]) if row["decision"] is not None else None,
        },
    )
    if row["answered_at"] is None:
        return [sent]
    answer = Moment(
        at=row["answered_at"],
        kind="answer",
        summary=f"{row['channel']}: {row['first_verdict']}",
        details={"code": row["first_code"], "channel_transaction": row["channel_transaction"]},
    )
    return [sent, answer]


def _of_sighting(row: Row) -> Moment:
    return Moment(
        at=row["seen_at"],
        kind=row["source"],
        summary=f"{_HEARD[row['source']]}: {row['verdict']}",
        details={"code": row["code"]},
    )


def _of_remark(remark: Remark, payment: Payment) -> Moment:
    """Word a remark; a refused notice is nobody's word, so nothing that it says is shown."""
    amount = in_words(remark.amount, payment.currency) if remark.amount is not None else None
    match remark.kind:
        case "capture_asked":
            return Moment(at=remark.at, kind="request", summary=f"{amount} asked to be captured")
        case "cancel_asked":
            return Moment(at=remark.at, kind="request", summary="asked to be canceled")
        case "notice_refused":
            return Moment(
                at=remark.at,
                kind="refusal",
                summary=f"somebody told of this payment, and was not believed ({remark.code})",
                details={"notice": public("ntc", remark.subject)},
            )
    kind, words = _REMARKED[remark.kind]
    details = {"code": remark.code} | ({"amount": remark.amount} if amount else {})
    if remark.kind in {"refund", "query_refund", "refund_notice"}:
        details["refund"] = public("re", remark.subject)
    return Moment(at=remark.at, kind=kind, summary=f"{words}: {remark.verdict}", details=details)


def _of_refund(standing: RefundStanding) -> Moment:
    refund = standing.refund
    details: dict[str, Any] = {"refund": refund.id, "reason": refund.reason}
    if refund.is_further:
        details["further_transaction"] = refund.further_transaction
    return Moment(
        at=refund.created_at,
        kind="refund",
        summary=f"{in_words(refund.amount, refund.currency)} to go back as {refund.reference}",
        details=details,
    )


def _of_event(event: Event) -> list[Moment]:
    noun, _, status = event.type.partition(".")
    late = status == "late_success"
    return [
        Moment(
            at=event.created_at,
            kind="state",
            summary="money came late" if late else f"{noun.replace('_', ' ')} is {status}",
        ),
        Moment(
            at=event.created_at,
            kind="event",
            summary=event.type,
            details={"event": event.id, "sequence": event.sequence},
        ),
    ]


def _of_journals(entries: list[Entry]) -> list[Moment]:
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
