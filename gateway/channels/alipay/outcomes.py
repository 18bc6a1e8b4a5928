"""What Alipay's answers mean: a trade, a refund, a refusal, each as one outcome."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from gateway.channels.alipay.messages import (
    BUSINESS_FAILED,
    DONE,
    KEY_REFUSED,
    PAYER_MUST_CONFIRM,
    PROVEN,
    REFUSED,
    STATES,
    WRONG_REQUEST,
    Flow,
    Told,
)
from gateway.channels.port import CREDENTIAL_REFUSED, Ask, Verb
from gateway.domain.money import from_decimal
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, NextAction, Outcome, Verdict


def flow_of(ask: Ask) -> Flow:
    """Say where the payer is."""
    return Flow(ask.method["flow"])


def instant(text: str) -> datetime:
    """Read Alipay's clock, which is Beijing's; ValueError when it is none."""
    return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)


def outcome_of(ask: Ask, told: Told) -> Outcome:
    """Say what a verified answer proves; a word that nobody knows proves nothing."""
    word = told.sub_code or told.code
    if told.code == DONE:
        fits = told.out_trade_no in {None, ask.number}
        return _DONE[ask.verb](ask, told) if fits else ANOTHER_NUMBER
    if told.code == BUSINESS_FAILED:
        return _refused(ask, word)
    code = CREDENTIAL_REFUSED if word in KEY_REFUSED else word
    if told.code in WRONG_REQUEST and ask.verb in REFUSED:
        advice = Advice.OTHER_METHOD if word in KEY_REFUSED else Advice.NEVER
        failure = Failure("refused", "Alipay refused the request.", advice, word)
        return Outcome(Verdict.FAILED, code=code, failure=failure)
    if told.code == PAYER_MUST_CONFIRM and ask.verb is Verb.CREATE:
        return Outcome(Verdict.PENDING, told.trade_no, code=word)
    return Outcome(code=code)


def trade(told: Told) -> Outcome:
    """Say how a trade stands; one that is closed and was paid had all its money given back.

    That was by our refunds, which the ledger knows, by a cancellation, or by hand.
    """
    paid_at = told.send_pay_date or told.gmt_payment or None
    verdict = STATES.get(told.trade_status or "", Verdict.UNKNOWN)
    if verdict is Verdict.SUCCEEDED and None in {told.trade_no, told.total_amount}:
        return Outcome(code="incomplete")
    return Outcome(
        verdict=verdict,
        channel_transaction=told.trade_no,
        amount=_fen(told.total_amount),
        currency="CNY" if told.total_amount is not None else None,
        code=told.trade_status,
        paid_at=instant(paid_at) if paid_at is not None else None,
        returned=verdict is Verdict.CLOSED and paid_at is not None,
    )


def _created(ask: Ask, told: Told) -> Outcome:
    if flow_of(ask) is Flow.BARCODE:
        return trade(replace(told, trade_status="TRADE_SUCCESS"))
    if told.qr_code is None:
        return Outcome(code="incomplete")
    shown = NextAction("qr", qr=told.qr_code)
    return Outcome(Verdict.REQUIRES_ACTION, code=told.code, next_action=shown)


def _queried(_ask: Ask, told: Told) -> Outcome:
    return trade(told)


def _closed(_ask: Ask, told: Told) -> Outcome:
    """A barcode that had been paid was paid back by its cancellation."""
    if told.retry_flag == "Y":
        return Outcome(code="retry")
    action = told.action or "close"
    return Outcome(Verdict.CLOSED, told.trade_no, code=action, returned=action == "refund")


def _refunded(ask: Ask, told: Told) -> Outcome:
    """N: nothing new moved, because this refund was asked for before; a query tells of it."""
    moved = told.fund_change == "Y"
    return _refund(ask, Verdict.SUCCEEDED if moved else Verdict.PENDING, told)


def _refund_queried(ask: Ask, told: Told) -> Outcome:
    if told.out_request_no is None or told.refund_status is None:
        return Outcome(Verdict.NOT_FOUND, code="no_refund")
    if told.out_request_no != ask.refund_number:
        return ANOTHER_NUMBER
    done = told.refund_status == "REFUND_SUCCESS"
    outcome = _refund(ask, Verdict.SUCCEEDED if done else Verdict.UNKNOWN, told)
    return replace(outcome, amount=_fen(told.refund_amount), currency="CNY")


def _refund(ask: Ask, verdict: Verdict, told: Told) -> Outcome:
    """Say how a refund stands; its answer names only the sum of all refunds, so no amount."""
    number = f"{told.trade_no}/{ask.refund_number}" if told.trade_no is not None else None
    return Outcome(verdict, number, code=told.refund_status or told.fund_change or told.code)


_DONE: Final[Mapping[Verb, Callable[[Ask, Told], Outcome]]] = {
    Verb.CREATE: _created,
    Verb.QUERY: _queried,
    Verb.CLOSE: _closed,
    Verb.REFUND: _refunded,
    Verb.QUERY_REFUND: _refund_queried,
}


def _refused(ask: Ask, word: str) -> Outcome:
    """Say what a business refusal proves."""
    refused = REFUSED.get(ask.verb, {})
    if word in refused:
        failure = Failure("refused", "Alipay refused the payment.", refused[word], word)
        return Outcome(Verdict.FAILED, code=word, failure=failure)
    verdict = PROVEN.get((ask.verb, word), Verdict.UNKNOWN)
    if ask.verb is Verb.CLOSE and verdict is Verdict.NOT_FOUND and ask.is_over:
        # Its time_expire has passed: nobody can scan, open or confirm it any more.
        verdict = Verdict.CLOSED
    return Outcome(verdict, code=word)


def _fen(yuan: str | None) -> int | None:
    return from_decimal(yuan, "CNY") if yuan is not None else None
