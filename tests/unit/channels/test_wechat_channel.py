"""WeChat Pay's words in ours: what is signed, what answers prove, which notices are believed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from wechatpayv3 import utils as peer

from gateway.channels.port import CREDENTIAL_REFUSED, Ask, NoticeRefused, Verb
from gateway.channels.wechat.channel import WechatChannel
from gateway.domain.identity import mint, uuid_of
from gateway.domain.outcome import Advice, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from tests.fakes import wechat_pay as fake

NOW = datetime.now(UTC)
SECONDS = int(NOW.timestamp())
NUMBER = uuid_of(mint("att", 7, int(NOW.timestamp() * 1000)))
NATIVE = {"type": "wechat", "flow": "native"}
ASK = Ask(Verb.CREATE, NUMBER, 1999, "CNY", NATIVE, expires_at=NOW + timedelta(minutes=5))
REFUND = replace(ASK, verb=Verb.REFUND, amount=500, refund_number="f" * 32, captured=1999)


@pytest.fixture
def channel() -> WechatChannel:
    credential = fake.credential("https://pay.example")
    return WechatChannel([credential], notify_url="https://us.example/notices/wechat")


def asked(verb: Verb) -> Ask:
    return replace(ASK, verb=verb)


def answer(status: int, said: object = None, *, at: int = SECONDS) -> WireAnswer:
    body = json.dumps(said) if said is not None else ""
    headers = fake.signed_headers(body, at=at)
    return WireAnswer(status, {n.lower(): v for n, v in headers.items()}, body.encode())


def told(**changes: Any) -> dict[str, Any]:
    paid = {
        "appid": fake.APPID,
        "mchid": fake.MCHID,
        "out_trade_no": NUMBER,
        "trade_state": "SUCCESS",
        "transaction_id": "4200001",
        "success_time": "2026-05-01T20:00:00+08:00",
        "amount": {"total": 1999, "payer_total": 1999, "currency": "CNY"},
    }
    return paid | changes


def built(channel: WechatChannel, ask: Ask) -> WireRequest:
    request = channel.build(ask, NOW)
    assert isinstance(request, WireRequest)
    return request


@pytest.mark.parametrize(
    "ask", [ASK, asked(Verb.QUERY), asked(Verb.CLOSE), REFUND], ids=lambda ask: ask.verb.value
)
def test_requests_are_signed_as_the_independent_package_signs(
    channel: WechatChannel, ask: Ask
) -> None:
    request = built(channel, ask)
    words = dict(
        part.split("=", 1) for part in request.headers["Authorization"].partition(" ")[2].split(",")
    )
    said = {name: word.strip('"') for name, word in words.items()}
    lines = [request.method, request.path, said["timestamp"], said["nonce_str"]]
    signed = peer.rsa_sign(fake.OURS, "\n".join([*lines, request.body.decode()]) + "\n")
    assert said["signature"] == signed
    assert (said["mchid"], said["serial_no"]) == (fake.MCHID, fake.SERIAL)
    assert request.headers["Wechatpay-Serial"] == fake.PLATFORM_NAME


def test_an_order_is_what_the_payment_is(channel: WechatChannel) -> None:
    order = json.loads(built(channel, replace(ASK, description="Two tickets")).body)
    assert order["amount"] == {"total": 1999, "currency": "CNY"}
    assert (order["out_trade_no"], order["description"]) == (NUMBER, "Two tickets")
    expires = datetime.fromisoformat(order["time_expire"])
    assert abs(expires - (NOW + timedelta(minutes=5))) < timedelta(seconds=1)
    h5 = replace(ASK, method={"type": "wechat", "flow": "h5"}, payer_ip="192.0.2.7")
    scene = json.loads(built(channel, h5).body)["scene_info"]
    assert scene == {"payer_client_ip": "192.0.2.7", "h5_info": {"type": "Wap"}}


def test_a_refund_of_what_was_paid_beside_a_payment_names_that_transaction(
    channel: WechatChannel,
) -> None:
    own = replace(REFUND, channel_transaction="420000")
    for ask, named in (
        (own, {"out_trade_no": NUMBER}),
        (replace(own, is_further=True), {"transaction_id": "420000"}),
        (replace(REFUND, is_further=True), {"out_trade_no": NUMBER}),
    ):
        order = json.loads(built(channel, ask).body)
        assert {name: order.get(name) for name in named} == named
        assert ("out_trade_no" in order) != ("transaction_id" in order)


def test_the_payer_is_shown_what_his_place_needs(channel: WechatChannel) -> None:
    shown = channel.read(ASK, answer(200, {"code_url": "weixin://wxpay/1"})).next_action
    assert shown is not None
    assert (shown.type, shown.qr) == ("qr", "weixin://wxpay/1")
    h5 = replace(
        ASK, method={"type": "wechat", "flow": "h5"}, return_url="https://shop.example/a?b"
    )
    shown = channel.read(h5, answer(200, {"h5_url": "https://wx.example/p?id=1"})).next_action
    assert shown is not None
    assert shown.url == (
        "https://wx.example/p?id=1&redirect_url=https%3A%2F%2Fshop.example%2Fa%3Fb"
    )
    jsapi = replace(ASK, method={"type": "wechat", "flow": "jsapi", "openid": "o1"})
    shown = channel.read(jsapi, answer(200, {"prepay_id": "wx2611"})).next_action
    assert shown is not None
    assert shown.fields is not None
    said = shown.fields
    lines = (said["appId"], said["timeStamp"], said["nonceStr"], "prepay_id=wx2611")
    assert said["paySign"] == peer.rsa_sign(fake.OURS, "\n".join(lines) + "\n")


STATES = [
    ("SUCCESS", Verdict.SUCCEEDED),
    ("REFUND", Verdict.SUCCEEDED),
    ("NOTPAY", Verdict.PENDING),
    ("USERPAYING", Verdict.PENDING),
    ("CLOSED", Verdict.CLOSED),
    ("REVOKED", Verdict.CLOSED),
    ("PAYERROR", Verdict.FAILED),
    ("ACCEPTED_SOMEHOW", Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("state", "verdict"), STATES)
def test_a_query_tells_how_the_order_stands(
    channel: WechatChannel, state: str, verdict: Verdict
) -> None:
    outcome = channel.read(asked(Verb.QUERY), answer(200, told(trade_state=state)))
    assert (outcome.verdict, outcome.code) == (verdict, state)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"out_trade_no": "0" * 32}, "number_mismatch"),
        ({"mchid": "1900000001"}, "account_mismatch"),
        ({"appid": "wx0000000000000000"}, "account_mismatch"),
        ({"amount": None}, "incomplete"),
        ({"transaction_id": None}, "incomplete"),
    ],
)
def test_a_success_that_does_not_fit_proves_nothing(
    channel: WechatChannel, change: dict[str, Any], code: str
) -> None:
    outcome = channel.read(asked(Verb.QUERY), answer(200, told(**change)))
    assert outcome == Outcome(code=code, conflict=code == "number_mismatch")


REFUSALS = [
    (Verb.CREATE, "PARAM_ERROR", Verdict.FAILED),
    (Verb.CREATE, "NO_AUTH", Verdict.FAILED),
    (Verb.CREATE, "OUT_TRADE_NO_USED", Verdict.UNKNOWN),
    (Verb.CREATE, "ORDERPAID", Verdict.UNKNOWN),
    (Verb.CREATE, "RULE_LIMIT", Verdict.UNKNOWN),
    (Verb.CREATE, "ORDER_CLOSED", Verdict.CLOSED),
    (Verb.QUERY, "PARAM_ERROR", Verdict.UNKNOWN),
    (Verb.QUERY, "ORDER_NOT_EXIST", Verdict.NOT_FOUND),
    (Verb.CLOSE, "ORDER_NOT_EXIST", Verdict.NOT_FOUND),
    (Verb.CLOSE, "ORDERPAID", Verdict.UNKNOWN),
    (Verb.CLOSE, "ORDER_CLOSED", Verdict.CLOSED),
    (Verb.REFUND, "NOT_ENOUGH", Verdict.PENDING),
    (Verb.REFUND, "INVALID_REQUEST", Verdict.FAILED),
    (Verb.REFUND, "RESOURCE_NOT_EXISTS", Verdict.UNKNOWN),
    (Verb.QUERY_REFUND, "RESOURCE_NOT_EXISTS", Verdict.NOT_FOUND),
    (Verb.QUERY_REFUND, "INVALID_REQUEST", Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("verb", "word", "verdict"), REFUSALS)
def test_a_refusal_proves_only_what_it_says(
    channel: WechatChannel, verb: Verb, word: str, verdict: Verdict
) -> None:
    outcome = channel.read(replace(REFUND, verb=verb), answer(403, {"code": word}))
    assert (outcome.verdict, outcome.code) == (verdict, word)
    assert (outcome.failure is not None) is (verdict is Verdict.FAILED)


def test_an_order_that_never_came_is_closed_only_once_it_could_not_come_any_more(
    channel: WechatChannel,
) -> None:
    close, none = asked(Verb.CLOSE), {"code": "ORDER_NOT_EXIST"}
    assert channel.read(close, answer(404, none)).verdict is Verdict.NOT_FOUND
    after = SECONDS + 301
    assert channel.read(close, answer(404, none, at=after)).verdict is Verdict.CLOSED
    assert channel.read(asked(Verb.QUERY), answer(404, none, at=after)).verdict is Verdict.NOT_FOUND


def test_what_is_not_signed_or_older_than_the_question_proves_nothing(
    channel: WechatChannel,
) -> None:
    query, whole = asked(Verb.QUERY), answer(200, told())
    changed = WireAnswer(200, whole.headers, whole.body.replace(b"1999", b"9999"))
    bare = WireAnswer(200, {}, whole.body)
    strange = WireAnswer(200, {**whole.headers, "wechatpay-serial": "OTHER"}, whole.body)
    for each in (changed, bare, strange):
        assert channel.read(query, each) == Outcome(code="unsigned")
    assert channel.read(query, answer(200, told(), at=SECONDS - 400)).code == "stale"


def test_refunds_are_told_with_their_own_amount(channel: WechatChannel) -> None:
    said = {
        "out_trade_no": NUMBER,
        "out_refund_no": "f" * 32,
        "refund_id": "50000001",
        "amount": {"total": 1999, "refund": 500, "currency": "CNY"},
    }
    states = [("SUCCESS", Verdict.SUCCEEDED), ("PROCESSING", Verdict.PENDING)]
    states += [("ABNORMAL", Verdict.PENDING), ("CLOSED", Verdict.CLOSED), ("NEW", Verdict.UNKNOWN)]
    for state, verdict in states:
        outcome = channel.read(REFUND, answer(200, said | {"status": state}))
        assert (outcome.verdict, outcome.amount, outcome.currency) == (verdict, 500, "CNY")
    other = channel.read(REFUND, answer(200, said | {"status": "SUCCESS", "out_refund_no": "0"}))
    assert other.code == "number_mismatch"


def notice(event: str, plain: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    message = {"id": "EV-1", "event_type": event, "resource": fake.sealed(plain)}
    body = json.dumps(message)
    headers = {name.lower(): value for name, value in fake.signed_headers(body).items()}
    return headers, body.encode()


def test_notices_are_opened_and_read(channel: WechatChannel) -> None:
    headers, body = notice("TRANSACTION.SUCCESS", told())
    read = channel.read_notice(headers, body, datetime.now(UTC))
    assert (read.notice_id, read.number, read.refund_number) == ("EV-1", NUMBER, None)
    assert (read.outcome.verdict, read.outcome.amount) == (Verdict.SUCCEEDED, 1999)
    refund = {
        "mchid": fake.MCHID,
        "out_trade_no": NUMBER,
        "out_refund_no": "f" * 32,
        "refund_id": "50000001",
        "refund_status": "ABNORMAL",
        "amount": {"total": 1999, "refund": 500, "payer_total": 1999, "payer_refund": 500},
    }
    headers, body = notice("REFUND.ABNORMAL", refund)
    read = channel.read_notice(headers, body, datetime.now(UTC))
    assert (read.refund_number, read.outcome.verdict) == ("f" * 32, Verdict.PENDING)
    assert (read.outcome.amount, read.outcome.currency) == (500, "CNY")


def test_a_notice_that_cannot_be_believed_is_refused(channel: WechatChannel) -> None:
    now = datetime.now(UTC)
    headers, body = notice("TRANSACTION.SUCCESS", told())
    test = headers | {"wechatpay-signature": "WECHATPAY/SIGNTEST/" + headers["wechatpay-signature"]}
    unopened = {"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": fake.sealed({})}
    unopened["resource"]["nonce"] = "another"
    text = json.dumps(unopened)
    wrong = {name.lower(): value for name, value in fake.signed_headers(text).items()}
    cases = [
        ("forged", test, body, now),
        ("forged", headers, body + b" ", now),
        ("stale", {}, body, now),
        ("stale", headers, body, now + timedelta(seconds=400)),
        ("stale", headers, body, now - timedelta(seconds=400)),
        ("unreadable", wrong, text.encode(), now),
        ("unknown_event", *notice("PAYSCORE.USER_PAID", {}), now),
    ]
    for reason, said, raw, at in cases:
        with pytest.raises(NoticeRefused, match=reason):
            channel.read_notice(said, raw, at)


def test_while_keys_are_rotated_old_and_new_ones_verify_and_open() -> None:
    old = fake.credential("https://pay.example")
    new = replace(old, apiv3_key="f" * 32, serial_no="AB" * 20)
    channel = WechatChannel([new, old], notify_url="https://us.example/notices/wechat")
    headers, body = notice("TRANSACTION.SUCCESS", told())
    assert channel.read_notice(headers, body, datetime.now(UTC)).number == NUMBER
    assert 'serial_no="' + "AB" * 20 in built(channel, ASK).headers["Authorization"]


def test_no_secret_is_shown_and_bad_keys_are_a_value_error() -> None:
    credential = fake.credential("https://pay.example")
    shown = repr(credential) + repr(WechatChannel([credential], notify_url="https://us.example"))
    assert fake.APIV3_KEY not in shown
    assert "PRIVATE" not in shown
    for change in ({"private_key": "x"}, {"platform_keys": {"A": "x"}}):
        with pytest.raises(ValueError, match="PEM"):
            WechatChannel([replace(credential, **change)], notify_url="https://us.example")


def test_a_refusal_says_what_the_merchant_may_do(channel: WechatChannel) -> None:
    failure = channel.read(ASK, answer(403, {"code": "ACCOUNT_ERROR"})).failure
    assert failure is not None
    assert (failure.advice, failure.channel_code) == (Advice.OTHER_METHOD, "ACCOUNT_ERROR")


def test_a_credential_that_is_refused_is_told_apart_from_what_a_merchant_did(
    channel: WechatChannel,
) -> None:
    refused = answer(401, {"code": "SIGN_ERROR"})
    created = channel.read(ASK, refused)
    assert (created.verdict, created.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)
    queried = channel.read(asked(Verb.QUERY), refused)
    assert (queried.verdict, queried.code) == (Verdict.UNKNOWN, CREDENTIAL_REFUSED)
