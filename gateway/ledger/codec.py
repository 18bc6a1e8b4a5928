"""Between nouns and rows: how payments, attempts and changes become columns and come back."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.domain import identity
from gateway.domain.fees import Terms
from gateway.domain.identity import uuid_of
from gateway.domain.payment import Certainty, Payment, Reply, Standing, Status, Words
from gateway.domain.posting import Journal
from gateway.domain.recovery import silence_ends_at
from gateway.domain.refund import FurtherTransaction, Refund, RefundStanding, RefundStatus
from gateway.domain.stages import Attempt, DueFurther, KeyUse, RefundWish, Routed
from gateway.drivers.postgres import Row
from gateway.ledger.drawn_rules import Begun
from gateway.ledger.ports import Privacy
from gateway.ledger.refund_rules import RefundChange, accepted_journal
from gateway.ledger.rules import Change
from gateway.ledger.switch_rules import Switch

_encode: Final = msgspec.json.Encoder().encode
_decode_words: Final[Callable[[bytes], Words]] = msgspec.json.Decoder(Words).decode
_decode_reply: Final[Callable[[bytes], Reply]] = msgspec.json.Decoder(Reply).decode
_decode_terms: Final[Callable[[bytes], Terms]] = msgspec.json.Decoder(Terms).decode
_NO_REPLY: Final = Reply()
_NO_LEGS: Final = (None,) * 9  # of three transfers, each with two accounts and an amount


def encode(resource: Payment | Refund) -> bytes:
    """Write a payment or a refund as the JSON that answers and events carry."""
    return _encode(resource)


def columns(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Turn rows into the columns that `unnest` takes."""
    return list(zip(*rows, strict=True))


def open_row(routed: Routed, privacy: Privacy, due_at: datetime | None) -> tuple[Any, ...]:
    """Write one new payment as the row that the OPEN statement takes."""
    claimed, standing, attempt = routed.claimed, routed.standing, routed.attempt
    payment = standing.payment
    words = Words(payment.method, payment.metadata, payment.description, routed.return_url)
    payer = None
    if routed.payer is not None:
        payer = privacy.hide(_encode(routed.payer), uuid_of(payment.id).encode())
    return (
        standing.merchant,
        claimed.key,
        claimed.fingerprint,
        claimed.matched.operation.name,
        payment.id,
        payment.reference,
        payment.amount,
        payment.currency,
        standing.commission_bps,
        standing.capture,
        attempt.channel,
        attempt.account,
        _encode(words),
        payer,
        attempt.id,
        encoded_terms(attempt),
        routed.decision,
        payment.created_at,
        payment.expires_at,
        due_at,
    )


def begin_row(begun: Begun, event_id: bytes, body: bytes, privacy: Privacy) -> tuple[Any, ...]:
    """Write one new payment with its first change as the row that the BEGIN statement takes."""
    change, outcome = begun.change, begun.change.outcome
    payment = change.standing.payment
    return (
        *open_row(begun.routed, privacy, change.due_at),
        change.standing.version,
        payment.status.value,
        _reply(payment),
        change.at,
        event_id,
        change.event_type,
        body,
        outcome.verdict.value,
        outcome.code,
    )


def _reply(payment: Payment) -> bytes | None:
    if payment.next_action is None and payment.failure is None:
        return None
    return _encode(Reply(payment.next_action, payment.failure))


def encoded_terms(attempt: Attempt) -> bytes | None:
    """Write what was agreed for an attempt as JSON."""
    return _encode(attempt.terms) if attempt.terms is not None else None


def _use_columns(use: KeyUse | None) -> tuple[Any, ...]:
    return (None, None, None) if use is None else msgspec.structs.astuple(use)


def _journal_columns(journal: Journal | None, currency: str) -> tuple[Any, ...]:
    if journal is None:
        return (None, None, currency, *_NO_LEGS)
    legs: tuple[int | None, ...] = ()
    for transfer in journal.transfers:
        legs += (transfer.debit, transfer.credit, transfer.amount)
    return (journal.uuid, journal.kind, currency, *legs, *_NO_LEGS[len(legs) :])


