"""The naive gateway reads the same signed requests as ours, and refuses what was changed."""

import base64
from datetime import UTC, datetime

import pytest

from bench.peers.naive.signatures import SignatureWrong, verify
from gateway.signing import Credentials, Unsigned, sign

CREDENTIALS = Credentials("key_1", base64.b64encode(b"secret").decode())
KEYS = {"key_1": b"secret"}
BODY = b'{"amount":1}'


def signed() -> dict[str, str]:
    request = Unsigned("POST", "/v1/payments", BODY, "k-1")
    headers = sign(request, CREDENTIALS, datetime.now(UTC))
    return {name.lower(): value for name, value in headers.items()}


def test_it_verifies_what_our_client_signs() -> None:
    assert verify(("POST", "/v1/payments"), signed(), BODY, KEYS) == "key_1"


@pytest.mark.parametrize(
    ("path", "change", "body", "code"),
    [
        ("/v1/payments", {}, b'{"amount":2}', "digest_mismatch"),
        ("/v1/other", {}, BODY, "signature_mismatch"),
        ("/v1/payments", {"idempotency-key": '"k-2"'}, BODY, "signature_mismatch"),
        ("/v1/payments", {"signature-input": ""}, BODY, "signature_malformed"),
    ],
)
def test_it_refuses_what_was_changed(
    path: str, change: dict[str, str], body: bytes, code: str
) -> None:
    with pytest.raises(SignatureWrong, match=code):
        verify(("POST", path), signed() | change, body, KEYS)
