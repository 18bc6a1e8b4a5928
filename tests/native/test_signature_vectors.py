"""Reading signed requests against the examples of RFC 9421 and against our own vectors."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from twins import Implementation

from native.envelope import SignatureProblem

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "signatures.json").read_text())

# RFC 9421 appendix B.2, the test request; and the keys of appendix B.1.4 and B.1.5.
DIGEST = (
    b"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHW"
    b"XvJwew==:"
)
HEADERS = (
    (b"Host", b"example.com"),
    (b"Date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
    (b"Content-Type", b"application/json"),
    (b"Content-Digest", DIGEST),
    (b"Content-Length", b"18"),
)
BODY = b'{"hello": "world"}'
ED25519_KEY = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----
"""
SHARED_SECRET = base64.b64decode(
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
B_2_5 = (
    b'("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
    b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
)
B_2_6 = (
    (
        b'("date" "@method" "@path" "@authority" "content-type" "content-length")'
        b';created=1618884473;keyid="test-key-ed25519"'
    ),
    b"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
)


def base_of(implementation: Implementation, value: bytes) -> bytes:
    headers = (*HEADERS, (b"Signature-Input", b"sig=" + value))
    target, names = "/foo?param=Value&Pet=dog", frozenset({"example.com"})
    return implementation.signature.signature_base("POST", target, headers, "https", names)


def test_rfc_9421_b_2_5_hmac(implementation: Implementation) -> None:
    value, signature = B_2_5
    base = base_of(implementation, value)
    assert base.decode().splitlines() == [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@authority": example.com',
        '"content-type": application/json',
        '"@signature-params": ' + value.decode(),
    ]
    key = implementation.signature.HmacKey(SHARED_SECRET)
    assert base64.b64encode(key.sign(base)) == signature
    assert key.verify(base, base64.b64decode(signature))


def test_rfc_9421_b_2_6_ed25519(implementation: Implementation) -> None:
    value, signature = B_2_6
    base = base_of(implementation, value)
    assert base.decode().splitlines() == [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@method": POST',
        '"@path": /foo',
        '"@authority": example.com',
        '"content-type": application/json',
        '"content-length": 18',
        '"@signature-params": ' + value.decode(),
    ]
    key = load_pem_public_key(ED25519_KEY)
    key.verify(base64.b64decode(signature), base)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), base.replace(b"POST", b"GET"))


def test_the_rfc_s_own_request_covers_too_little_for_money(implementation: Implementation) -> None:
    value, signature = B_2_6
    headers = (
        *HEADERS,
        (b"Signature-Input", b"sig-b26=" + value),
        (b"Signature", b"sig-b26=:" + signature + b":"),
    )
    with pytest.raises(SignatureProblem, match="signature_incomplete"):
        implementation.signature.read(
            "POST",
            "/foo?param=Value&Pet=dog",
            headers,
            BODY,
            "https",
            frozenset({"example.com"}),
        )


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["title"])
def test_our_vectors(implementation: Implementation, case: dict[str, Any]) -> None:
    request = (
        case["method"],
        case["target"],
        tuple((name.encode(), value.encode()) for name, value in case["headers"]),
        case["body"].encode(),
        VECTORS["scheme"],
        frozenset(VECTORS["authorities"]),
    )
    if "refused" in case:
        with pytest.raises(SignatureProblem) as caught:
            implementation.signature.read(*request)
        assert caught.value.code == case["refused"]
        return
    envelope = implementation.signature.read(*request)
    assert envelope.base.decode().split("\n") == case["base"]
    assert (envelope.key_id, envelope.created) == (VECTORS["key_id"], VECTORS["created"])
    key = implementation.signature.HmacKey(base64.b64decode(VECTORS["secret"]))
    assert key.verify(envelope.base, envelope.signature)


def test_our_vectors_show_every_code() -> None:
    codes = {case.get("refused", "accepted") for case in VECTORS["cases"]}
    assert codes == {
        "accepted",
        "signature_missing",
        "signature_malformed",
        "signature_incomplete",
        "digest_mismatch",
    }