def change_row(change: Change, event_id: bytes, body: bytes) -> tuple[Any, ...]:
    """Write one change as the row that the POST statement takes."""
    standing, outcome, attempt = change.standing, change.outcome, change.attempt
    payment = standing.payment
    return (
        standing.merchant,
        payment.id,
        payment.id,
        standing.version,
        payment.status.value,
        payment.certainty.value if payment.certainty is not None else None,
        payment.amount_authorized,
        payment.amount_captured,
        payment.fee,
        standing.channel_fee,
        _reply(payment),
        change.at,
        event_id,
        change.event_type,
        body,
        attempt.id,
        outcome.verdict.value,
        outcome.channel_transaction,
        attempt.channel,
        outcome.returned,
        change.further_id,
        attempt.further_transactions[-1] if change.further_id is not None else None,
        outcome.code,
        change.due_at,
        change.is_check,
        attempt.capture_amount,
        *_use_columns(change.use),
        *_journal_columns(change.journal, payment.currency),
    )


def switch_row(change: Switch, event_id: bytes, body: bytes) -> tuple[Any, ...]:
    """Write one switch as the row that the SWITCH statement takes."""
    rerouted, payment = change.rerouted, change.standing.payment
    ended, outcome, begun = rerouted.answered.opened.attempt, rerouted.answered.outcome, rerouted
    return (
        change.merchant,
        payment.id,
        payment.id,
        change.standing.version,
        rerouted.at,
        event_id,
        f"payment.{payment.status.value}",
        body,
        ended.id,
        outcome.verdict.value,
        outcome.code,
        begun.attempt.id,
        begun.attempt.channel,
        begun.attempt.account,
        begun.attempt.amount,
        begun.attempt.currency,
        begun.attempt.expires_at,
        silence_ends_at(rerouted.at),
        encoded_terms(begun.attempt),
        begun.decision,
    )


def refund_row(wish: RefundWish) -> tuple[Any, ...]:
    """Write one new refund as the row that the REFUND statement takes."""
    standing, before = wish.standing, wish.before
    refund, journal = standing.refund, accepted_journal(wish.standing)
    return (
        standing.merchant,
        *_use_columns(wish.use),
        refund.id,
        refund.payment,
        standing.attempt_id,
        refund.reference,
        refund.amount,
        refund.reason,
        standing.channel,
        standing.from_suspense,
        standing.commission_back,
        standing.channel_fee_back,
        before.payment.amount_refunded,
        before.fee_refunded,
        before.channel_fee_refunded,
        before.version,
        wish.at,
        silence_ends_at(wish.at),
        *_journal_columns(journal, refund.currency),
    )


def give_back_row(standing: RefundStanding) -> tuple[Any, ...]:
    """Write a refund of what was paid beside a payment as the row that GIVE_BACK takes."""
    refund, journal = standing.refund, accepted_journal(standing)
    return (
        standing.merchant,
        refund.id,
        refund.payment,
        standing.attempt_id,
        _further(refund),
        refund.reference,
        refund.amount,
        refund.reason,
        standing.channel,
        refund.created_at,
        *_journal_columns(journal, refund.currency),
    )


def _further(refund: Refund) -> str | None:
    further = refund.further_transaction
    return further if further is not msgspec.UNSET else None


