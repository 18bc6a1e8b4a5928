"""UnionPay's side of the wire: an authority, a certificate in UnionPay's name, signed answers.

Nobody else's package speaks to this platform, so its rules are written down here once more: what we
sign is checked by them, and what is said to us is signed by them.
"""

import base64
import functools
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import (
    CertificateBuilder,
    Name,
    NameAttribute,
    NameOID,
    random_serial_number,
)

from gateway.channels.unionpay.credential import UnionpayCredential

MER_ID, CERT_ID = "777290058110048", "68759663125"
HOLDER = "中国银联股份有限公司"
OURS, THEIRS, AUTHORITY = (generate_private_key(65537, 2048) for _ in range(3))


def _name(text: str) -> Name:
    return Name([NameAttribute(NameOID.COMMON_NAME, text)])


@functools.cache
def certified(
    common_name: str, *, days: int = 30, by: RSAPrivateKey = AUTHORITY, issuer: str = "authority"
) -> str:
    """A certificate for THEIRS (for the authority itself when it is its own issuer), as PEM."""
    now = datetime.now(UTC)
    key = by if common_name == issuer else THEIRS
    built = (
        CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(by, SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode()


def credential(base_url: str) -> UnionpayCredential:
    return UnionpayCredential(
        mer_id=MER_ID,
        cert_id=CERT_ID,
        private_key=OURS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        trusted_certificates=(certified("authority"),),
        base_url=base_url,
    )


def text_of(pairs: Mapping[str, str]) -> bytes:
    """What is signed (5.1.0, 01): by name every pair that says something, hashed, in hex."""
    names = sorted(name for name in pairs.keys() - {"signature"} if pairs[name])
    digest = hashlib.sha256("&".join("=".join((n, pairs[n])) for n in names).encode())
    return "".join(f"{byte:02x}" for byte in digest.digest()).encode()


def is_ours(pairs: Mapping[str, str]) -> bool:
    """Tell whether the merchant signed a request, in the version and by the key that it names."""
    named = {"version": "5.1.0", "encoding": "utf-8", "signMethod": "01", "accessType": "0"}
    named |= {"certId": CERT_ID, "merId": MER_ID}
    if "" in pairs.values() or not named.items() <= pairs.items():
        return False
    try:
        signature = base64.b64decode(pairs.get("signature", ""), validate=True)
        OURS.public_key().verify(signature, text_of(pairs), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def said(pem: str = "", **words: str) -> dict[str, str]:
    """What UnionPay says, signed; by default with a certificate in its own name."""
    pem = pem or certified(f"041@Z2026@{HOLDER}@00000001")
    pairs = {"version": "5.1.0", "merId": MER_ID, "signMethod": "01", "signPubKeyCert": pem} | words
    signature = THEIRS.sign(text_of(pairs), PKCS1v15(), SHA256())
    return pairs | {"signature": base64.b64encode(signature).decode()}


def answered(pairs: Mapping[str, str]) -> bytes:
    """An answer: pairs as they are."""
    return "&".join(f"{name}={value}" for name, value in pairs.items()).encode()


def noticed(pairs: Mapping[str, str]) -> bytes:
    """A notice: a form."""
    return urlencode(pairs).encode()
