"""The pure channel of the simulator: what it builds, and what it makes of answers and notices."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.channels.port import Ask, Channel, NoticeRefused, Verb
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.domain.outcome import ANOTHER_NUMBER, Advice, Failure, NextAction, Outcome, Verdict
from gateway.domain.wire import WireAnswer

SECRET = b"secret"
NOW = datetime(2026, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
NUMBER = "0199aabbccddeeff0011223344556677"
REFUND = "0199aabbccddeeff0011223344556688"
MONEY = {"transaction": "sim_1", "amount": 1000, "currency": "CNY"}
CHANNEL: Channel = SimulatorChannel("http://sim", SECRET, notify_base="http://gw:8080")


def asking(verb: Verb, refund_number: str | None = None) -> Ask:
    method = {"type": "card", "token": "tok_ok"}
    return Ask(verb, NUMBER, 1000, "CNY", method, refund_number=refund_number)


def heard(ask: Ask, status: int, said: object) -> Outcome:
    return CHANNEL.read(ask, WireAnswer(status, {}, json.dumps(said).encode()))


def mac(subject: str, timestamp: str, body: bytes, secret: bytes = SECRET) -> str:
    base = subject.encode() + b"\n" + timestamp.encode() + b"\n" + body
    return hmac.new(secret, base, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("ask", "method", "path", "body"),
    [
        (
            asking(Verb.CREATE),
            "POST",
            "/v1/payments",
            {
                "number": NUMBER,
                "amount": 1000,
                "currency": "CNY",
                "method": {"type": "card", "token": "tok_ok"},
                "notify_url": "http://gw:8080/notices/simulator",
                "capture": True,
                "expires_at": None,
            },
        ),
        (asking(Verb.QUERY), "GET", f"/v1/payments/{NUMBER}", None),
        (asking(Verb.CLOSE), "POST", f"/v1/payments/{NUMBER}/close", None),
        (
            asking(Verb.CAPTURE),
            "POST",
            f"/v1/payments/{NUMBER}/capture",
            {"amount": 1000, "currency": "CNY"},
        ),
        (
            asking(Verb.REFUND, REFUND),
            "POST",
            f"/v1/payments/{NUMBER}/refunds",
            {"refund_number": REFUND, "amount": 1000, "currency": "CNY"},
        ),
        (
            replace(asking(Verb.REFUND, REFUND), channel_transaction="T1"),
            "POST",
            f"/v1/payments/{NUMBER}/refunds",
            {"refund_number": REFUND, "amount": 1000, "currency": "CNY", "transaction": "T1"},
        ),
        (
            asking(Verb.QUERY_REFUND, REFUND),
            "GET",
            f"/v1/payments/{NUMBER}/refunds/{REFUND}",
            None,
        ),
    ],
    ids=lambda value: value.verb.value if isinstance(value, Ask) else "",
)
def test_every_verb_is_built_and_signed(
    ask: Ask, method: str, path: str, body: dict[str, object] | None
) -> None:
    request = CHANNEL.build(ask, NOW)
    assert (request.method, request.path) == (method, path)
    assert (json.loads(request.body) if request.body else None) == body
    assert request.headers == {
        "content-type": "application/json",
        "simulator-timestamp": SECONDS,
        "simulator-signature": mac(f"{method} {path}", SECONDS, request.body),
    }


@pytest.mark.parametrize("verb", [Verb.REFUND, Verb.QUERY_REFUND])
def test_a_refund_without_a_number_is_never_built(verb: Verb) -> None:
    with pytest.raises(ValueError, match="number"):
        CHANNEL.build(asking(verb), NOW)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("succeeded", Verdict.SUCCEEDED),
        ("authorized", Verdict.AUTHORIZED),
        ("requires_action", Verdict.REQUIRES_ACTION),
        ("pending", Verdict.PENDING),
        ("declined", Verdict.FAILED),
        ("closed", Verdict.CLOSED),
        ("failed", Verdict.UNKNOWN),
        ("SUCCEEDED", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
    ],
)
def test_the_words_for_a_payment(status: str, verdict: Verdict) -> None:
    outcome = heard(asking(Verb.QUERY), 200, {"number": NUMBER, "status": status} | MONEY)
    assert (outcome.verdict, outcome.code) == (verdict, status)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("succeeded", Verdict.SUCCEEDED),
        ("pending", Verdict.PENDING),
        ("failed", Verdict.FAILED),
        ("declined", Verdict.UNKNOWN),
        ("authorized", Verdict.UNKNOWN),
        ("closed", Verdict.UNKNOWN),
    ],
)
def test_the_words_for_a_refund(status: str, verdict: Verdict) -> None:
    said = {"number": NUMBER, "refund_number": REFUND, "status": status} | MONEY
    assert heard(asking(Verb.QUERY_REFUND, REFUND), 200, said).verdict is verdict


def test_a_query_tells_of_each_transaction_once_the_first_is_booked() -> None:
    said = {"number": NUMBER, "status": "succeeded", "again": ["sim_2", "sim_3"]} | MONEY
    ask, told = asking(Verb.QUERY), []
    for _ in range(4):
        outcome = heard(ask, 200, said)
        told.append((outcome.channel_transaction, outcome.news_in_seconds))
        assert (outcome.verdict, outcome.tells_more) == (Verdict.SUCCEEDED, True)
        name = outcome.channel_transaction
        if ask.captured is None:
            ask = replace(ask, captured=1000, channel_transaction=name)
        else:
            ask = replace(ask, further_transactions=(*ask.further_transactions, name))
    assert told == [("sim_1", 1), ("sim_2", 1), ("sim_3", None), ("sim_1", None)]
    assert not heard(ask, 200, {"number": NUMBER, "status": "succeeded"} | MONEY).tells_more
    # The second one was heard of first: then the first one is beside it.
    other = replace(asking(Verb.QUERY), captured=1000, channel_transaction="sim_2")
    assert heard(other, 200, said).channel_transaction == "sim_1"


def test_a_report_is_read_whole() -> None:
    said = {
        "number": NUMBER,
        "status": "succeeded",
        "amount": 1000,
        "currency": "CNY",
        "transaction": "sim_1",
        "qr": "qr_1",
        "booked_at": "2026-05-01T12:00:00Z",
        "a_field_of_next_year": [1],
    }
    assert heard(asking(Verb.CREATE), 200, said) == Outcome(
        Verdict.SUCCEEDED,
        "sim_1",
        1000,
        "CNY",
        code="succeeded",
        next_action=NextAction("qr", qr="qr_1"),
        paid_at=datetime(2026, 5, 1, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("code", "ours", "advice"),
    [
        ("card_declined", "card_declined", Advice.OTHER_METHOD),
        ("insufficient_funds", "insufficient_funds", Advice.RETRY_LATER),
        ("expired_card", "expired_card", Advice.OTHER_METHOD),
        ("unknown_token", "unknown_token", Advice.NEVER),
        ("a word of next year", "declined", Advice.OTHER_METHOD),
        (None, "declined", Advice.OTHER_METHOD),
    ],
)
def test_a_decline_says_why(code: str | None, ours: str, advice: Advice) -> None:
    said = {"number": NUMBER, "status": "declined", "code": code}
    failure = heard(asking(Verb.CREATE), 200, said).failure
    assert isinstance(failure, Failure)
    assert (failure.code, failure.advice, failure.channel_code) == (ours, advice, code)


@pytest.mark.parametrize(
    "said",
    [
        {"number": REFUND, "status": "succeeded"},
        {"number": NUMBER, "status": "succeeded", "refund_number": REFUND},
    ],
)
def test_a_report_about_something_else_proves_nothing(said: object) -> None:
    assert heard(asking(Verb.QUERY), 200, said) == ANOTHER_NUMBER


@pytest.mark.parametrize("status", ["succeeded", "authorized"])
@pytest.mark.parametrize("missing", MONEY)
def test_money_that_is_not_named_in_full_proves_nothing(status: str, missing: str) -> None:
    said = {"number": NUMBER, "status": status} | MONEY | {missing: None}
    assert heard(asking(Verb.QUERY), 200, said) == Outcome(code="incomplete")


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.QUERY, Verb.CLOSE, Verb.CAPTURE, Verb.REFUND])
@pytest.mark.parametrize(
    ("word", "of_money", "of_questions"),
    [
        ("not_found", Verdict.NOT_FOUND, Verdict.NOT_FOUND),
        ("closed", Verdict.CLOSED, Verdict.CLOSED),
        ("invalid_request", Verdict.FAILED, Verdict.UNKNOWN),
        ("not_authorized", Verdict.FAILED, Verdict.UNKNOWN),
        ("refund_exceeded", Verdict.FAILED, Verdict.UNKNOWN),
        ("number_used", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("already_captured", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("signature", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("no_such_call", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("a word of next year", Verdict.UNKNOWN, Verdict.UNKNOWN),
    ],
)
def test_what_a_refusal_proves(
    verb: Verb, word: str, of_money: Verdict, of_questions: Verdict
) -> None:
    moves_money = verb in {Verb.CREATE, Verb.CAPTURE, Verb.REFUND}
    outcome = heard(asking(verb, REFUND), 409, {"error": word})
    assert (outcome.verdict, outcome.code) == (of_money if moves_money else of_questions, word)
    assert (outcome.failure is not None) == (outcome.verdict is Verdict.FAILED)


@given(st.binary(), st.sampled_from([200, 201, 400, 404, 409]))
def test_no_noise_is_ever_read_as_money(body: bytes, status: int) -> None:
    try:
        outcome = CHANNEL.read(asking(Verb.CREATE), WireAnswer(status, {}, body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert outcome.verdict is Verdict.UNKNOWN


def noticing(
    body: bytes, *, timestamp: str = SECONDS, secret: bytes = SECRET, now: datetime = NOW
) -> object:
    headers = {
        "simulator-timestamp": timestamp,
        "simulator-signature": mac("NOTICE", timestamp, body, secret),
    }
    return CHANNEL.read_notice(headers, body, now)


SUCCESS = json.dumps(
    {
        "id": "n1",
        "report": {"number": NUMBER, "status": "succeeded"} | MONEY,
    }
).encode()


def test_a_notice_is_read() -> None:
    notice = noticing(SUCCESS)
    assert (notice.notice_id, notice.number, notice.refund_number) == ("n1", NUMBER, None)
    assert (notice.outcome.verdict, notice.outcome.amount) == (Verdict.SUCCEEDED, 1000)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_notice_is_good_for_five_minutes(seconds: int) -> None:
    assert noticing(SUCCESS, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("timestamp", "now"),
    [
        (SECONDS, NOW + timedelta(seconds=301)),
        (SECONDS, NOW - timedelta(seconds=302)),
        ("", NOW),
        ("1e9", NOW),
        (f" {SECONDS}", NOW),
        ("٠١٢", NOW),
        ("9" * 5000, NOW),
        ("\udcff", NOW),
    ],
)
def test_a_notice_of_another_time_is_stale(timestamp: str, now: datetime) -> None:
    headers = {"simulator-timestamp": timestamp, "simulator-signature": "0" * 64}
    with pytest.raises(NoticeRefused, match="stale"):
        CHANNEL.read_notice(headers, SUCCESS, now)


def test_a_notice_under_another_secret_is_forged() -> None:
    with pytest.raises(NoticeRefused, match="forged"):
        noticing(SUCCESS, secret=b"guess")


@pytest.mark.parametrize("signature", ["", "0" * 64, "é", "\udcff"])
def test_a_notice_with_any_other_signature_is_forged(signature: str) -> None:
    headers = {"simulator-timestamp": SECONDS, "simulator-signature": signature}
    with pytest.raises(NoticeRefused, match="forged"):
        CHANNEL.read_notice(headers, SUCCESS, NOW)


def test_a_signed_request_of_ours_is_no_notice() -> None:
    request = CHANNEL.build(asking(Verb.CREATE), NOW)
    with pytest.raises(NoticeRefused, match="forged"):
        CHANNEL.read_notice(request.headers, request.body, NOW)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"id":1,"report":{}}', b"\xff"])
def test_a_signed_notice_without_sense_is_unreadable(body: bytes) -> None:
    with pytest.raises(NoticeRefused, match="unreadable"):
        noticing(body)
