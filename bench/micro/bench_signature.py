"""Times one whole HMAC verification, reading and key, of a payment with 11 fields and 300 bytes."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import http_message_signatures as peer
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from native import _signature_c, _signature_py

SECRET = bytes(range(32))
KEY_ID = "key_019a5c3e8f7b7c1d9e2f0a1b2c3d4e5f"
AUTHORITIES = frozenset({"api.floodgate.test"})
COVERED = ("@method", "@authority", "@path", "@query", "content-digest", "idempotency-key")
PAYMENT = {
    "amount": 1299,
    "currency": "EUR",
    "reference": "order-2026-000123",
    "method": {"type": "card", "token": "tok_ok"},
    "capture": "automatic",
    "description": "Two tickets for the late show, row seven",
    "payer": {"id": "customer-91823", "ip": "203.0.113.7"},
    "metadata": {"cart": "c-55120931", "campaign": "black-friday"},
}
BODY = json.dumps(PAYMENT, separators=(",", ":")).encode()

Headers = tuple[tuple[bytes, bytes], ...]


def signed() -> Headers:
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    covered = " ".join(f'"{name}"' for name in COVERED)
    given = f'({covered});created={int(time.time())};keyid="{KEY_ID}";alg="hmac-sha256"'
    headers = {
        "Host": "api.floodgate.test",
        "User-Agent": "merchant-client/1.4",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Connection": "keep-alive",
        "Content-Type": "application/json",
        "Content-Length": str(len(BODY)),
        "Idempotency-Key": '"0b6f7f0e-7a52-4d3c-9c1b-2f6f6d9f1c11"',
        "Content-Digest": f"sha-256=:{digest}:",
        "Signature-Input": f"sig1={given}",
    }
    base = (
        f'"@method": POST\n"@authority": {headers["Host"]}\n"@path": /v1/payments\n"@query": ?\n'
        f'"content-digest": {headers["Content-Digest"]}\n'
        f'"idempotency-key": {headers["Idempotency-Key"]}\n"@signature-params": {given}'
    )
    signature = base64.b64encode(hmac.digest(SECRET, base.encode(), "sha256")).decode()
    headers["Signature"] = f"sig1=:{signature}:"
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def ours(module: ModuleType) -> Callable[[Headers, bytes], bool]:
    key = module.HmacKey(SECRET)

    def verify(headers: Headers, body: bytes) -> bool:
        try:
            envelope = module.read("POST", "/v1/payments", headers, body, "https", AUTHORITIES)
        except module.SignatureProblem:
            return False
        return bool(key.verify(envelope.base, envelope.signature))

    return verify


def theirs() -> Callable[[Headers, bytes], bool]:
    keys = peer.MappingKeyResolver(public_keys={KEY_ID: SECRET}, private_keys={})
    verifier = peer.HTTPMessageVerifier(
        signature_algorithm=peer.algorithms.HMAC_SHA256, key_resolver=keys
    )

    def verify(headers: Headers, body: bytes) -> bool:
        message = SimpleNamespace(
            method="POST",
            url="https://api.floodgate.test/v1/payments",
            headers={name.decode(): value.decode() for name, value in headers},
        )
        try:
            verifier.verify(message, require_components=COVERED, body=body)
        except peer.HTTPMessageSignaturesException:
            return False
        return True

    return verify


RIVALS = {
    "compiled": lambda: ours(_signature_c),
    "pure": lambda: ours(_signature_py),
    "http-message-signatures": theirs,
}


@pytest.mark.benchmark(group="verify one signed payment")
@pytest.mark.parametrize("rival", RIVALS)
def test_verify(benchmark: BenchmarkFixture, rival: str) -> None:
    verify, headers = RIVALS[rival](), signed()
    assert len(headers) == 11
    assert 290 <= len(BODY) <= 330
    assert verify(headers, BODY)
    assert not verify(headers, BODY.replace(b"1299", b"1298"))
    assert not verify((*headers[:-1], (b"Signature", b"sig1=:" + b"A" * 43 + b"=:")), BODY)
    if rival == "compiled":
        benchmark.extra_info["step"] = "verify"
    assert benchmark(verify, headers, BODY)
