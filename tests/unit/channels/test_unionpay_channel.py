"""UnionPay's words in ours: who is believed, what answers prove, which way the money goes back."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from msgspec.structs import replace

from gateway.channels.port import Ask, NoticeRefused, Verb
from gateway.channels.unionpay.channel import UnionpayChannel
from gateway.channels.unionpay.messages import Flow, pairs_of
from gateway.channels.unionpay.signing import signature_base
from gateway.domain.identity import mint, uuid_of
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest
from tests.fakes import unionpay_platform as fake

VECTOR = Path(__file__).parents[2] / "vectors" / "unionpay_notice.txt"


def number_at(at: datetime, kind: str = "att") -> str:
    return uuid_of(mint(kind, 7, int(at.timestamp() * 1000)))


NOW = datetime.now(UTC)
NUMBER, REFUND_NUMBER = number_at(NOW), number_at(NOW, "re")
APP = {"type": "unionpay", "flow": "app"}
ENDS = NOW + timedelta(minutes=5)
ASK = Ask(Verb.CREATE, NUMBER, 1999, "CNY", APP, expires_at=ENDS, asked_at=NOW)
REFUND = replace(
    ASK,
    verb=Verb.REFUND,
    amount=500,
    refund_number=REFUND_NUMBER,
    captured=1999,
    channel_transaction="951807261002324791038",
)
PAID = {
    "orderId": NUMBER,
    "respCode": "00",
    "origRespCode": "00",
    "queryId": "951807261002324791038",
    "txnAmt": "1999",
    "currencyCode": "156",
}


@pytest.fixture
def channel() -> UnionpayChannel:
    credential = fake.credential("https://pay.example")
    return UnionpayChannel([credential], notify_url="https://us.example/notices/unionpay")


def read(channel: UnionpayChannel, ask: Ask, **words: str) -> Outcome:
    return channel.read(ask, WireAnswer(200, {}, fake.answered(fake.said(**words))))


def asked(verb: Verb) -> Ask:
    return replace(REFUND if "REFUND" in verb.name else ASK, verb=verb)


def said_by(channel: UnionpayChannel, ask: Ask) -> dict[str, str]:
    request = channel.build(ask, NOW)
    assert isinstance(request, WireRequest)
    return dict(parse_qsl(request.body.decode()))


def openssl_accepts(folder: Path, public_pem: bytes, signature: str, base: bytes) -> bool:
    """Let openssl, which knows nothing of us, look at the signature."""
    (folder / "key").write_bytes(public_pem)
    (folder / "text").write_bytes(base)
    (folder / "base64").write_text(signature)
    command = "openssl base64 -d -A -in base64 -out raw && openssl dgst -sha256 -verify key"
    done = subprocess.run(f"{command} -signature raw text", shell=True, cwd=folder, check=False)
    return done.returncode == 0


def test_requests_are_signed_as_openssl_sees_it(channel: UnionpayChannel, tmp_path: Path) -> None:
    said = said_by(channel, ASK)
    pem = fake.OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert fake.is_ours(said)
    assert openssl_accepts(tmp_path, pem, said["signature"], fake.text_of(said))
    altered = said | {"txnAmt": "1"}
    assert not fake.is_ours(altered)
    assert not openssl_accepts(tmp_path, pem, said["signature"], fake.text_of(altered))


def test_a_notice_that_the_provider_recorded_is_signed_as_we_compute(tmp_path: Path) -> None:
    said = dict(parse_qsl(VECTOR.read_text().splitlines()[1]))
    theirs = load_pem_x509_certificate(said["signPubKeyCert"].encode()).public_key()
    pem = theirs.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert openssl_accepts(tmp_path, pem, said["signature"], signature_base(said))
    assert fake.text_of(said) == signature_base(said), "the rules as our counterpart has them"


def test_an_account_believes_as_long_as_one_of_its_authorities_is_valid() -> None:
    known = fake.certified("authority"), fake.certified("authority", days=-1)
    for trusted, days in ((known, 30), (known[1:], -1)):
        account = replace(fake.credential("https://pay.example"), trusted_certificates=trusted)
        until = account.believes_until()
        assert until is not None
        assert round((until - NOW) / timedelta(days=1)) == days


def test_an_order_carries_the_time_of_its_number(channel: UnionpayChannel) -> None:
    at = datetime(2026, 4, 30, 16, 0, 1, tzinfo=UTC)
    ask = replace(ASK, number=number_at(at), expires_at=at + timedelta(minutes=5))
    said = said_by(channel, ask)
    assert (said["txnTime"], said["payTimeout"]) == ("20260501000001", "20260501000501")
    assert (said["txnAmt"], said["currencyCode"], said["txnType"]) == ("1999", "156", "01")
    query = said_by(channel, replace(ask, verb=Verb.QUERY))
    assert (query["txnTime"], query["txnType"]) == ("20260501000001", "00")


def test_a_front_payment_is_a_form_that_we_sign_and_nobody_is_asked(
    channel: UnionpayChannel,
) -> None:
    method = {"type": "unionpay", "flow": "front"}
    outcome = channel.build(replace(ASK, method=method, return_url="https://shop.example"), NOW)
    assert isinstance(outcome, Outcome)
    assert outcome.next_action is not None
    assert outcome.next_action.url == "https://pay.example/gateway/api/frontTransReq.do"
    fields = outcome.next_action.fields
    assert fields is not None
    assert (fields["frontUrl"], fields["orderId"]) == ("https://shop.example", NUMBER)


@pytest.mark.parametrize("flow", [flow.value for flow in Flow])
def test_exactly_the_flows_that_it_declares_are_drawn(channel: UnionpayChannel, flow: str) -> None:
    drawn = channel.build(replace(ASK, method=APP | {"flow": flow}), NOW)
    assert isinstance(drawn, Outcome) == (flow in channel.capabilities.draws)


def test_an_app_is_shown_its_transaction_number(channel: UnionpayChannel) -> None:
    outcome = read(channel, ASK, orderId=NUMBER, respCode="00", tn="603001")
    assert outcome.verdict is Verdict.REQUIRES_ACTION
    assert outcome.next_action is not None
    assert outcome.next_action.fields == {"tn": "603001"}
    assert read(channel, ASK, orderId=NUMBER, respCode="00").verdict is Verdict.UNKNOWN
    assert read(channel, ASK, orderId=NUMBER, respCode="12").verdict is Verdict.UNKNOWN
    refused = read(channel, ASK, orderId=NUMBER, respCode="77")
    assert (refused.verdict, refused.code) == (Verdict.FAILED, "77")


LATER = ENDS + timedelta(minutes=2)
QUERIES = [
    # asked when, verb, respCode, origRespCode, what it proves
    (NOW, Verb.QUERY, "00", "00", Verdict.SUCCEEDED),
    (NOW, Verb.QUERY, "00", "A6", Verdict.SUCCEEDED),
    (NOW, Verb.QUERY, "00", "03", Verdict.PENDING),
    (NOW, Verb.QUERY, "00", "51", Verdict.PENDING),
    (LATER, Verb.QUERY, "00", "51", Verdict.PENDING),
    (NOW, Verb.QUERY, "34", "", Verdict.NOT_FOUND),
    (NOW, Verb.QUERY, "02", "", Verdict.UNKNOWN),
    (NOW, Verb.QUERY, "00", "", Verdict.UNKNOWN),
    (NOW, Verb.CLOSE, "00", "00", Verdict.SUCCEEDED),
    (NOW, Verb.CLOSE, "00", "51", Verdict.PENDING),
    (NOW, Verb.CLOSE, "34", "", Verdict.NOT_FOUND),
    (LATER, Verb.CLOSE, "00", "51", Verdict.CLOSED),
    (LATER, Verb.CLOSE, "00", "05", Verdict.PENDING),
    (LATER, Verb.CLOSE, "34", "", Verdict.CLOSED),
    (LATER, Verb.CLOSE, "02", "", Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("at", "verb", "word", "became", "verdict"), QUERIES)
def test_what_a_query_says_is_final_only_once_the_time_is_over(
    channel: UnionpayChannel, at: datetime, verb: Verb, word: str, became: str, verdict: Verdict
) -> None:
    ask = replace(ASK, verb=verb, asked_at=at)
    outcome = read(channel, ask, **PAID | {"respCode": word, "origRespCode": became})
    assert outcome.verdict is verdict
    if verdict is Verdict.SUCCEEDED:
        assert (outcome.amount, outcome.currency) == (1999, "CNY")
        assert outcome.channel_transaction == PAID["queryId"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"orderId": "0" * 32}, "number_mismatch"),
        ({"merId": "777290058110049"}, "number_mismatch"),
        ({"txnAmt": "19.99"}, "incomplete"),
        ({"txnAmt": ""}, "incomplete"),
    ],
)
def test_a_success_that_does_not_fit_proves_nothing(
    channel: UnionpayChannel, change: dict[str, str], code: str
) -> None:
    assert read(channel, asked(Verb.QUERY), **PAID | change) == Outcome(
        code=code, conflict=code == "number_mismatch"
    )


def test_another_currency_is_not_taken_for_ours(channel: UnionpayChannel) -> None:
    assert read(channel, asked(Verb.QUERY), **PAID | {"currencyCode": "840"}).currency != "CNY"


def test_only_a_certificate_in_unionpays_name_is_believed(channel: UnionpayChannel) -> None:
    query = asked(Verb.QUERY)
    stranger = generate_private_key(65537, 2048)
    name = f"041@Z2026@{fake.HOLDER}@00000001"
    for pem in (
        fake.certified("041@Z2026@Somebody@00000001"),
        fake.certified(fake.HOLDER),
        fake.certified(name, days=-1),
        fake.certified(name, by=stranger),
        "no certificate",
    ):
        answer = WireAnswer(200, {}, fake.answered(fake.said(pem, **PAID)))
        assert channel.read(query, answer) == Outcome(code="unsigned")
    changed = fake.said(**PAID) | {"txnAmt": "1"}
    answer = WireAnswer(200, {}, fake.answered(changed))
    assert channel.read(query, answer) == Outcome(code="unsigned")


def test_an_ampersand_in_braces_joins_nothing() -> None:
    assert pairs_of(b"a={x=1&y=2}&b=c==") == {"a": "{x=1&y=2}", "b": "c=="}
    for body in (b"", b"<html>", b"a=1&a=2", b"\xff=1"):
        with pytest.raises(ValueError, match=r"."):
            pairs_of(body)


@pytest.mark.parametrize(
    ("paid", "back", "amount", "way"),
    [
        ("2026-05-01T10:00", "2026-05-01T11:00", 1999, "31"),
        ("2026-05-01T10:00", "2026-05-01T11:00", 500, "04"),
        ("2026-05-01T14:59", "2026-05-01T15:00", 1999, "04"),  # 22:59 and 23:00 in Beijing
        ("2026-05-01T15:00", "2026-05-02T14:59", 1999, "31"),
        ("2026-05-01T10:00", "2026-05-02T10:00", 1999, "04"),
    ],
)
def test_the_whole_goes_back_by_a_void_on_its_own_clearing_day(
    channel: UnionpayChannel, paid: str, back: str, amount: int, way: str
) -> None:
    moments = [datetime.fromisoformat(f"{text}+00:00") for text in (paid, back)]
    number, refund_number = map(number_at, moments)
    ask = replace(REFUND, number=number, refund_number=refund_number, amount=amount)
    said = said_by(channel, ask)
    assert (said["txnType"], said["txnAmt"], said["orderId"]) == (way, str(amount), refund_number)
    assert said["origQryId"] == REFUND.channel_transaction


def test_a_refund_is_taken_first_and_done_when_a_query_says_so(channel: UnionpayChannel) -> None:
    named = {"orderId": REFUND_NUMBER}
    assert read(channel, REFUND, **named, respCode="00").verdict is Verdict.PENDING
    assert read(channel, REFUND, **named, respCode="05").verdict is Verdict.UNKNOWN
    assert read(channel, REFUND, **named, respCode="77").verdict is Verdict.FAILED
    query = asked(Verb.QUERY_REFUND)
    told = PAID | named | {"txnAmt": "500"}
    done = read(channel, query, **told)
    assert (done.verdict, done.amount) == (Verdict.SUCCEEDED, 500)
    assert read(channel, query, **told | {"origRespCode": "04"}).verdict is Verdict.PENDING
    assert read(channel, query, **told | {"origRespCode": "77"}).verdict is Verdict.FAILED
    assert read(channel, query, **told | {"respCode": "34"}).verdict is Verdict.NOT_FOUND


def test_notices_are_believed_and_read(channel: UnionpayChannel) -> None:
    told = dict(PAID, txnType="01")
    notice = channel.read_notice({}, fake.noticed(fake.said(**told)), NOW)
    assert (notice.number, notice.refund_number) == (NUMBER, None)
    assert (notice.outcome.verdict, notice.outcome.amount) == (Verdict.SUCCEEDED, 1999)
    back = told | {"txnType": "04", "orderId": REFUND_NUMBER, "reqReserved": NUMBER}
    notice = channel.read_notice({}, fake.noticed(fake.said(**back)), NOW)
    assert (notice.number, notice.refund_number) == (NUMBER, REFUND_NUMBER)
    assert notice.outcome.verdict is Verdict.SUCCEEDED


def test_a_notice_that_cannot_be_believed_is_refused(channel: UnionpayChannel) -> None:
    told = dict(PAID, txnType="01")
    cases = [
        ("forged", fake.noticed(fake.said(**told) | {"txnAmt": "1"})),
        ("forged", b"a=b"),
        ("unreadable", b"\xff"),
        ("foreign", fake.noticed(fake.said(**told, merId="777290058110049"))),
    ]
    for reason, body in cases:
        with pytest.raises(NoticeRefused, match=reason):
            channel.read_notice({}, body, NOW)


def test_no_secret_is_shown_and_bad_keys_are_a_value_error() -> None:
    credential = fake.credential("https://pay.example")
    shown = repr(credential) + repr(UnionpayChannel([credential], notify_url="https://us.example"))
    assert "PRIVATE" not in shown
    for change in ({"private_key": "x"}, {"trusted_certificates": ("x",)}):
        with pytest.raises(ValueError, match="PEM"):
            UnionpayChannel([replace(credential, **change)], notify_url="https://us.example")