def refund_change_row(change: RefundChange, event_id: bytes, body: bytes) -> tuple[Any, ...]:
    """Write one change of a refund as the row that the REFUND_POST statement takes."""
    standing, outcome = change.standing, change.outcome
    refund = standing.refund
    freed = (refund.amount, standing.commission_back, standing.channel_fee_back)
    return (
        standing.merchant,
        refund.id,
        refund.payment,
        standing.version,
        refund.status.value,
        refund.certainty.value if refund.certainty is not None else None,
        _encode(Reply(failure=refund.failure)) if refund.failure is not None else None,
        change.at,
        event_id,
        change.event_type,
        body,
        outcome.channel_transaction,
        outcome.code,
        change.due_at,
        *(freed if change.frees else (0, 0, 0)),
        _further(refund),
        *_journal_columns(change.journal, refund.currency),
    )


def read_refund(row: Row) -> RefundStanding:
    """Read a refund and what only we know of it from a row of `refund` with what it joins."""
    reply = _decode_reply(row["reply"]) if row["reply"] is not None else _NO_REPLY
    refund = Refund(
        id=identity.public("re", row["id"].hex),
        payment=identity.public("pay", row["payment_id"].hex),
        merchant=identity.public("mer", row["merchant_public_id"].hex),
        reference=row["reference"],
        amount=row["amount"],
        currency=row["currency"],
        status=RefundStatus(row["status"]),
        certainty=Certainty(row["certainty"]) if row["certainty"] is not None else None,
        reason=row["reason"],
        failure=reply.failure,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        further_transaction=_further_id(row["further_id"]) if row["further_id"] else msgspec.UNSET,
    )
    return RefundStanding(
        refund=refund,
        merchant=row["merchant_id"],
        version=row["version"],
        attempt_id=identity.public("att", row["attempt_id"].hex),
        channel=row["channel"],
        from_suspense=row["from_suspense"],
        commission_back=row["commission_back"],
        channel_fee_back=row["channel_fee_back"],
        captured=row["given"],
        account=row["account"],
        payment_transaction=row["payment_transaction"],
        channel_transaction=row["channel_transaction"],
    )


def _further_id(uuid: UUID) -> str:
    return identity.public("xtr", uuid.hex)


def read_due_further(row: Row) -> DueFurther:
    """Read what was paid beside a payment from a row of `further_transaction` with its merchant."""
    return DueFurther(
        id=_further_id(row["id"]),
        number=row["merchant_id"],
        merchant=identity.public("mer", row["merchant_public_id"].hex),
        payment=identity.public("pay", row["payment_id"].hex),
        attempt_id=identity.public("att", row["attempt_id"].hex),
        channel=row["channel"],
        channel_transaction=row["channel_transaction"],
        amount=row["amount"],
        currency=row["currency"],
    )


def read_further(row: Row, refunds: Sequence[Refund]) -> FurtherTransaction:
    """Read the same for whoever wants to see it, with those of these refunds that are its own."""
    due = read_due_further(row)
    return FurtherTransaction(
        id=due.id,
        payment=due.payment,
        merchant=due.merchant,
        channel=due.channel,
        channel_transaction=due.channel_transaction,
        amount=due.amount,
        amount_refunded=row["amount_refunded"],
        currency=due.currency,
        refunds=tuple(each for each in refunds if each.further_transaction == due.id),
        created_at=row["booked_at"],
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
        channel_fee=row["channel_fee"],
        fee_refunded=row["fee_refunded"],
        channel_fee_refunded=row["channel_fee_refunded"],
    )


def read_attempt(row: Row) -> Attempt:
    """Read an attempt from a row of `attempt` with its further transactions."""
    return Attempt(
        id=identity.public("att", row["id"].hex),
        payment_id=identity.public("pay", row["payment_id"].hex),
        merchant=row["merchant_id"],
        channel=row["channel"],
        amount=row["amount"],
        currency=row["currency"],
        expires_at=row["expires_at"],
        account=row["account"],
        channel_transaction=row["channel_transaction"],
        capture_amount=row["capture_amount"],
        cancel_wished=row["cancel_wished"],
        terms=_decode_terms(row["terms"]) if row["terms"] is not None else None,
        further_transactions=tuple(row["further_transactions"]),
        replaced=row["replaced"],
        returned=row["returned"],
    )
