"""The shared secret of `hmac-sha256`, on both twins."""

import hashlib
import hmac
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import Implementation

from native import _signature_c, _signature_py

# RFC 4231 section 4: key, data, HMAC-SHA-256.
RFC_4231 = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("secret", "base", "digest"), RFC_4231)
def test_rfc_4231(implementation: Implementation, secret: bytes, base: bytes, digest: str) -> None:
    key = implementation.signature.HmacKey(secret)
    assert key.sign(base).hex() == digest
    assert key.verify(base, bytes.fromhex(digest))


def test_any_other_signature_is_refused(implementation: Implementation) -> None:
    key = implementation.signature.HmacKey(b"secret")
    signature = key.sign(b"base")
    assert key.verify(b"base", signature) is True
    assert key.verify(b"Base", signature) is False
    assert implementation.signature.HmacKey(b"Secret").verify(b"base", signature) is False
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(32), hashlib.sha256(b"").digest()):
        assert key.verify(b"base", wrong) is False
    for bit in range(256):
        flipped = int.from_bytes(signature) ^ (1 << bit)
        assert key.verify(b"base", flipped.to_bytes(32)) is False


def test_a_key_keeps_its_secret_to_itself(implementation: Implementation) -> None:
    key = implementation.signature.HmacKey(b"a very secret word")
    assert "secret word" not in f"{key!r} {key}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("secret", ["text", bytearray(b"bytes"), None, 7])
def test_only_bytes_are_a_secret_a_base_or_a_signature(
    implementation: Implementation, secret: Any
) -> None:
    with pytest.raises(TypeError):
        implementation.signature.HmacKey(secret)
    key = implementation.signature.HmacKey(b"secret")
    for call in (
        lambda: key.sign(secret),
        lambda: key.verify(secret, b""),
        lambda: key.verify(b"", secret),
    ):
        with pytest.raises(TypeError):
            call()


def test_an_empty_secret_is_refused(implementation: Implementation) -> None:
    with pytest.raises(ValueError, match="empty"):
        implementation.signature.HmacKey(b"")


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=5000))
def test_both_twins_agree_with_the_library(secret: bytes, base: bytes) -> None:
    expected = hmac.digest(secret, base, "sha256")
    for module in (_signature_c, _signature_py):
        key = module.HmacKey(secret)
        assert key.sign(base) == expected
        assert key.sign(base) == expected, "a key can be used again"
