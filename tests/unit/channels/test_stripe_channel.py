"""Stripe's channel: what it asks, what answers and events prove, and what it refuses to believe."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from stripe import WebhookSignature

from gateway.channels.port import CREDENTIAL_REFUSED, Ask, NoticeRefused, Verb
from gateway.channels.stripe.channel import StripeChannel
from gateway.channels.stripe.credential import StripeCredential
from gateway.domain.outcome import Advice, NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from tests.fakes.stripe_platform import signature

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NUMBER, REFUND = "019dd3b9d20070008000000700000010", "019dd3b9d20070008000000700000020"
OLD, NEW = "whsec_old0123456789abcdef", "whsec_new0123456789abcdef"
CREDENTIAL = StripeCredential(
    account="acct_1AAAAAAAAAAAAAAA", secret_key="sk_test_0123456789", webhook_secrets=(OLD,)
)
CHANNEL = StripeChannel(
    [replace(CREDENTIAL, secret_key="rk_live_new_012345", webhook_secrets=(NEW,)), CREDENTIAL],
    "https://us.example/notices/stripe",
)
CREATE = Ask(Verb.CREATE, NUMBER, 1999, "EUR", {"type": "card", "token": "pm_card_visa"})
INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 1999,
    "amount_received": 1999,
    "currency": "eur",
    "metadata": {"floodgate_attempt": NUMBER},
    "latest_charge": {"id": "ch_1", "created": 1777636800},
}
A_REFUND: dict[str, Any] = {
    "id": "re_1",
    "object": "refund",
    "status": "succeeded",
    "amount": 500,
    "currency": "eur",
    "created": 1777636800,
    "metadata": {"floodgate_attempt": NUMBER, "floodgate_refund": REFUND},
}


def built(ask: Ask) -> WireRequest:
    request = CHANNEL.build(ask, NOW)
    assert isinstance(request, WireRequest)
    return request


def asking(verb: Verb, **known: Any) -> Ask:
    return Ask(verb, NUMBER, 1999, "EUR", **known)


def heard(ask: Ask, body: Any, status: int = 200) -> Outcome:
    return CHANNEL.read(ask, WireAnswer(status, {}, json.dumps(body).encode()))


def refused(ask: Ask, status: int, kind: str, **more: Any) -> Outcome:
    return heard(ask, {"error": {"type": kind, **more}}, status)


def told(about: Any, secret: str = NEW, age: int = 0, **event: Any) -> dict[str, Any]:
    body = json.dumps({"id": "evt_1", "data": {"object": about}} | event).encode()
    at = int(NOW.timestamp()) - age
    return {"headers": {"stripe-signature": signature(secret, body, at)}, "body": body, "now": NOW}


def test_a_payment_is_one_call_under_our_number() -> None:
    full = replace(CREATE, capture=False, description="Tea & co", return_url="https://shop/?a=1")
    request = built(full)
    assert (request.method, request.path) == ("POST", "/v1/payment_intents")
    assert request.headers["Idempotency-Key"] == NUMBER
    assert request.headers["Authorization"] == "Bearer rk_live_new_012345"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d\.\w+", request.headers["Stripe-Version"])
    assert dict(parse_qsl(request.body.decode())) == {
        "amount": "1999",
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "payment_method_types[]": "card",
        "capture_method": "manual",
        "confirm": "true",
        "metadata[floodgate_attempt]": NUMBER,
        "expand[]": "latest_charge",
        "description": "Tea & co",
        "return_url": "https://shop/?a=1",
    }


@pytest.mark.parametrize(
    ("ask", "method", "path", "key"),
    [
        (asking(Verb.QUERY, channel_transaction="pi_1"), "GET", "/v1/payment_intents/pi_1", None),
        (
            asking(Verb.CLOSE, channel_transaction="pi_1"),
            "POST",
            "/v1/payment_intents/pi_1/cancel",
            None,
        ),
        (asking(Verb.CLOSE), "POST", "/v1/payment_intents", NUMBER),
        (
            asking(Verb.CAPTURE, channel_transaction="pi_1"),
            "POST",
            "/v1/payment_intents/pi_1/capture",
            None,
        ),
        (
            asking(Verb.REFUND, channel_transaction="pi_1", refund_number=REFUND),
            "POST",
            "/v1/refunds",
            REFUND,
        ),
        (
            asking(Verb.QUERY_REFUND, channel_transaction="pi_1", refund_number=REFUND),
            "GET",
            "/v1/refunds",
            None,
        ),
        (
            asking(Verb.QUERY_REFUND, refund_transaction="re_1", channel_transaction="pi_1"),
            "GET",
            "/v1/refunds/re_1",
            None,
        ),
    ],
)
def test_what_is_asked(ask: Ask, method: str, path: str, key: str | None) -> None:
    request = built(ask)
    assert (request.method, request.path.partition("?")[0]) == (method, path)
    assert request.headers.get("Idempotency-Key") == key
    assert request.body == b"" or method == "POST"


def test_an_intent_of_unknown_number_is_searched_for_and_nothing_is_moved() -> None:
    request = built(asking(Verb.QUERY))
    path, _, query = request.path.partition("?")
    assert (request.method, path) == ("GET", "/v1/payment_intents/search")
    assert parse_qs(query)["query"] == [f"metadata['floodgate_attempt']:'{NUMBER}'"]
    assert "confirm=false" in built(asking(Verb.CLOSE)).body.decode()


@pytest.mark.parametrize("verb", [Verb.CAPTURE, Verb.REFUND, Verb.QUERY_REFUND])
def test_what_stripe_has_not_told_us_of_cannot_be_asked_about(verb: Verb) -> None:
    outcome = CHANNEL.build(asking(verb, refund_number=REFUND), NOW)
    assert outcome == Outcome(code="no_transaction", sent=False)


def test_an_amount_that_stripe_does_not_have_is_declined_unsent() -> None:
    outcome = CHANNEL.build(replace(CREATE, amount=1999, currency="KWD"), NOW)
    assert isinstance(outcome, Outcome)
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "amount_unpayable")


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.SUCCEEDED),
        ({"amount_received": None}, Verdict.UNKNOWN),
        ({"status": "requires_capture", "amount_received": 0}, Verdict.AUTHORIZED),
        ({"status": "processing", "amount_received": 0}, Verdict.PENDING),
        ({"status": "canceled", "amount_received": 0}, Verdict.CLOSED),
        ({"status": "requires_confirmation"}, Verdict.UNKNOWN),
        ({"status": "requires_payment_method"}, Verdict.UNKNOWN),
        (
            {"status": "requires_payment_method", "last_payment_error": {"code": "card_declined"}},
            Verdict.FAILED,
        ),
        ({"status": "paid"}, Verdict.UNKNOWN),
    ],
)
def test_what_a_status_means(change: dict[str, Any], verdict: Verdict) -> None:
    outcome = heard(asking(Verb.QUERY, channel_transaction="pi_1"), INTENT | change)
    assert outcome.verdict is verdict


def test_a_success_is_told_with_all_that_is_compared() -> None:
    assert heard(CREATE, INTENT) == Outcome(
        Verdict.SUCCEEDED,
        channel_transaction="pi_1",
        amount=1999,
        currency="EUR",
        code="succeeded",
        paid_at=datetime(2026, 5, 1, 12, tzinfo=UTC),
        number=NUMBER,
    )
    # An intent that is not ours carries no number, which is another number than the one we asked.
    assert heard(CREATE, INTENT | {"metadata": {}}).number == ""


def test_where_the_payer_is_sent() -> None:
    step = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank/1"}}
    waits = INTENT | {"status": "requires_action", "next_action": step, "amount_received": 0}
    assert heard(CREATE, waits).next_action == NextAction("redirect", url="https://bank/1")


@pytest.mark.parametrize(
    ("word", "code", "advice"),
    [
        ("insufficient_funds", "insufficient_funds", Advice.RETRY_LATER),
        ("expired_card", "expired_card", Advice.OTHER_METHOD),
        ("a_word_of_next_year", "card_declined", Advice.OTHER_METHOD),
    ],
)
def test_a_decline_says_why(word: str, code: str, advice: Advice) -> None:
    error = {"code": "card_declined", "decline_code": word, "type": "card_error"}
    intent = INTENT | {"status": "requires_payment_method", "last_payment_error": error}
    for more in ({}, {"payment_intent": intent}):
        outcome = refused(CREATE, 402, "card_error", decline_code=word, **more)
        assert outcome.verdict is Verdict.FAILED
        assert outcome.failure is not None
        assert (outcome.failure.code, outcome.failure.advice) == (code, advice)
        assert outcome.failure.channel_code == outcome.code == word


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "idempotency_error"), (409, "api_error"), (400, "rate_limit_error"), (402, "a_new_one")],
)
def test_what_is_not_about_the_payment_proves_nothing(verb: Verb, status: int, kind: str) -> None:
    assert refused(asking(verb), status, kind).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_for_operators(status: int) -> None:
    made = refused(CREATE, status, "invalid_request_error", code="secret_key_expired")
    assert (made.verdict, made.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)
    assert made.failure is not None
    assert "key" not in made.failure.message
    asked = refused(asking(Verb.REFUND), status, "invalid_request_error")
    assert asked == Outcome(code=CREDENTIAL_REFUSED)


@pytest.mark.parametrize("verb", [Verb.CLOSE, Verb.CAPTURE])
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("succeeded", Verdict.SUCCEEDED),
        ("canceled", Verdict.CLOSED),
        ("processing", Verdict.PENDING),
    ],
)
def test_a_state_that_refuses_is_the_answer(verb: Verb, status: str, verdict: Verdict) -> None:
    more = {
        "code": "payment_intent_unexpected_state",
        "payment_intent": INTENT | {"status": status},
    }
    assert refused(asking(verb), 400, "invalid_request_error", **more).verdict is verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("succeeded", Verdict.SUCCEEDED),
        ("pending", Verdict.PENDING),
        ("requires_action", Verdict.PENDING),
        ("failed", Verdict.FAILED),
        ("canceled", Verdict.FAILED),
        (None, Verdict.UNKNOWN),
        ("returned", Verdict.UNKNOWN),
    ],
)
def test_how_a_refund_stands(status: str | None, verdict: Verdict) -> None:
    outcome = heard(asking(Verb.REFUND, refund_number=REFUND), A_REFUND | {"status": status})
    assert (outcome.verdict, outcome.number, outcome.amount) == (verdict, REFUND, 500)
    assert (outcome.failure is not None) is (verdict is Verdict.FAILED)


def test_a_refund_is_found_among_others_or_not_at_all() -> None:
    ask = asking(Verb.QUERY_REFUND, channel_transaction="pi_1", refund_number=REFUND)
    other = A_REFUND | {"metadata": {}}
    assert heard(ask, {"data": [other, A_REFUND], "has_more": True}).verdict is Verdict.SUCCEEDED
    assert heard(ask, {"data": [other], "has_more": False}).verdict is Verdict.NOT_FOUND
    assert heard(ask, {"data": [other], "has_more": True}).verdict is Verdict.UNKNOWN


def test_what_a_search_proves() -> None:
    closed = INTENT | {
        "id": "pi_2",
        "status": "requires_confirmation",
        "metadata": {"floodgate_attempt": NUMBER, "floodgate_closed": "yes"},
    }

    def found(*intents: Any, has_more: bool = False) -> Verdict:
        page = {"data": intents, "has_more": has_more}
        return heard(asking(Verb.QUERY), page).verdict

    assert found() is Verdict.NOT_FOUND
    assert found(closed) is Verdict.CLOSED
    assert found(closed, INTENT) is found(INTENT, closed) is Verdict.SUCCEEDED
    assert found(INTENT, INTENT) is found(INTENT, has_more=True) is Verdict.UNKNOWN


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_an_event_is_believed_under_any_secret_that_is_valid(secret: str) -> None:
    notice = CHANNEL.read_notice(**told(INTENT, secret))
    assert (notice.notice_id, notice.number, notice.refund_number) == ("evt_1", NUMBER, None)
    assert notice.outcome.verdict is Verdict.SUCCEEDED
    back = CHANNEL.read_notice(**told(A_REFUND, secret))
    assert (back.number, back.refund_number) == (NUMBER, REFUND)


def test_an_event_about_something_else_names_no_number() -> None:
    assert CHANNEL.read_notice(**told({"object": "payout"})).number == ""
    assert CHANNEL.read_notice(**told(INTENT | {"metadata": {}})).number == ""


@pytest.mark.parametrize("age", [-299, 0, 299])
def test_signatures_are_those_of_stripes_own_client(age: int) -> None:
    letter = told(INTENT, age=age)
    header, body = letter["headers"]["stripe-signature"], letter["body"].decode()
    assert WebhookSignature.verify_header(body, header, NEW, tolerance=None)
    assert CHANNEL.read_notice(**letter).number == NUMBER


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "forged"),
        ("t=", "forged"),
        ("t=x,v1=y", "forged"),
        ("t=\u0661\u0667,v1=y", "forged"),
        ("t=1777636800", "forged"),
        ("t=1777636800,v1=", "forged"),
        ("t=1777636800,v1=é", "forged"),
        ("t=1777636800,t=1777636800,v1=0", "forged"),
        ("t=1,v1=0", "stale"),
        ("t=999999999999,v1=0", "stale"),
        ("t=9999999999999,v1=0", "forged"),
    ],
)
def test_what_is_not_signed_is_refused(header: str, reason: str) -> None:
    letter = told(INTENT) | {"headers": {"stripe-signature": header}}
    with pytest.raises(NoticeRefused, match=reason):
        CHANNEL.read_notice(**letter)


@pytest.mark.parametrize("age", [-301, 301])
def test_an_old_event_is_refused(age: int) -> None:
    with pytest.raises(NoticeRefused, match="stale"):
        CHANNEL.read_notice(**told(INTENT, age=age))


@pytest.mark.parametrize(
    "about", [None, [], {}, {"object": "payment_intent"}, {"object": "refund"}]
)
def test_an_unreadable_event_is_refused(about: Any) -> None:
    with pytest.raises(NoticeRefused, match="unreadable"):
        CHANNEL.read_notice(**told(about))


@given(st.binary(max_size=200))
def test_bytes_are_refused_or_read_and_nothing_else(body: bytes) -> None:
    at = int(NOW.timestamp())
    with pytest.raises(NoticeRefused):
        CHANNEL.read_notice({"stripe-signature": signature(NEW, body, at)}, body, NOW)


def test_nothing_secret_is_shown() -> None:
    shown = repr(CHANNEL) + repr(CREDENTIAL) + repr(CREATE)
    for secret in ("0123456789", "whsec", "pm_card"):
        assert secret not in shown
