"""Keys of acquirers and of ours at them, read from PEM: what is wrong is said, never shown."""

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate


def private_rsa_key(pem: str) -> RSAPrivateKey:
    """Read a key that signs; ValueError when it is no RSA key in PEM, or is locked."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("a private key is no open PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("a private key is no RSA key")  # noqa: TRY004 - a wrong value, not type
    return key


def public_rsa_key(pem: str) -> RSAPublicKey:
    """Read a key that verifies, bare or in its certificate; ValueError when it is neither."""
    try:
        raw = pem.encode()
        key = (
            load_pem_x509_certificate(raw).public_key()
            if b"BEGIN CERTIFICATE" in raw
            else load_pem_public_key(raw)
        )
    except ValueError:
        raise ValueError("a public key is no PEM") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("a public key is no RSA key")  # noqa: TRY004 - a wrong value, not type
    return key
