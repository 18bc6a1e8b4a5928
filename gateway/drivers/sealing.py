"""Secrets at rest: sealed with a public key, opened with a private one that no database holds.

HPKE (RFC 9180) in base mode with X25519, HKDF-SHA256 and AES-256-GCM, from `cryptography`.  So a
command may store a new secret without being able to read the old ones.  The master key is 32 bytes
of base64 (an X25519 private key).
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_master_key() -> str:
    """Make a master key, as base64 text."""
    key = X25519PrivateKey.generate()
    return base64.b64encode(key.private_bytes_raw()).decode()


def public_part(master_key: str) -> bytes:
    """Give the 32 public bytes of a master key; ValueError when it is no master key."""
    return _private(master_key).public_key().public_bytes_raw()


def seal(public_key: bytes, plain: bytes, context: bytes) -> bytes:
    """Seal bytes for the holder of the private key; `context` must be given again to open them."""
    return _SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(public_key), info=context)


class Vault:
    """Holds the private key: opens what was sealed for it, and keeps personal data in between.

    Personal data is written on the hot path, so it is encrypted with AES-256-GCM under a key
    derived from the master key, which costs a fortieth of an HPKE seal.
    """

    def __init__(self, master_key: str) -> None:
        self._key = _private(master_key)
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"floodgate personal data")
        self._cipher = AESGCM(derived.derive(self._key.private_bytes_raw()))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open what `seal` made; `InvalidTag` of `cryptography` when key or context do not fit."""
        return _SUITE.decrypt(sealed, self._key, info=context)

    def hide(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt personal data: 12 bytes of nonce, then ciphertext and tag."""
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def reveal(self, hidden: bytes, context: bytes) -> bytes | None:
        """Decrypt what `hide` made; None when key or context do not fit, or it was altered."""
        try:
            return self._cipher.decrypt(hidden[:12], hidden[12:], context)
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return "Vault(…)"


def _private(master_key: str) -> X25519PrivateKey:
    try:
        raw = base64.b64decode(master_key, validate=True)
        return X25519PrivateKey.from_private_bytes(raw)
    except (binascii.Error, ValueError):
        raise ValueError("the master key is not 32 bytes of base64") from None
