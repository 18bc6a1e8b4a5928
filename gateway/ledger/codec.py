"""Between nouns and rows: how payments, attempts and changes become columns and come back."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.domain import channel as channels
from gateway.domain import identity
from gateway.domain.identity import uuid_of
from gateway.domain.payment import Certainty, Payment, Reply, Standing, Status, Words
from gateway.domain.recovery import silence_ends_at
from gateway.domain.stages import Attempt, Routed
from gateway.drivers.postgres import Row
from gateway.ledger.ports import Privacy
from gateway.ledger.rules import Change

_encode: Final = msgspec.json.Encoder().encode
_decode_words: Final[Callable[[bytes], Words]] = msgspec.json.Decoder(Words).decode
_decode_reply: Final[Callable[[bytes], Reply]] = msgspec.json.Decoder(Reply).decode
_NO_REPLY: Final = Reply()
_LEGS_MAX: Final = 3
_NO_LEG: Final = (None, None, None)


def encode_payment(payment: Payment) -> bytes:
    """Write a payment as the JSON that answers and events carry."""
    return _encode(payment)


def columns(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Turn rows into the columns that `unnest` takes."""
    return list(zip(*rows, strict=True))


def open_row(routed: Routed, privacy: Privacy) -> tuple[Any, ...]:
    """Write one new payment as the row that the OPEN statement takes."""
    claimed, payment, attempt = routed.claimed, routed.standing.payment, routed.attempt
    payment_uuid = uuid_of(payment.id)
    words = Words(payment.method, payment.metadata, payment.description, routed.return_url)
    payer = None
    if routed.payer is not None:
        payer = privacy.hide(_encode(routed.payer), payment_uuid.encode())
    return (
        routed.standing.merchant,
        claimed.key,
        claimed.fingerprint,
        claimed.matched.operation.name,
        payment_uuid,
        payment.reference,
        payment.amount,
        payment.currency,
        routed.standing.commission_bps,
        routed.standing.capture,
        attempt.channel,
        _encode(words),
        payer,
        uuid_of(attempt.id),
        payment.created_at,
        payment.expires_at,
        silence_ends_at(payment.created_at),
    )


def change_row(change: Change, event_id: str, body: bytes) -> tuple[Any, ...]:
    """Write one change as the row that the POST statement takes."""
    payment, outcome, journal = change.standing.payment, change.outcome, change.journal
    reply = None
    if payment.next_action is not None or payment.failure is not None:
        reply = _encode(Reply(payment.next_action, payment.failure))
    transfers = journal.transfers if journal is not None else ()
    legs = [leg for transfer in transfers for leg in msgspec.structs.astuple(transfer)]
    return (
        change.standing.merchant,
        uuid_of(payment.id),
        change.standing.version,
        payment.status.value,
        payment.certainty.value if payment.certainty is not None else None,
        payment.amount_authorized,
        payment.amount_captured,
        payment.amount_refunded,
        payment.fee,
        reply,
        change.at,
        uuid_of(event_id),
        change.event_type,
        body,
        uuid_of(change.attempt.id),
        outcome.verdict.value,
        outcome.channel_transaction,
        outcome.code,
        change.due_at,
        journal.uuid if journal is not None else None,
        int(journal.kind) if journal is not None else None,
        payment.currency,
        *legs,
        *(_NO_LEG * (_LEGS_MAX - len(transfers))),
    )


def read_standing(row: Row) -> Standing:
    """Read a payment and what only we know of it from a row of `payment` with its merchant."""
    words = _decode_words(row["words"])
    reply = _decode_reply(row["reply"]) if row["reply"] is not None else _NO_REPLY
    payment = Payment(
        id=identity.public("pay", row["id"].hex),
        merchant=identity.public("mer", row["merchant_public_id"].hex),
        reference=row["reference"],
        amount=row["amount"],
        currency=row["currency"],
        amount_authorized=row["amount_authorized"],
        amount_captured=row["amount_captured"],
        amount_refunded=row["amount_refunded"],
        fee=row["fee"],
        status=Status(row["status"]),
        certainty=Certainty(row["certainty"]) if row["certainty"] is not None else None,
        method=words.method,
        channel=row["channel"],
        next_action=reply.next_action,
        failure=reply.failure,
        metadata=words.metadata,
        description=words.description,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
    )
    return Standing(
        payment=payment,
        merchant=row["merchant_id"],
        version=row["version"],
        capture=row["capture"],
        commission_bps=row["commission_bps"],
    )


def read_attempt(row: Row) -> Attempt:
    """Read an attempt from a row of `attempt`."""
    return Attempt(
        id=identity.public("att", row["id"].hex),
        payment_id=identity.public("pay", row["payment_id"].hex),
        merchant=row["merchant_id"],
        channel=row["channel"],
        channel_number=channels.NUMBERS[row["channel"]],
        amount=row["amount"],
        currency=row["currency"],
        expires_at=row["expires_at"],
        channel_transaction=row["channel_transaction"],
    )
