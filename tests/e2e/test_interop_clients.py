"""Merchants' own clients at the running gateway: two packages of PyPI, and curl with openssl."""

import asyncio
import base64
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import http_message_signatures as package
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from http_message_signatures.aiohttp import SignatureMiddleware, SignatureMiddlewareMode
from requests_http_signature import HTTPSignatureAuth

from gateway import merchants
from tests.e2e.harness import Shop, System, order

ALGORITHMS = {
    "hmac-sha256": package.algorithms.HMAC_SHA256,
    "ed25519": package.algorithms.ED25519,
    "rsa-v1_5-sha256": package.algorithms.RSA_V1_5_SHA256,
}
PRIVATE = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa-v1_5-sha256": rsa.generate_private_key(65537, 2048),
}
COVERED = ("@method", "@authority", "@target-uri")


class Keyed:
    """A merchant with a key of this algorithm: its id, and what its client signs with."""

    def __init__(self, key_id: str, algorithm: str, secret: bytes) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self.secret = secret


@pytest.fixture(params=ALGORITHMS)
async def keyed(system: System, shop: Shop, request: pytest.FixtureRequest) -> Keyed:
    """Add a key of this algorithm to the shop, and wait until the gateway knows it."""
    algorithm: str = request.param
    private, pem = PRIVATE.get(algorithm), None
    if private is not None:
        public = private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    made = await asyncio.to_thread(
        merchants.rotate,
        system.settings,
        merchant=shop.merchant,
        key=merchants.KeyWish(algorithm, pem),
    )
    secret = pem_of(private) if private else base64.b64decode(made["secret"])
    key = Keyed(made["key_id"], algorithm, secret)
    async with asyncio.timeout(5):
        while await asyncio.to_thread(read_by_requests, shop, key) == 401:  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.02)
    return key


def pem_of(private: Any) -> bytes:
    pem: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def by_requests(key: Keyed, *more: str, **given: Any) -> HTTPSignatureAuth:
    return HTTPSignatureAuth(
        signature_algorithm=ALGORITHMS[key.algorithm],
        key=key.secret,
        key_id=key.key_id,
        covered_component_ids=(*COVERED, *more),
        **given,
    )


def read_by_requests(shop: Shop, key: Keyed) -> int:
    url = f"{shop.base_url}/v1/payments?limit=3"
    return requests.get(url, auth=by_requests(key), timeout=10).status_code


async def test_requests_http_signature(shop: Shop, keyed: Keyed) -> None:
    assert await asyncio.to_thread(read_by_requests, shop, keyed) == 200

    def paid(amount: int, auth: HTTPSignatureAuth) -> requests.Response:
        return requests.post(
            f"{shop.base_url}/v1/payments",
            json=order(amount=amount),
            headers={"Idempotency-Key": uuid.uuid4().hex},
            auth=auth,
            timeout=10,
        )

    whole = by_requests(keyed, "idempotency-key", "content-type", use_nonce=True)
    reply = await asyncio.to_thread(paid, 1999, whole)
    assert (reply.status_code, reply.json()["status"]) == (201, "succeeded"), reply.text
    less = await asyncio.to_thread(paid, 1999, by_requests(keyed))
    assert (less.status_code, less.json()["code"]) == (401, "signature_incomplete")


async def test_the_aiohttp_client_of_http_message_signatures(shop: Shop, keyed: Keyed) -> None:
    keys = package.MappingKeyResolver(private_keys={keyed.key_id: keyed.secret}, public_keys={})

    def signing(*more: str) -> SignatureMiddleware:
        return SignatureMiddleware(
            SignatureMiddlewareMode.SIGN_REQUEST,
            sign_options={
                "origin": shop.base_url,
                "signature_algorithm": ALGORITHMS[keyed.algorithm],
                "key_id": keyed.key_id,
                "key_resolver": keys,
                "covered_component_ids": (*COVERED, *more),
            },
        )

    async with (
        aiohttp.ClientSession(shop.base_url, **signing().session_kwargs) as session,
        session.get("/v1/payments", params={"limit": "3"}) as reply,
    ):
        assert (reply.status, (await reply.json())["data"]) == (200, [])
    writing = signing("idempotency-key").session_kwargs
    async with aiohttp.ClientSession(shop.base_url, **writing) as session:
        headers = {"Idempotency-Key": '"order-1"'}
        for replayed in (None, "true"):
            asked = order(reference="4711")
            async with session.post("/v1/payments", json=asked, headers=headers) as reply:
                assert (reply.status, (await reply.json())["reference"]) == (201, "4711")
                assert reply.headers.get("Idempotent-Replayed") == replayed


RECIPE = r"""
CD="sha-256=:$(printf %s "$BODY" | openssl dgst -sha256 -binary | openssl base64 -A):"
P="(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \"idempotency-key\")"
P="$P;created=$(date +%s);keyid=\"$KID\""
BASE=$(printf '"@method": POST\n"@authority": %s\n"@path": %s\n"@query": %s
"content-digest": %s\n"idempotency-key": "%s"\n"@signature-params": %s' \
"$HOST" "$PATH_" "?" "$CD" "$IK" "$P")
case $KIND in
hmac*) SIG=$(printf %s "$BASE" |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$HEX" -binary | openssl base64 -A) ;;
rsa*) SIG=$(printf %s "$BASE" | openssl dgst -sha256 -sign key.pem | openssl base64 -A) ;;
ed*) printf %s "$BASE" >b; SIG=$(openssl pkeyutl -sign -rawin -inkey key.pem -in b |
  openssl base64 -A) ;;
esac
curl -sS -H "Idempotency-Key: \"$IK\"" -H "Content-Digest: $CD" -H "Signature-Input: sig1=$P" \
  -H "Signature: sig1=:$SIG:" --data-binary "$BODY" -w '\n%{http_code}' "http://$HOST$PATH_"
"""


async def test_curl_and_openssl(shop: Shop, keyed: Keyed, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(keyed.secret)
    asked = order()
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", RECIPE),
        cwd=tmp_path,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "KIND": keyed.algorithm,
            "HEX": keyed.secret.hex(),
            "KID": keyed.key_id,
            "HOST": urlsplit(shop.base_url).netloc,
            "PATH_": "/v1/payments",
            "IK": "order-1",
            "BODY": json.dumps(asked),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    body, _, status = told.decode().rpartition("\n")
    assert (status, json.loads(body)["reference"]) == ("201", asked["reference"]), body
