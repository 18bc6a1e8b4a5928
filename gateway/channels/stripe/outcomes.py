"""What Stripe's objects and refusals prove, in our words; an unknown word proves nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from gateway.channels.port import CREDENTIAL_REFUSED, Verb
from gateway.channels.stripe.amounts import from_stripe
from gateway.channels.stripe.messages import Charge, Error, Intent, Refund
from gateway.domain.outcome import Advice, Failure, NextAction, Outcome, Verdict

# Our numbers in Stripe's metadata, and the mark of an intent that was made only to close a number.
NUMBER: Final = "floodgate_attempt"
REFUND_NUMBER: Final = "floodgate_refund"
CLOSED: Final = "floodgate_closed"

_VERDICTS: Final = MappingProxyType(
    {
        "succeeded": Verdict.SUCCEEDED,
        "requires_capture": Verdict.AUTHORIZED,
        "requires_action": Verdict.REQUIRES_ACTION,
        "processing": Verdict.PENDING,
        "canceled": Verdict.CLOSED,
    }
)
_REFUND_VERDICTS: Final = MappingProxyType(
    {
        "succeeded": Verdict.SUCCEEDED,
        "pending": Verdict.PENDING,
        "requires_action": Verdict.PENDING,
        "failed": Verdict.FAILED,
        "canceled": Verdict.FAILED,
    }
)
_DECLINED: Final = ("card_declined", "The card was declined.", Advice.OTHER_METHOD)
_FAILURES: Final[Mapping[str, tuple[str, str, Advice]]] = MappingProxyType(
    {
        "insufficient_funds": (
            "insufficient_funds",
            "There is not enough money on the card.",
            Advice.RETRY_LATER,
        ),
        "expired_card": ("expired_card", "The card has expired.", Advice.OTHER_METHOD),
        "incorrect_cvc": ("incorrect_cvc", "The card's code is wrong.", Advice.OTHER_METHOD),
        "authentication_required": (
            "authentication_required",
            "The card wants the payer to prove who he is.",
            Advice.OTHER_METHOD,
        ),
        "payment_intent_authentication_failure": (
            "authentication_failed",
            "The payer did not prove who he is.",
            Advice.OTHER_METHOD,
        ),
        "resource_missing": ("unknown_token", "Stripe does not know this token.", Advice.NEVER),
        "processing_error": (
            "processing_error",
            "The card could not be asked.",
            Advice.RETRY_LATER,
        ),
        "issuer_not_available": (
            "issuer_unavailable",
            "The card's bank cannot be asked now.",
            Advice.RETRY_LATER,
        ),
        "try_again_later": (
            "issuer_unavailable",
            "The card's bank cannot be asked now.",
            Advice.RETRY_LATER,
        ),
    }
)
_NOT_DONE: Final = Failure("declined", "The acquirer declined.", Advice.NEVER)
_MONEY_VERBS: Final = frozenset({Verb.CREATE, Verb.CAPTURE, Verb.REFUND})
_BY_OUR_FAULT: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def of_intent(intent: Intent) -> Outcome:
    """Say how a payment stands; its number is the one in the intent's metadata."""
    currency = intent.currency.upper()
    number, amount = intent.metadata.get(NUMBER, ""), intent.amount
    verdict = _verdict(intent)
    if verdict is Verdict.SUCCEEDED:
        if intent.amount_received is None:
            return Outcome(code="incomplete", number=number)
        amount = intent.amount_received
    error = intent.last_payment_error
    word = (error.decline_code or error.code) if error is not None else None
    charge = intent.latest_charge
    paid_at = datetime.fromtimestamp(charge.created, UTC) if isinstance(charge, Charge) else None
    return Outcome(
        verdict=verdict,
        number=number,
        channel_transaction=intent.id,
        amount=from_stripe(amount, currency),
        currency=currency,
        code=(word or intent.status) if verdict is Verdict.FAILED else intent.status,
        failure=_failure(word) if verdict is Verdict.FAILED else None,
        next_action=_next_action(intent) if verdict is Verdict.REQUIRES_ACTION else None,
        paid_at=paid_at if verdict is Verdict.SUCCEEDED else None,
    )


def _verdict(intent: Intent) -> Verdict:
    """An intent that waits for another card has failed for us: nobody but us can give it one."""
    if intent.status == "requires_payment_method" and intent.last_payment_error is not None:
        return Verdict.FAILED
    if intent.status == "requires_confirmation" and CLOSED in intent.metadata:
        return Verdict.CLOSED
    return _VERDICTS.get(intent.status, Verdict.UNKNOWN)


def _next_action(intent: Intent) -> NextAction:
    """Send the payer on, or where the merchant gave no way back let Stripe's own client do it."""
    step = intent.next_action
    if step is not None and step.redirect_to_url is not None:
        return NextAction("redirect", url=step.redirect_to_url.url)
    return NextAction("invoke", fields={"client_secret": intent.client_secret or ""})


def of_refund(refund: Refund) -> Outcome:
    """Say how a refund stands; its number is the one in the refund's metadata."""
    currency = refund.currency.upper()
    verdict = _REFUND_VERDICTS.get(refund.status or "", Verdict.UNKNOWN)
    failure = None
    if verdict is Verdict.FAILED:
        word = refund.failure_reason or refund.status
        failure = Failure("refund_failed", "The refund could not be paid out.", Advice.NEVER, word)
    return Outcome(
        verdict=verdict,
        number=refund.metadata.get(REFUND_NUMBER, ""),
        channel_transaction=refund.id,
        amount=from_stripe(refund.amount, currency),
        currency=currency,
        code=refund.failure_reason or refund.status,
        failure=failure,
        paid_at=datetime.fromtimestamp(refund.created, UTC)
        if verdict is Verdict.SUCCEEDED
        else None,
    )


def of_refusal(verb: Verb, status: int, error: Error) -> Outcome:
    """Say what a refusal proves.

    A refusal of an intent's state, and a decline, show the state, which is the answer.  A key that
    was used with other parameters, and whatever we were refused without it being about this
    payment, proves nothing of a payment that may be older than this request.
    """
    word = error.decline_code or error.code or error.type
    if status in _BY_OUR_FAULT:
        if verb is Verb.CREATE:
            return Outcome(Verdict.FAILED, code=CREDENTIAL_REFUSED, failure=_NOT_DONE)
        return Outcome(code=CREDENTIAL_REFUSED)
    is_of_state = error.code == "payment_intent_unexpected_state" or verb is Verb.CREATE
    if error.payment_intent is not None and is_of_state:
        shown = of_intent(error.payment_intent)
        if shown.verdict is not Verdict.UNKNOWN:
            return shown
    proves = error.type in {"card_error", "invalid_request_error"} and verb in _MONEY_VERBS
    if not proves:
        return Outcome(code=word)
    failure = _failure(word) if verb is Verb.CREATE else replace(_NOT_DONE, channel_code=word)
    return Outcome(Verdict.FAILED, code=word, failure=failure)


def _failure(word: str | None) -> Failure:
    """Say why in words for the merchant; Stripe's own word stays beside them."""
    code, message, advice = _FAILURES.get(word or "", _DECLINED)
    return Failure(code, message, advice, word)
