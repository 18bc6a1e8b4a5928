"""Whose words are these: section 2 of the contract, from the outside and to the letter."""

import asyncio
import base64
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway import merchants
from gateway.signing import Credentials
from gateway.verify.ports import Terms
from tests.e2e.harness import Reply, Shop, System, order
from tests.e2e.wire import asked, must_cover, seconds_now, sent, signed
from tests.native.signing_client import Request, base, digest, parameters

Sign = Callable[[Shop], Request]


def creating(shop: Shop) -> Request:
    return asked(shop, "POST", "/v1/payments", order())


def listing(shop: Shop) -> Request:
    return asked(shop, "GET", "/v1/payments?limit=2")


def reading(shop: Shop) -> Request:
    return asked(shop, "GET", "/v1/ledger/accounts")


def refused(reply: Reply, code: str) -> None:
    """Check that this is the refusal, written as the contract writes refusals."""
    problem = reply.json
    assert (reply.status, problem["code"]) == (401, code), problem
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == 401
    assert problem["request_id"] == reply.headers["Request-Id"]
    assert {"type", "title", "detail", "retry"} <= problem.keys()


def ordered(shop: Shop, *names: str) -> str:
    """Write parameters in this order."""
    words = {
        "created": f";created={seconds_now()}",
        "expires": f";expires={seconds_now() + 60}",
        "keyid": f';keyid="{shop.credentials.key_id}"',
        "nonce": ';nonce="once"',
        "alg": ';alg="hmac-sha256"',
        "tag": ';tag="shop"',
    }
    return "".join(words[name] for name in names)


ACCEPTED: dict[str, Sign] = {
    "the plain form": lambda s: signed(s, creating(s)),
    "a query": lambda s: signed(s, listing(s)),
    "@target-uri for path and query": lambda s: signed(s, listing(s), ["@method", "@target-uri"]),
    "@target-uri for a path": lambda s: signed(
        s, creating(s), ["@target-uri", "@method", "idempotency-key", "content-digest"]
    ),
    "@authority": lambda s: signed(s, reading(s), ["@method", "@authority", "@path"]),
    "another loopback name": lambda s: signed(
        s,
        reading(s).having("Host", reading(s).value("host").replace("127.0.0.1", "LocalHost")),
        ["@method", "@authority", "@path"],
    ),
    "@query of a target without one": lambda s: signed(
        s, reading(s), ["@method", "@path", "@query"]
    ),
    "date and content-type": lambda s: signed(
        s,
        creating(s).adding("Date", "Sun, 22 Nov 2026 10:00:00 GMT"),
        [*must_cover(creating(s)), "date", "content-type"],
    ),
    "a header sent twice": lambda s: signed(
        s,
        reading(s).adding("X-Trace", "a").adding("X-Trace", " b "),
        ["@method", "@path", "x-trace"],
    ),
    "every order of components": lambda s: signed(s, creating(s), must_cover(creating(s))[::-1]),
    "the label pyhms": lambda s: signed(s, creating(s), label="pyhms"),
    "the label *a-b_c.d": lambda s: signed(s, creating(s), label="*a-b_c.d"),
    "keyid before created": lambda s: signed(s, reading(s), text=ordered(s, "keyid", "created")),
    "every parameter, shuffled": lambda s: signed(
        s, reading(s), text=ordered(s, "tag", "alg", "expires", "keyid", "nonce", "created")
    ),
    "a clock four minutes slow": lambda s: signed(s, reading(s), created=seconds_now() - 240),
    "a clock four minutes fast": lambda s: signed(s, reading(s), created=seconds_now() + 240),
    "sha-512 beside sha-256": lambda s: signed(
        s,
        (r := creating(s)).having(
            "Content-Digest",
            f"sha-512=:{digest(r.body, 'sha512')}:, sha-256=:{digest(r.body)}:",
        ),
    ),
}


@pytest.mark.parametrize("write", ACCEPTED.values(), ids=ACCEPTED)
async def test_accepted(shop: Shop, write: Sign) -> None:
    request = write(shop)
    reply = await sent(shop, request)
    assert reply.status == (201 if request.method == "POST" else 200), reply.body


def without_signature(shop: Shop) -> Request:
    return signed(shop, reading(shop)).without("Signature")


def without_input(shop: Shop) -> Request:
    return signed(shop, reading(shop)).without("Signature-Input")


MISSING: dict[str, Sign] = {
    "nothing at all": reading,
    "no Signature": without_signature,
    "no Signature-Input": without_input,
}


def after_signing(name: str, change: Callable[[str], str]) -> Sign:
    """Change a header of a request that was signed well."""

    def write(shop: Shop) -> Request:
        request = signed(shop, creating(shop))
        return request.having(name, change(request.value(name.lower())))

    return write


def doubled(name: str) -> Sign:
    """Send one of the four headers twice."""

    def write(shop: Shop) -> Request:
        request = signed(shop, creating(shop))
        return request.adding(name, request.value(name.lower()))

    return write


