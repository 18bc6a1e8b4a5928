"""The channel of the simulated acquirer: pure, as every channel is; `messages` has the words."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.channels.port import (
    Ask,
    BillLine,
    Capabilities,
    Notice,
    NoticeRefused,
    Verb,
)
from gateway.channels.simulator import bill
from gateway.channels.simulator.messages import (
    RETURNED,
    SIGNATURE,
    TIMESTAMP,
    CaptureOrder,
    Message,
    Order,
    RefundOrder,
    Refusal,
    Report,
    is_fresh,
    is_signed,
    sign,
)
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from native import times

_PAYMENT_VERDICTS: Final = MappingProxyType(
    {
        "succeeded": Verdict.SUCCEEDED,
        "authorized": Verdict.AUTHORIZED,
        "requires_action": Verdict.REQUIRES_ACTION,
        "pending": Verdict.PENDING,
        "declined": Verdict.FAILED,
        "closed": Verdict.CLOSED,
    }
)
_REFUND_VERDICTS: Final = MappingProxyType(
    {"succeeded": Verdict.SUCCEEDED, "pending": Verdict.PENDING, "failed": Verdict.FAILED}
)
# How soon it is asked again where it had more to tell than goes into one answer.
_NEWS_SECONDS: Final = 1
_OF_MONEY: Final = frozenset({Verdict.SUCCEEDED, Verdict.AUTHORIZED})
# What is looked up for every payment, here without the way through its class.
_CREATE: Final = Verb.CREATE
_QUERY: Final = Verb.QUERY
_SUCCEEDED: Final = Verdict.SUCCEEDED
_FAILED: Final = Verdict.FAILED
_UNKNOWN: Final = Verdict.UNKNOWN
_OK: Final = int(HTTPStatus.OK)

# Refusals that prove something.  Any other word, `number_used` (the number holds other parameters)
# and `signature` among them, proves nothing about the money: a query has to tell.
_REFUSAL_VERDICTS: Final = MappingProxyType(
    {"not_found": Verdict.NOT_FOUND, "closed": Verdict.CLOSED}
)
_FINAL_REFUSALS: Final = frozenset(
    {"invalid_request", "not_authorized", "capture_exceeded", "not_paid", "refund_exceeded"}
)
_MONEY_VERBS: Final = frozenset({Verb.CREATE, Verb.CAPTURE, Verb.REFUND})

_FAILURES: Final = MappingProxyType(
    {
        "card_declined": ("The card was declined.", Advice.OTHER_METHOD),
        "insufficient_funds": ("There is not enough money on the card.", Advice.RETRY_LATER),
        "expired_card": ("The card has expired.", Advice.OTHER_METHOD),
        "unknown_token": ("The acquirer does not know this token.", Advice.NEVER),
        "refund_rejected": ("The acquirer refused the refund.", Advice.NEVER),
    }
)

_encode: Final = msgspec.json.Encoder().encode
_read_report: Final = msgspec.json.Decoder(Report).decode
_read_refusal: Final = msgspec.json.Decoder(Refusal).decode
_read_message: Final = msgspec.json.Decoder(Message).decode


class SimulatorChannel:
    """Speaks with the acquirer at `base_url`; it will notify `notify_base` + /notices/simulator."""

    name = "simulator"
    number = 1
    capabilities: Final = Capabilities(
        methods=frozenset({"card", "qr"}),
        currencies=None,
        partial_refund=True,
        close=True,
        notify=True,
        bill=True,
        queries_per_second=1000,
    )
    taken: Final = b'{"status":"taken"}'

    def __init__(self, base_url: str, secret: bytes, *, notify_base: str) -> None:
        self.base_url = base_url
        self._secret = secret
        self._notify_url = f"{notify_base}/notices/{self.name}"

    def build(self, ask: Ask, now: datetime) -> WireRequest:
        """Put a question into the acquirer's words, signed; ValueError without a refund number."""
        method, path, order = self._worded(ask)
        body = _encode(order) if order is not None else b""
        timestamp = str(times.milliseconds(now) // 1000)
        signature = sign(self._secret, f"{method} {path}", timestamp=timestamp, body=body)
        headers = {
            "content-type": "application/json",
            TIMESTAMP: timestamp,
            SIGNATURE: signature,
        }
        return WireRequest(method, path, headers, body)

    def _worded(self, ask: Ask) -> tuple[str, str, msgspec.Struct | None]:
        verb = ask.verb
        if verb is _CREATE:
            return "POST", "/v1/payments", self._order(ask)
        payment = f"/v1/payments/{ask.number}"
        match verb:
            case Verb.QUERY:
                return "GET", payment, None
            case Verb.CLOSE:
                return "POST", f"{payment}/close", None
            case Verb.CAPTURE:
                return "POST", f"{payment}/capture", CaptureOrder(ask.amount, ask.currency)
        if ask.refund_number is None:
            raise ValueError("a refund needs its number")
        if verb is Verb.QUERY_REFUND:
            return "GET", f"{payment}/refunds/{ask.refund_number}", None
        order = RefundOrder(ask.refund_number, ask.amount, ask.currency, ask.channel_transaction)
        return "POST", f"{payment}/refunds", order

    def _order(self, ask: Ask) -> Order:
        return Order(
            ask.number,
            ask.amount,
            ask.currency,
            ask.method,
            self._notify_url,
            ask.capture,
            ask.expires_at,
        )

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Put the answer into our words; raises msgspec's DecodeError when it is not one."""
        if answer.status != _OK:
            return _refused(ask, _read_refusal(answer.body).error)
        report = _read_report(answer.body)
        if report.number != ask.number or report.refund_number != ask.refund_number:
            return ANOTHER_NUMBER
        return _queried(ask, report) if ask.verb is _QUERY else _outcome(report)

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Verify and read a notice; raises `NoticeRefused` (forged, stale, unreadable)."""
        if not is_fresh(headers.get(TIMESTAMP, ""), now):
            raise NoticeRefused("stale")
        if not is_signed(self._secret, "NOTICE", headers=headers, body=body):
            raise NoticeRefused("forged")
        try:
            message = _read_message(body)
        except msgspec.DecodeError as error:
            raise NoticeRefused("unreadable") from error
        report = message.report
        return Notice(message.id, report.number, report.refund_number, _outcome(report))

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        """Read a daily bill; raises `BillRefused`, for a wrong summary after the last line."""
        return bill.read(body)


class SecondSimulator(SimulatorChannel):
    """Another acquirer of the same kind, with books of its own, for whoever tries the router."""

    name = "simulator_b"
    number = 91


def _outcome(report: Report) -> Outcome:
    """Say in our words how a payment or refund stands; an unknown word is UNKNOWN."""
    verdicts = _PAYMENT_VERDICTS if report.refund_number is None else _REFUND_VERDICTS
    verdict, code = verdicts.get(report.status, _UNKNOWN), report.code
    transaction, amount, currency = report.transaction, report.amount, report.currency
    if verdict in _OF_MONEY and (transaction is None or amount is None or currency is None):
        return Outcome(code="incomplete")
    return Outcome(
        verdict,
        transaction,
        amount,
        currency,
        code or report.status,
        failure=_failure(code) if verdict is _FAILED else None,
        next_action=NextAction("qr", qr=report.qr) if report.qr is not None else None,
        paid_at=report.booked_at,
        returned=code == RETURNED and verdict is Verdict.CLOSED,
        tells_more=report.again is not None and verdict is _SUCCEEDED,
    )


def _queried(ask: Ask, report: Report) -> Outcome:
    """Say how a payment stands: once that is booked, what came beside it, one after another."""
    outcome = _outcome(report)
    if outcome.verdict is not Verdict.SUCCEEDED or not report.again:
        return outcome
    known = {ask.channel_transaction, *ask.further_transactions} if ask.captured else set()
    left = [each for each in (report.transaction, *report.again) if each not in known]
    return replace(
        outcome,
        channel_transaction=left[0] if left else ask.channel_transaction,
        news_in_seconds=_NEWS_SECONDS if left[1:] else None,
    )


def _refused(ask: Ask, word: str) -> Outcome:
    """Say what a refusal proves: it is final only for a request that would have moved money."""
    if word in _FINAL_REFUSALS and ask.verb in _MONEY_VERBS:
        return Outcome(Verdict.FAILED, code=word, failure=_failure(word))
    return Outcome(_REFUSAL_VERDICTS.get(word, Verdict.UNKNOWN), code=word)


def _failure(word: str | None) -> Failure:
    """Say why in words for the merchant; the acquirer's own word stays beside them."""
    if word is None or word not in _FAILURES:
        return Failure("declined", "The acquirer declined.", Advice.OTHER_METHOD, word)
    message, advice = _FAILURES[word]
    return Failure(word, message, advice, word)
