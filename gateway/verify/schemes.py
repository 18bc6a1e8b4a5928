"""The signature algorithms a key may have, each behind `verify(base, signature) -> bool`.

`hmac-sha256` is compiled in `native`; `ed25519` and `rsa-v1_5-sha256` (RFC 9421 sections 3.3.6 and
3.3.2) go through `cryptography`, where native code would gain nothing.
"""

from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from native.signature import COMPILED, HmacKey

__all__ = ["COMPILED", "Verifier", "verifier"]

HMAC: Final = "hmac-sha256"
ED25519: Final = "ed25519"
RSA: Final = "rsa-v1_5-sha256"
ALGORITHMS: Final = (HMAC, ED25519, RSA)
RSA_BITS_MIN: Final = 2048


class Verifier(Protocol):
    """A key that can say whether a signature over a base is its own."""

    def verify(self, base: bytes, signature: bytes, /) -> bool: ...


class Ed25519Key:
    """An Ed25519 public key (RFC 8032)."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    def verify(self, base: bytes, signature: bytes, /) -> bool:
        """Tell whether this key signed these bytes."""
        try:
            self._key.verify(signature, base)
        except InvalidSignature:
            return False
        return True


class RsaKey:
    """An RSA public key, signing with RSASSA-PKCS1-v1_5 over SHA-256 (RFC 8017)."""

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    def verify(self, base: bytes, signature: bytes, /) -> bool:
        """Tell whether this key signed these bytes."""
        try:
            self._key.verify(signature, base, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def verifier(algorithm: str, *, secret: bytes | None, public_key: str | None) -> Verifier:
    """Make the verifier of one key; ValueError when key and algorithm do not fit."""
    if algorithm == HMAC:
        if not secret:
            raise ValueError("hmac-sha256 needs a secret")
        return HmacKey(secret)
    if public_key is None:
        raise ValueError(f"{algorithm} needs a public key")
    try:
        key = serialization.load_pem_public_key(public_key.encode())
    except UnsupportedAlgorithm:
        raise ValueError(f"this public key is not one for {algorithm}") from None
    if algorithm == ED25519 and isinstance(key, Ed25519PublicKey):
        return Ed25519Key(key)
    if algorithm == RSA and isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise ValueError(f"an RSA key needs at least {RSA_BITS_MIN} bits")
        return RsaKey(key)
    raise ValueError(f"this public key is not one for {algorithm}")