def parameter(text: str) -> Sign:
    return lambda shop: signed(shop, reading(shop), text=ordered(shop, "created", "keyid") + text)


def spare_bits(value: str) -> str:
    """Set a bit that a strict decoder wants to be zero: the last character before the padding."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = value[-3]
    return value[:-3] + alphabet[alphabet.index(last) | 1] + value[-2:]


MALFORMED: dict[str, Sign] = {
    **{f"{name} twice": doubled(name) for name in ("Signature", "Signature-Input")},
    "Content-Digest twice": doubled("Content-Digest"),
    "Idempotency-Key twice": doubled("Idempotency-Key"),
    "two members": after_signing("Signature-Input", lambda v: f"{v}, b{v}"),
    "two signatures": after_signing("Signature", lambda v: f"{v}, b{v}"),
    "another label": after_signing("Signature", lambda v: f"b{v}"),
    "a component with ;sf": after_signing(
        "Signature-Input", lambda v: v.replace('"idempotency-key"', '"idempotency-key";sf')
    ),
    "a component with ;req": after_signing(
        "Signature-Input", lambda v: v.replace('"@method"', '"@method";req')
    ),
    "a component twice": lambda s: signed(s, reading(s), ["@method", "@path", "@path"]),
    "a component that is not there": lambda s: signed(
        s, reading(s).adding("X-Gone", "1"), ["@method", "@path", "x-gone"]
    ).without("X-Gone"),
    "a signature without padding": after_signing("Signature", lambda v: v.replace("=:", ":")),
    "a signature of spare bits": after_signing("Signature", spare_bits),
    "a signature of nothing": after_signing("Signature", lambda _: "sig1=::"),
    "no created": lambda s: signed(s, reading(s), created=None),
    "no keyid": lambda s: signed(s, reading(s), keyid=None),
    "created as a string": lambda s: signed(s, reading(s), created=str(seconds_now())),
    "an unknown parameter": parameter(";mood=1"),
    "a parameter twice": parameter(";created=1"),
    "a nonce of 65 characters": parameter(f';nonce="{"n" * 65}"'),
    "a name that is not ours": lambda s: signed(
        s, reading(s).having("Host", "shop.example"), ["@method", "@authority", "@path"]
    ),
    "a forwarded name": lambda s: signed(
        s,
        reading(s)
        .having("Host", "shop.example")
        .adding("X-Forwarded-Host", reading(s).value("host")),
        ["@method", "@target-uri"],
    ),
}


INCOMPLETE: dict[str, Sign] = {
    name: lambda s, name=name: signed(
        s,
        asked(s, "POST", "/v1/payments?a=1", order()),
        [
            covered
            for covered in ("@method", "@path", "@query", "content-digest", "idempotency-key")
            if covered != name
        ],
    )
    for name in ("@method", "@path", "@query", "content-digest", "idempotency-key")
} | {"nothing": lambda s: signed(s, reading(s), [])}

EXPIRED: dict[str, Sign] = {
    "created six minutes ago": lambda s: signed(s, reading(s), created=seconds_now() - 360),
    "created in six minutes": lambda s: signed(s, reading(s), created=seconds_now() + 360),
    "expired": lambda s: signed(s, reading(s), expires=seconds_now() - 1),
}


def tampered(request: Request, **changes: str) -> Request:
    return request._replace(**changes)


def other_secret(shop: Shop) -> Request:
    secret = base64.b64encode(b"nobody's secret, 32 bytes long..").decode()
    thief = Shop(shop.base_url, shop.merchant, Credentials(shop.credentials.key_id, secret), None)
    return signed(thief, reading(thief))


def other_body(shop: Shop) -> Request:
    request = signed(shop, creating(shop))
    body = request.body.replace(b"1999", b"9991")
    return request._replace(body=body).having("Content-Digest", f"sha-256=:{digest(body)}:")


MISMATCH: dict[str, Sign] = {
    "another path": lambda s: tampered(signed(s, reading(s)), target="/v1/ledger/entries"),
    "another query": lambda s: tampered(signed(s, listing(s)), target="/v1/payments?limit=3"),
    "a query added behind @target-uri": lambda s: tampered(
        signed(s, reading(s), ["@method", "@target-uri"]), target="/v1/ledger/accounts?limit=3"
    ),
    "another method": lambda s: tampered(signed(s, reading(s)), method="PUT"),
    "another amount under its own digest": other_body,
    "another idempotency key": after_signing("Idempotency-Key", lambda _: '"mine"'),
    "another time": after_signing(
        "Signature-Input", lambda v: re.sub(r"created=\d+", f"created={seconds_now() + 9}", v)
    ),
    "another secret": other_secret,
    "another algorithm": parameter(';alg="ed25519"'),
    "an algorithm that nobody knows": parameter(';alg="none"'),
}

DIGEST: dict[str, Sign] = {
    "another body": lambda s: tampered(r := signed(s, creating(s)), body=r.body[::-1]),
    "sha-512 alone": lambda s: signed(
        s,
        (r := creating(s)).having("Content-Digest", f"sha-512=:{digest(r.body, 'sha512')}:"),
    ),
    "base64 without padding": lambda s: signed(
        s, (r := creating(s)).having("Content-Digest", f"sha-256=:{digest(r.body)[:-1]}:")
    ),
}

UNKNOWN: dict[str, Sign] = {
    "a stranger": lambda s: signed(s, reading(s), keyid=f"key_{uuid.uuid4().hex}"),
    "no id at all": lambda s: signed(s, reading(s), keyid="' OR 1=1"),
}

REFUSALS = {
    "signature_missing": MISSING,
    "signature_malformed": MALFORMED,
    "signature_incomplete": INCOMPLETE,
    "signature_mismatch": MISMATCH,
    "digest_mismatch": DIGEST,
    "key_unknown": UNKNOWN,
}


@pytest.mark.parametrize(
    ("code", "write"),
    [
        pytest.param(code, write, id=f"{code}: {name}")
        for code, table in REFUSALS.items()
        for name, write in table.items()
    ],
)
async def test_refused(shop: Shop, code: str, write: Sign) -> None:
    refused(await sent(shop, write(shop)), code)


@pytest.mark.parametrize("write", EXPIRED.values(), ids=EXPIRED)
async def test_a_clock_that_is_wrong_is_told_ours(shop: Shop, write: Sign) -> None:
    reply = await sent(shop, write(shop))
    refused(reply, "signature_expired")
    told = datetime.fromisoformat(reply.json["server_time"])
    assert reply.json["server_time"].endswith("Z")
    assert abs(told.timestamp() - seconds_now()) < timedelta(minutes=1).total_seconds()


async def test_a_refused_request_begins_nothing(shop: Shop) -> None:
    request = other_body(shop)
    refused(await sent(shop, request), "signature_mismatch")
    assert (await shop.call("GET", "/v1/payments")).json["data"] == []
    assert (await shop.call("GET", "/v1/events")).json["data"] == []


async def test_a_captured_request_sent_again_gets_the_stored_answer(shop: Shop) -> None:
    request = signed(shop, creating(shop))
    first, second = await sent(shop, request), await sent(shop, request)
    assert (second.status, second.body) == (first.status, first.body)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len((await shop.call("GET", "/v1/payments")).json["data"]) == 1


async def test_a_new_key_works_beside_the_old_one_until_that_is_revoked(
    system: System, shop: Shop
) -> None:
    made = await asyncio.to_thread(
        merchants.rotate,
        system.settings,
        merchant=shop.merchant,
        key=merchants.KeyWish("hmac-sha256", None),
    )
    new = Credentials(made["key_id"], made["secret"])
    renewed = Shop(shop.base_url, shop.merchant, new, shop.session)
    await answers(renewed, 200)
    assert (await shop.call("GET", "/v1/payments")).status == 200
    await asyncio.to_thread(merchants.revoke, system.settings, key_id=shop.credentials.key_id)
    await answers(shop, 401)
    refused(await shop.call("GET", "/v1/payments"), "key_unknown")
    assert (await renewed.pay()).status == 201


async def answers(shop: Shop, status: int) -> None:
    """Wait the five seconds of the contract, and no longer, for this answer."""
    async with asyncio.timeout(5):
        while (await shop.call("GET", "/v1/payments")).status != status:  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.02)


PRIVATE = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa-v1_5-sha256": rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_a_merchant_with_a_key_pair(system: System, shop: Shop, algorithm: str) -> None:
    private = PRIVATE[algorithm]
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    made = await asyncio.to_thread(
        merchants.add,
        system.settings,
        name=algorithm,
        key=merchants.KeyWish(algorithm, pem.decode()),
        terms=Terms(),
    )
    assert made["secret"] is None

    def with_private_key(request: Request, **given: str) -> Request:
        names = " ".join(f'"{name}"' for name in must_cover(request))
        text = f"({names}){parameters(created=seconds_now(), keyid=made['key_id'], **given)}"
        words = base(request, text)
        scheme = (padding.PKCS1v15(), hashes.SHA256()) if "rsa" in algorithm else ()
        signature = base64.b64encode(private.sign(words, *scheme)).decode()
        return request.adding("Signature-Input", f"s={text}").adding(
            "Signature", f"s=:{signature}:"
        )

    async with asyncio.timeout(5):
        while (await sent(shop, with_private_key(listing(shop)))).status == 401:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await sent(shop, with_private_key(creating(shop), alg=algorithm))).status == 201
    other = with_private_key(creating(shop), alg="hmac-sha256")
    refused(await sent(shop, other), "signature_mismatch")
    forged = with_private_key(listing(shop))._replace(target="/v1/payments?limit=3")
    refused(await sent(shop, forged), "signature_mismatch")
