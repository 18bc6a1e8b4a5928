"""Stripe's PaymentIntents as a channel: pure, as every channel is.

Followed: docs.stripe.com/api of payment_intents, refunds, balance_transactions, idempotent_requests
and errors.  An intent is made and confirmed by one call under our number as its Idempotency-Key.

Stripe numbers intents itself, so one of which no answer came is searched for by our number in its
metadata, which moves nothing.  To close one that was never found, its key is used up for an intent
that nobody confirms: if the first call was heard, Stripe refuses the key, and the search will find
the intent; if not, whatever is still on its way is refused instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from gateway.channels.port import Ask, BillLine, Capabilities, Notice, NoticeRefused, Verb
from gateway.channels.stripe import bill
from gateway.channels.stripe.amounts import to_stripe
from gateway.channels.stripe.credential import StripeCredential
from gateway.channels.stripe.messages import (
    Event,
    Intent,
    IntentEvent,
    Intents,
    Refund,
    RefundEvent,
    Refunds,
    Refusal,
)
from gateway.channels.stripe.outcomes import (
    CLOSED,
    NUMBER,
    REFUND_NUMBER,
    of_intent,
    of_refund,
    of_refusal,
)
from gateway.channels.stripe.signing import refuse_unsigned
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest

VERSION: Final = "2025-03-31.basil"
_PAGE_ITEMS: Final = 40  # as many as an answer may hold
_INTENTS: Final = "/v1/payment_intents"
_EXPAND: Final = "expand%5B%5D=latest_charge"

_UNPAYABLE: Final = Outcome(
    Verdict.FAILED,
    code="amount_unpayable",
    failure=Failure(
        "amount_unpayable", "Stripe has no such amount in this currency.", Advice.NEVER
    ),
)
_MISSING: Final = Outcome(code="no_transaction", sent=False)

_read_intent: Final = msgspec.json.Decoder(Intent).decode
_read_intents: Final = msgspec.json.Decoder(Intents).decode
_read_refund: Final = msgspec.json.Decoder(Refund).decode
_read_refunds: Final = msgspec.json.Decoder(Refunds).decode
_read_refusal: Final = msgspec.json.Decoder(Refusal).decode
_read_event: Final = msgspec.json.Decoder(Event).decode
_read_intent_event: Final = msgspec.json.Decoder(IntentEvent).decode
_read_refund_event: Final = msgspec.json.Decoder(RefundEvent).decode

_Fields = dict[str, str]


class _Call(NamedTuple):
    """A call of the API; without fields it only reads."""

    path: str
    fields: _Fields | None = None
    key: str | None = None


class StripeChannel:
    """Speaks for one account.

    The first credential's key is used; every webhook secret of all of them verifies.  Where Stripe
    is to send its events is written down at Stripe, not in our requests.
    """

    name: Final = "stripe"
    number: Final = 2
    capabilities: Final = Capabilities(
        methods=frozenset({"card"}),
        currencies=None,
        partial_refund=True,
        close=True,
        notify=True,
        bill=True,
    )
    taken: Final = b'{"received":true}'

    def __init__(self, credentials: Sequence[StripeCredential], notify_url: str) -> None:  # noqa: ARG002
        self.base_url = credentials[0].base_url
        self._account = credentials[0].account
        self._headers = {
            "Authorization": f"Bearer {credentials[0].secret_key}",
            "Stripe-Version": VERSION,
            "User-Agent": "Floodgate",
        }
        self._secrets = [secret for one in credentials for secret in one.webhook_secrets]

    def __repr__(self) -> str:
        return f"StripeChannel({self._account})"

    def build(self, ask: Ask, now: datetime) -> WireRequest | Outcome:  # noqa: ARG002 - nothing is timed
        """Put a question into Stripe's words; an outcome where it has none for it."""
        amount = to_stripe(ask.amount, ask.currency)
        if amount is None:
            return _UNPAYABLE
        intent = ask.channel_transaction
        is_new = ask.verb is Verb.CREATE or intent is None
        call = _without_intent(ask, amount) if is_new else _with_intent(ask, amount)
        if call is None:
            return _MISSING
        if call.fields is None:
            return WireRequest("GET", call.path, self._headers, b"")
        headers = self._headers | {"Content-Type": "application/x-www-form-urlencoded"}
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        return WireRequest("POST", call.path, headers, urlencode(call.fields).encode())

    def read(self, ask: Ask, answer: WireAnswer) -> Outcome:
        """Put the answer into our words; raises msgspec's DecodeError when it is not one."""
        if answer.status != HTTPStatus.OK:
            return of_refusal(ask.verb, answer.status, _read_refusal(answer.body).error)
        match ask.verb:
            case Verb.QUERY if ask.channel_transaction is None:
                return _found(_read_intents(answer.body))
            case Verb.REFUND:
                return of_refund(_read_refund(answer.body))
            case Verb.QUERY_REFUND if ask.refund_transaction is not None:
                return of_refund(_read_refund(answer.body))
            case Verb.QUERY_REFUND:
                return _found_refund(ask, _read_refunds(answer.body))
        return of_intent(_read_intent(answer.body))

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Verify and read an event; what is about neither intents nor refunds names no number."""
        refuse_unsigned(self._secrets, headers.get("stripe-signature", ""), body, now)
        try:
            event = _read_event(body)
            match event.data.object.object:
                case "payment_intent":
                    outcome = of_intent(_read_intent_event(body).data.object)
                    return Notice(event.id, outcome.number or "", None, outcome)
                case "refund":
                    refund = _read_refund_event(body).data.object
                    outcome = of_refund(refund)
                    return Notice(
                        event.id, refund.metadata.get(NUMBER, ""), outcome.number or "", outcome
                    )
        except ValueError as error:  # msgspec's are ValueErrors as well
            raise NoticeRefused("unreadable") from error
        return Notice(event.id, "", None, Outcome())

    def read_bill(self, body: bytes) -> Iterator[BillLine]:
        """Read balance transactions; raises `BillRefused`, for a missing page after the last."""
        return bill.read(body)


def _without_intent(ask: Ask, amount: int) -> _Call | None:
    """Word a question about an intent whose number at Stripe we do not know."""
    match ask.verb:
        case Verb.CREATE:
            return _Call(_INTENTS, _order(ask, amount), ask.number)
        case Verb.CLOSE:
            return _Call(_INTENTS, _tombstone(ask, amount), ask.number)
        case Verb.QUERY:
            query = quote(f"metadata['{NUMBER}']:'{ask.number}'")
            return _Call(f"{_INTENTS}/search?query={query}&expand%5B%5D=data.latest_charge")
    return None


def _with_intent(ask: Ask, amount: int) -> _Call:
    """Word a question about an intent that Stripe has told us of.

    Captures and closes carry no key: Stripe would repeat an error of its own for a day, and its
    intents take each of them only once.
    """
    intent = f"{_INTENTS}/{ask.channel_transaction}"
    match ask.verb:
        case Verb.QUERY:
            return _Call(f"{intent}?{_EXPAND}")
        case Verb.CLOSE:
            return _Call(f"{intent}/cancel", {})
        case Verb.CAPTURE:
            fields = {"amount_to_capture": str(amount), "expand[]": "latest_charge"}
            return _Call(f"{intent}/capture", fields)
        case Verb.REFUND:
            return _Call("/v1/refunds", _order_refund(ask, amount), ask.refund_number)
        case Verb.QUERY_REFUND if ask.refund_transaction is not None:
            return _Call(f"/v1/refunds/{ask.refund_transaction}")
    return _Call(f"/v1/refunds?payment_intent={ask.channel_transaction}&limit={_PAGE_ITEMS}")


def _order(ask: Ask, amount: int) -> _Fields:
    fields = {
        "amount": str(amount),
        "currency": ask.currency.lower(),
        "payment_method": ask.method.get("token", ""),
        "payment_method_types[]": "card",
        "capture_method": "automatic" if ask.capture else "manual",
        "confirm": "true",
        f"metadata[{NUMBER}]": ask.number,
        "expand[]": "latest_charge",
    }
    if ask.description is not None:
        fields["description"] = ask.description
    if ask.return_url is not None:
        fields["return_url"] = ask.return_url
    return fields


def _tombstone(ask: Ask, amount: int) -> _Fields:
    """An intent that moves no money: it only takes the place of one that never came."""
    return {
        "amount": str(amount),
        "currency": ask.currency.lower(),
        "payment_method_types[]": "card",
        "confirm": "false",
        f"metadata[{NUMBER}]": ask.number,
        f"metadata[{CLOSED}]": "yes",
    }


def _order_refund(ask: Ask, amount: int) -> _Fields:
    return {
        "payment_intent": ask.channel_transaction or "",
        "amount": str(amount),
        f"metadata[{NUMBER}]": ask.number,
        f"metadata[{REFUND_NUMBER}]": ask.refund_number or "",
    }


def _found(found: Intents) -> Outcome:
    """Of what was found under our number, take what moved money before what only closes it.

    A search may lag behind, so nothing found is "not yet" and never a proof.
    """
    outcomes = [of_intent(intent) for intent in found.data]
    moved = [each for each in outcomes if each.verdict is not Verdict.CLOSED]
    if found.has_more or len(moved) > 1:
        return Outcome(code="found_twice")
    nothing = Outcome(Verdict.NOT_FOUND, code="not_found")
    return next(iter((*moved, *outcomes)), nothing)


def _found_refund(ask: Ask, found: Refunds) -> Outcome:
    for refund in found.data:
        if refund.metadata.get(REFUND_NUMBER) == ask.refund_number:
            return of_refund(refund)
    return Outcome(code="too_many") if found.has_more else Outcome(Verdict.NOT_FOUND)
