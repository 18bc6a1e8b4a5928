"""Reading signed requests beside the packages that merchants use: nobody here wrote those."""

import re
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import http_message_signatures as peer
import pytest
import requests
from http_message_signatures.structures import CaseInsensitiveDict
from request_mutator import Mutator
from requests_http_signature import HTTPSignatureAuth
from signing_client import AUTHORITIES, KEY_ID, SECRET, Request, payment
from twins import Implementation

from native import _signature_c, _signature_py
from native.envelope import SignatureProblem

WINDOW = timedelta(seconds=300)
ROUNDS = 4000


class Verifier(peer.HTTPMessageVerifier):
    max_clock_skew = WINDOW


class Headers:
    """Every field line in order, as the package wants them."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._lines = lines

    def items(self) -> list[tuple[str, str]]:
        return self._lines


KEYS = peer.MappingKeyResolver(public_keys={KEY_ID: SECRET}, private_keys={KEY_ID: SECRET})
VERIFIER = Verifier(signature_algorithm=peer.algorithms.HMAC_SHA256, key_resolver=KEYS)


def peer_accepts(request: Request) -> bool:
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    host = next((value for name, value in lines if name.lower() == "host"), "").strip(" \t")
    # The package wants a URL even where the signature does not cover the host.
    host = host if re.fullmatch(r"[A-Za-z0-9.]+(:[0-9]*)?", host) else "nobody"
    message = SimpleNamespace(
        method=request.method,
        url=f"{request.scheme}://{host}{request.target}",
        headers=Headers(lines),
    )
    try:
        VERIFIER.verify(message, max_age=timedelta(0), body=request.body)
    except peer.HTTPMessageSignaturesException:
        return False
    return True


def we_accept(module: ModuleType, request: Request, now: float) -> bool:
    """Read, then check clock and key as the verify step does."""
    try:
        envelope = module.read(*request)
    except SignatureProblem:
        return False
    return (
        envelope.key_id == KEY_ID
        and envelope.algorithm in {None, "hmac-sha256"}
        and abs(envelope.created - now) <= WINDOW.total_seconds()
        and (envelope.expires is None or now < envelope.expires)
        and module.HmacKey(SECRET).verify(envelope.base, envelope.signature)
    )


def test_we_never_accept_what_the_package_refuses() -> None:
    now = int(time.time())
    mutator = Mutator(seed=9421, created=now)
    accepted = refused = 0
    for _ in range(ROUNDS):
        request = mutator.request()
        ours = we_accept(_signature_c, request, now)
        assert we_accept(_signature_py, request, now) == ours, request
        if ours:
            assert peer_accepts(request), request
        accepted += ours
        refused += not ours
    assert accepted > ROUNDS / 10, "the fuzz must not stray from what is right"
    assert refused > ROUNDS / 10, "nor stay with it"


@pytest.mark.parametrize(
    "covered",
    [
        ("@method", "@authority", "@target-uri", "idempotency-key"),
        ("@method", "@authority", "@path", "@query", "idempotency-key", "date"),
        ("idempotency-key", "@path", "@method"),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"nonce": "n", "tag": "floodgate", "include_alg": False}])
def test_requests_signed_by_http_message_signatures_are_accepted(
    implementation: Implementation, covered: Sequence[str], extra: dict[str, Any]
) -> None:
    request = payment().without("Content-Digest")
    headers = CaseInsensitiveDict(
        {name.decode(): value.decode() for name, value in request.headers}
    )
    message = SimpleNamespace(
        method="POST", url="http://127.0.0.1:8080/v1/payments", headers=headers
    )
    signer = peer.HTTPMessageSigner(
        signature_algorithm=peer.algorithms.HMAC_SHA256, key_resolver=KEYS
    )
    created = datetime.now(UTC)
    signer.sign(
        message,
        key_id=KEY_ID,
        created=created,
        expires=created + timedelta(seconds=60),
        covered_component_ids=covered,
        body=request.body,
        **extra,
    )
    lines = tuple((name.encode(), value.encode()) for name, value in headers.items())
    signed = request._replace(headers=lines)
    assert we_accept(implementation.signature, signed, created.timestamp())


@pytest.mark.parametrize("body", [b'{"amount": 1299}', b""])
@pytest.mark.parametrize("query", ["", "?after=3"])
def test_requests_signed_by_requests_http_signature_are_accepted(
    implementation: Implementation, body: bytes, query: str
) -> None:
    auth = HTTPSignatureAuth(
        signature_algorithm=peer.algorithms.HMAC_SHA256,
        key=SECRET,
        key_id=KEY_ID,
        use_nonce=True,
        covered_component_ids=("@method", "@authority", "@target-uri", "idempotency-key"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared = requests.Request(
            "POST",
            f"http://127.0.0.1:8080/v1/payments{query}",
            data=body,
            headers={"Idempotency-Key": "order-4711"},
            auth=auth,
        ).prepare()
    lines = [(b"Host", b"127.0.0.1:8080")]
    lines += [(name.encode(), str(value).encode()) for name, value in prepared.headers.items()]
    request = Request("POST", prepared.path_url, tuple(lines), body, "http", AUTHORITIES)
    assert b'"date": ' in implementation.signature.read(*request).base
    assert we_accept(implementation.signature, request, time.time())
