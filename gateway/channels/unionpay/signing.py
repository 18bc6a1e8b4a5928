"""UnionPay's signatures (ACP 5.1.0, signMethod 01): a hash of sorted pairs, and who vouches for it.

Signed is the SHA-256, as lower-case hex, of all pairs but `signature`, sorted and joined by `&`;
over that text goes an RSA-SHA256 signature.  Every answer brings the certificate of the key that
signed it, which an authority that we trust must have issued to UnionPay itself.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate, NameOID, load_pem_x509_certificate

_CERTIFICATE: Final = "signPubKeyCert"
_SIGNATURE: Final = "signature"
# Where the holder stands in the common name, as in `041@Z12@中国银联股份有限公司@00000001`.
_HOLDER: Final = 2


def certificate(pem: str) -> Certificate:
    """Read the certificate of an authority; ValueError when it is none."""
    try:
        return load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ValueError("a trusted certificate is no PEM") from None


def signature_base(parameters: Mapping[str, str]) -> bytes:
    """Write the text that is signed."""
    said = sorted((k, v) for k, v in parameters.items() if k != _SIGNATURE and v != "")
    pairs = "&".join(f"{name}={value}" for name, value in said)
    return hashlib.sha256(pairs.encode()).hexdigest().encode()


def signed(key: RSAPrivateKey, parameters: Mapping[str, str]) -> dict[str, str]:
    """Add `signature` to the parameters of a request."""
    signature = key.sign(signature_base(parameters), PKCS1v15(), SHA256())
    return {**parameters, _SIGNATURE: base64.b64encode(signature).decode()}


class Trust:
    """Whom we believe: the authorities, and the holder whom their certificates must name."""

    def __init__(self, authorities: Sequence[Certificate], common_name: str) -> None:
        self._authorities = authorities
        self._common_name = common_name
        self._known: dict[str, Certificate] = {}

    def believes(self, said: Mapping[str, str], at: datetime) -> bool:
        """Tell whether UnionPay signed this, with a certificate that is valid at this time."""
        pem = said.get(_CERTIFICATE, "")
        theirs = self._known.get(pem) or self._vouched_for(pem)
        if theirs is None or not theirs.not_valid_before_utc <= at <= theirs.not_valid_after_utc:
            return False
        self._known = {pem: theirs}
        key = theirs.public_key()
        assert isinstance(key, RSAPublicKey)
        try:
            signature = base64.b64decode(said.get(_SIGNATURE, ""), validate=True)
            key.verify(signature, signature_base(said), PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def _vouched_for(self, pem: str) -> Certificate | None:
        """Read a certificate that came with an answer; None when nobody we trust issued it."""
        try:
            theirs = load_pem_x509_certificate(pem.encode())
            (name,) = theirs.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except ValueError:
            return None
        parts = str(name.value).split("@")
        named = len(parts) > _HOLDER and parts[_HOLDER] == self._common_name
        if not named or not isinstance(theirs.public_key(), RSAPublicKey):
            return None
        return theirs if any(_issued(theirs, each) for each in self._authorities) else None


def _issued(theirs: Certificate, authority: Certificate) -> bool:
    try:
        theirs.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
