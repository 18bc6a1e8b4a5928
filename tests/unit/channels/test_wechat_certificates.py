"""WeChat Pay's own certificates: what is believed of what it tells, and until when."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from msgspec.structs import replace

from gateway.channels.port import KeysRefused, TellsKeys
from gateway.channels.wechat.channel import WechatChannel
from gateway.domain.wire import WireAnswer
from tests.fakes import wechat_pay as fake
from tests.fakes.wechat_pay import Certificate, certificate

NOW = datetime.now(UTC)
YEARS = timedelta(days=5 * 365)
OLD = certificate(0xA1, begins=NOW - YEARS + timedelta(days=30))
NEW = certificate(0xB2, begins=NOW - timedelta(days=1), key=fake.OURS)
ENDED = certificate(0xC3, begins=NOW - YEARS)
ELLIPTIC = certificate(0xD4, begins=NOW, key=generate_private_key(SECP256R1()))
LIAR = NEW._replace(serial_no="A1")
BY_CERTIFICATE = replace(fake.credential("https://pay.example"), platform_keys={})


def channel_of(**platform_keys: str) -> WechatChannel:
    credential = replace(BY_CERTIFICATE, platform_keys=platform_keys)
    return WechatChannel([credential], "https://us.example/notices/wechat")


def answer(
    *told: Any, by: Certificate = OLD, at: datetime = NOW, status: int = 200, body: str = ""
) -> WireAnswer:
    body = body or json.dumps({"data": told})
    headers = fake.signed_headers(body, at=int(at.timestamp()), by=by)
    return WireAnswer(status, {n.lower(): v for n, v in headers.items()}, body.encode())


def test_the_first_ones_are_believed_by_what_is_inside_and_later_ones_by_what_is_known() -> None:
    assert isinstance(channel_of(), TellsKeys)
    told = channel_of().read_keys(answer(OLD.told(), NEW.told(), ENDED.told()), NOW)
    assert told == {"A1": OLD.pem, "B2": NEW.pem}, "what has ended is left out"
    later = channel_of(A1=OLD.pem).read_keys(answer(NEW.told(), by=OLD), NOW)
    assert later == {"B2": NEW.pem}


LIES = {
    "signed by nobody that is known": (answer(NEW.told(), by=OLD), "forged"),
    "signed by another than it names": (
        answer(OLD.told(), by=NEW._replace(serial_no="A1")),
        "forged",
    ),
    "said an hour ago": (answer(OLD.told(), at=NOW - timedelta(hours=1)), "stale"),
    "sealed with another key": (answer(OLD.told("f" * 32)), "unreadable"),
    "another serial number": (answer(OLD.told() | {"serial_no": "A2"}), "serial number"),
    "no serial number": (answer(OLD.told() | {"serial_no": "x"}), "unreadable"),
    "no certificate inside": (
        answer({"serial_no": "A1", "encrypt_certificate": fake.sealed("PEM?")}),
        "unreadable",
    ),
    "a key of another kind": (answer(ELLIPTIC.told()), "unreadable"),
    "nothing that is valid": (answer(ENDED.told()), "no certificate"),
    "nothing": (answer(body='{"data": []}'), "no certificate"),
    "no JSON": (answer(body="<html>"), "unreadable"),
    "a refusal": (answer(OLD.told(), status=401), "status 401"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_believed(lie: str) -> None:
    said, why = LIES[lie]
    with pytest.raises(KeysRefused, match=why):
        channel_of().read_keys(said, NOW)


def test_an_account_with_the_public_key_asks_for_nothing() -> None:
    agreed = channel_of(**{fake.PLATFORM_NAME: fake.pem_of_theirs(), "A1": OLD.pem})
    assert agreed.ask_for_keys(NOW) is None
    request = channel_of(A1=OLD.pem).ask_for_keys(NOW)
    assert request is not None
    assert (request.method, request.path, request.body) == ("GET", "/v3/certificates", b"")
    assert "Wechatpay-Serial" not in request.headers


def test_until_when_answers_can_be_believed() -> None:
    def until(**keys: str) -> datetime | None:
        return replace(BY_CERTIFICATE, platform_keys=keys).believes_until()

    assert (until() or NOW) < NOW
    assert until(A1=OLD.pem, C3=ENDED.pem) == (NOW + timedelta(days=30)).replace(microsecond=0)
    assert until(A1=OLD.pem, PUB_KEY_ID_1=fake.pem_of_theirs()) is None
    taught = BY_CERTIFICATE.with_keys({"B2": NEW.pem})
    assert taught.platform_keys == {"B2": NEW.pem}
    assert "BEGIN" not in repr(taught)
