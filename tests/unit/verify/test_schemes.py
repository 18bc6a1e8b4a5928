"""Which keys serve which algorithm: every other one is a ValueError, whatever it is."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.verify.schemes import ED25519, HMAC, RSA, verifier

BASE = b'"@method": GET'
# A key of the curve SM2, which our library does not know.
SM2 = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAEvNv+01quF+p0ovv1F/IqmqbATVy2
ZQma+Txceoi6oN43UEi+Q/LgMIkFraGF1CWa/yGSxZxfxmznGPRAX9aQ2Q==
-----END PUBLIC KEY-----
"""


def pem_of(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | rsa.RSAPublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


EDWARDS = ed25519.Ed25519PrivateKey.generate()
PEM = pem_of(EDWARDS.public_key())
OTHER = pem_of(ed448.Ed448PrivateKey.generate().public_key())
SHORT = pem_of(rsa.generate_private_key(65537, 1024).public_key())


def test_a_key_knows_its_own_signature() -> None:
    key = verifier(ED25519, secret=None, public_key=PEM)
    assert key.verify(BASE, EDWARDS.sign(BASE))
    assert not key.verify(BASE + b"!", EDWARDS.sign(BASE))
    assert not key.verify(BASE, b"")


@pytest.mark.parametrize(
    ("algorithm", "secret", "pem"),
    [
        (HMAC, None, None),
        (HMAC, b"", None),
        (ED25519, None, None),
        (ED25519, None, OTHER),
        (ED25519, None, SHORT),
        (ED25519, None, SM2),
        (ED25519, None, "?"),
        (ED25519, None, "é"),
        (RSA, None, PEM),
        (RSA, None, SHORT),
        (RSA, None, SM2),
        ("none", None, PEM),
    ],
)
def test_what_does_not_fit_is_refused(algorithm: str, secret: bytes | None, pem: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        verifier(algorithm, secret=secret, public_key=pem)
