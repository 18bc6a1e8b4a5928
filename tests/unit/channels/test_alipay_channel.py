"""Alipay's words in ours: what is signed, what answers prove, which notices are believed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from msgspec.structs import replace

from gateway.channels.alipay.channel import AlipayChannel
from gateway.channels.alipay.messages import Flow
from gateway.channels.port import CREDENTIAL_REFUSED, Ask, NoticeRefused, Verb
from gateway.domain.identity import mint, uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from tests.fakes import alipay_platform as fake

NOW = datetime.now(UTC)
NUMBER = uuid_of(mint("att", 7, int(NOW.timestamp() * 1000)))
QR = {"type": "alipay", "flow": "qr"}
ENDS = NOW + timedelta(minutes=5)
ASK = Ask(Verb.CREATE, NUMBER, 1999, "CNY", QR, expires_at=ENDS, asked_at=NOW)
BARCODE = replace(ASK, method={"type": "alipay", "flow": "barcode", "auth_code": "28" * 9})
REFUND = replace(ASK, verb=Verb.REFUND, amount=500, refund_number="f" * 32, captured=1999)
METHODS = {
    Verb.CREATE: "alipay.trade.precreate",
    Verb.QUERY: "alipay.trade.query",
    Verb.CLOSE: "alipay.trade.close",
    Verb.REFUND: "alipay.trade.refund",
    Verb.QUERY_REFUND: "alipay.trade.fastpay.refund.query",
}
PAID = {
    "code": "10000",
    "out_trade_no": NUMBER,
    "trade_no": "2026050122001",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "19.99",
    "send_pay_date": "2026-05-01 20:00:00",
}


@pytest.fixture
def channel() -> AlipayChannel:
    credential = fake.credential("https://pay.example")
    return AlipayChannel([credential], notify_url="https://us.example/notices/alipay")


def read(channel: AlipayChannel, ask: Ask, node: dict[str, Any], method: str = "") -> Outcome:
    body = fake.answered(method or METHODS[ask.verb], node)
    return channel.read(ask, WireAnswer(200, {}, body))


def asked(verb: Verb) -> Ask:
    return replace(REFUND, verb=verb) if "REFUND" in verb.name else replace(ASK, verb=verb)


def said_by(channel: AlipayChannel, ask: Ask) -> dict[str, str]:
    request = channel.build(ask, NOW)
    assert isinstance(request, WireRequest)
    return dict(parse_qsl(request.body.decode()))


@pytest.mark.parametrize(
    "ask", [ASK, BARCODE, *map(asked, METHODS)], ids=lambda ask: ask.verb.value
)
def test_requests_are_signed_as_the_independent_package_sees_it(
    channel: AlipayChannel, ask: Ask
) -> None:
    said = said_by(channel, ask)
    assert fake.is_ours(said)
    assert not fake.is_ours(said | {"version": "1.1"})
    assert (said["app_id"], said["sign_type"]) == (fake.APP_ID, "RSA2")
    assert ("notify_url" in said) is (ask.verb is Verb.CREATE)


@pytest.mark.parametrize("verb", [Verb.REFUND, Verb.QUERY_REFUND])
def test_a_refund_of_what_was_paid_beside_a_payment_names_that_trade(
    channel: AlipayChannel, verb: Verb
) -> None:
    own = replace(asked(verb), channel_transaction="2026")
    for ask, named in (
        (own, None),
        (replace(own, is_further=True), "2026"),
        (replace(asked(verb), is_further=True), None),
    ):
        content = json.loads(said_by(channel, ask)["biz_content"])
        assert (content.get("trade_no"), content["out_trade_no"]) == (named, ask.number)


def test_a_page_is_an_address_that_we_sign_and_nobody_is_asked(channel: AlipayChannel) -> None:
    page = replace(
        ASK, method={"type": "alipay", "flow": "page"}, return_url="https://shop.example"
    )
    outcome = channel.build(page, NOW)
    assert isinstance(outcome, Outcome)
    assert outcome.verdict is Verdict.REQUIRES_ACTION
    assert outcome.next_action is not None
    assert outcome.next_action.url is not None
    said = dict(parse_qsl(urlsplit(outcome.next_action.url).query))
    assert fake.is_ours(said)
    assert said["method"] == "alipay.trade.page.pay"
    assert said["return_url"] == "https://shop.example"
    assert '"total_amount":"19.99"' in said["biz_content"]


STATES = [
    ("WAIT_BUYER_PAY", Verdict.PENDING),
    ("TRADE_SUCCESS", Verdict.SUCCEEDED),
    ("TRADE_FINISHED", Verdict.SUCCEEDED),
    ("TRADE_HALF_DONE", Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("state", "verdict"), STATES)
def test_a_query_tells_how_the_trade_stands(
    channel: AlipayChannel, state: str, verdict: Verdict
) -> None:
    outcome = read(channel, asked(Verb.QUERY), PAID | {"trade_status": state})
    assert (outcome.verdict, outcome.code, outcome.amount) == (verdict, state, 1999)


def test_a_closed_trade_that_was_paid_had_its_money_given_back(channel: AlipayChannel) -> None:
    """Of one that was canceled at the last moment Alipay still says when it was paid."""
    closed = PAID | {"trade_status": "TRADE_CLOSED"}
    told = read(channel, asked(Verb.QUERY), closed)
    assert (told.verdict, told.returned) == (Verdict.CLOSED, True)
    closed.pop("send_pay_date")
    told = read(channel, asked(Verb.QUERY), closed)
    assert (told.verdict, told.returned) == (Verdict.CLOSED, False)


REFUSALS = [
    (Verb.CREATE, "ACQ.BUYER_BALANCE_NOT_ENOUGH", Verdict.FAILED),
    (Verb.CREATE, "ACQ.SYSTEM_ERROR", Verdict.UNKNOWN),
    (Verb.CREATE, "ACQ.TRADE_HAS_SUCCESS", Verdict.UNKNOWN),
    (Verb.CREATE, "ACQ.CONTEXT_INCONSISTENT", Verdict.UNKNOWN),
    (Verb.CREATE, "ACQ.TRADE_HAS_CLOSE", Verdict.CLOSED),
    (Verb.QUERY, "ACQ.TRADE_NOT_EXIST", Verdict.NOT_FOUND),
    (Verb.QUERY, "ACQ.INVALID_PARAMETER", Verdict.UNKNOWN),
    (Verb.CLOSE, "ACQ.TRADE_NOT_EXIST", Verdict.NOT_FOUND),
    (Verb.CLOSE, "ACQ.TRADE_STATUS_ERROR", Verdict.UNKNOWN),
    (Verb.REFUND, "ACQ.SELLER_BALANCE_NOT_ENOUGH", Verdict.PENDING),
    (Verb.REFUND, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", Verdict.FAILED),
    (Verb.REFUND, "ACQ.SYSTEM_ERROR", Verdict.UNKNOWN),
    (Verb.QUERY_REFUND, "ACQ.TRADE_NOT_EXIST", Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("verb", "word", "verdict"), REFUSALS)
def test_a_refusal_proves_only_what_it_says(
    channel: AlipayChannel, verb: Verb, word: str, verdict: Verdict
) -> None:
    outcome = read(channel, asked(verb), fake.failed(word))
    assert (outcome.verdict, outcome.code) == (verdict, word)
    assert (outcome.failure is not None) is (verdict is Verdict.FAILED)


@pytest.mark.parametrize(
    ("code", "verb", "verdict"),
    [
        ("20000", Verb.CREATE, Verdict.UNKNOWN),
        ("40006", Verb.CREATE, Verdict.FAILED),
        ("40006", Verb.QUERY, Verdict.UNKNOWN),
        ("10003", Verb.CREATE, Verdict.PENDING),
        ("10003", Verb.REFUND, Verdict.UNKNOWN),
        ("99999", Verb.REFUND, Verdict.UNKNOWN),
    ],
)
def test_a_gateway_code_proves_only_what_it_says(
    channel: AlipayChannel, code: str, verb: Verb, verdict: Verdict
) -> None:
    assert read(channel, asked(verb), {"code": code}).verdict is verdict


def test_a_code_that_nobody_scanned_is_closed_only_after_its_time(channel: AlipayChannel) -> None:
    close, none = asked(Verb.CLOSE), fake.failed("ACQ.TRADE_NOT_EXIST")
    assert read(channel, close, none).verdict is Verdict.NOT_FOUND
    at_once = replace(close, asked_at=ENDS + timedelta(seconds=1))
    assert read(channel, at_once, none).verdict is Verdict.NOT_FOUND
    later = replace(close, asked_at=ENDS + timedelta(minutes=2))
    assert read(channel, later, none).verdict is Verdict.CLOSED


def test_a_barcode_pays_at_once_and_is_ended_by_a_cancellation(channel: AlipayChannel) -> None:
    paid = dict(PAID, gmt_payment="2026-05-01 20:00:00")
    paid.pop("trade_status")
    outcome = read(channel, BARCODE, paid, "alipay.trade.pay")
    assert (outcome.verdict, outcome.amount) == (Verdict.SUCCEEDED, 1999)
    assert outcome.paid_at == datetime(2026, 5, 1, 12, tzinfo=UTC)
    close = replace(BARCODE, verb=Verb.CLOSE)
    assert said_by(channel, close)["method"] == "alipay.trade.cancel"
    canceled = read(channel, close, fake.done(action="refund"), "alipay.trade.cancel")
    assert (canceled.verdict, canceled.code, canceled.returned) == (Verdict.CLOSED, "refund", True)
    closed = read(channel, close, fake.done(action="close"), "alipay.trade.cancel")
    assert (closed.verdict, closed.returned) == (Verdict.CLOSED, False)
    again = read(channel, close, fake.done(retry_flag="Y"), "alipay.trade.cancel")
    assert again == Outcome(code="retry")


def test_a_refund_has_moved_money_only_when_it_says_so(channel: AlipayChannel) -> None:
    given = {"code": "10000", "out_trade_no": NUMBER, "trade_no": "1", "refund_fee": "9.99"}
    moved = read(channel, REFUND, given | {"fund_change": "Y"})
    assert (moved.verdict, moved.channel_transaction) == (Verdict.SUCCEEDED, f"1/{'f' * 32}")
    assert moved.amount is None
    assert read(channel, REFUND, given | {"fund_change": "N"}).verdict is Verdict.PENDING
    query = asked(Verb.QUERY_REFUND)
    assert read(channel, query, fake.done()).verdict is Verdict.NOT_FOUND
    found = {"out_request_no": "f" * 32, "refund_amount": "5.00", "refund_status": "REFUND_SUCCESS"}
    outcome = read(channel, query, given | found)
    assert (outcome.verdict, outcome.amount, outcome.currency) == (Verdict.SUCCEEDED, 500, "CNY")
    unsaid = read(channel, query, given | found | {"refund_status": "REFUND_SOMEHOW"})
    assert unsaid.verdict is Verdict.UNKNOWN
    other = read(channel, query, given | found | {"out_request_no": "0"})
    assert other.code == "number_mismatch"


def test_what_is_not_signed_or_about_another_number_proves_nothing(channel: AlipayChannel) -> None:
    query = asked(Verb.QUERY)
    whole = fake.answered(METHODS[Verb.QUERY], PAID)
    for body in (whole.replace(b"19.99", b"99.99"), whole.replace(b'"sign"', b'"sing"')):
        assert channel.read(query, WireAnswer(200, {}, body)) == Outcome(code="unsigned")
    assert read(channel, query, PAID | {"out_trade_no": "0"}).code == "number_mismatch"
    assert read(channel, query, PAID | {"trade_no": None}).code == "incomplete"


NOTICE = {
    "notify_id": "n1",
    "out_trade_no": NUMBER,
    "trade_no": "2026050122001",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "19.99",
    "gmt_payment": "2026-05-01 20:00:00",
}


def test_notices_are_believed_and_read(channel: AlipayChannel) -> None:
    notice = channel.read_notice({}, fake.noticed(**NOTICE), datetime.now(UTC))
    assert (notice.notice_id, notice.number, notice.refund_number) == ("n1", NUMBER, None)
    assert (notice.outcome.verdict, notice.outcome.amount) == (Verdict.SUCCEEDED, 1999)
    refund = fake.noticed(**NOTICE, out_biz_no="f" * 32, refund_fee="5.00")
    notice = channel.read_notice({}, refund, datetime.now(UTC))
    assert (notice.refund_number, notice.outcome.verdict) == ("f" * 32, Verdict.PENDING)


def test_a_notice_that_cannot_be_believed_is_refused(channel: AlipayChannel) -> None:
    now, whole = datetime.now(UTC), fake.noticed(**NOTICE)
    nameless = dict(NOTICE)
    nameless.pop("out_trade_no")
    cases = [
        ("forged", whole.replace(b"19.99", b"99.99"), now),
        ("forged", b"a=b", now),
        ("unreadable", b"\xff", now),
        ("forged", b"", now),
        ("unreadable", fake.noticed(**nameless), now),
        ("foreign", fake.noticed(**NOTICE, app_id="2021000000000000"), now),
        ("foreign", fake.noticed(**NOTICE, seller_id="2088000000000000"), now),
        ("stale", whole, now + timedelta(hours=27)),
        ("stale", whole, now - timedelta(minutes=6)),
    ]
    for reason, body, at in cases:
        with pytest.raises(NoticeRefused, match=reason):
            channel.read_notice({}, body, at)


def test_no_secret_is_shown() -> None:
    credential = fake.credential("https://pay.example")
    shown = repr(credential) + repr(AlipayChannel([credential], notify_url="https://us.example"))
    assert "PRIVATE" not in shown
    with pytest.raises(ValueError, match="PEM"):
        AlipayChannel([replace(credential, private_key="x")], notify_url="https://us.example")


def test_a_credential_that_is_refused_is_told_apart_from_what_a_merchant_did(
    channel: AlipayChannel,
) -> None:
    refused = {"code": "40002", "sub_code": "isv.invalid-signature"}
    created = read(channel, ASK, refused)
    assert (created.verdict, created.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)
    queried = read(channel, asked(Verb.QUERY), refused)
    assert (queried.verdict, queried.code) == (Verdict.UNKNOWN, CREDENTIAL_REFUSED)


@pytest.mark.parametrize("flow", [flow.value for flow in Flow])
def test_exactly_the_flows_that_it_declares_are_drawn(channel: AlipayChannel, flow: str) -> None:
    drawn = channel.build(replace(BARCODE, method=BARCODE.method | {"flow": flow}), NOW)
    assert isinstance(drawn, Outcome) == (flow in channel.capabilities.draws)
