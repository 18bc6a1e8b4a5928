"""WeChat Pay's own certificates (APIv3, "下载平台证书"): sealed for us, changed every few years.

New ones are told long before they sign, and for a while both are valid.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography.x509 import load_pem_x509_certificate
from msgspec import Struct

from gateway.channels.pem import public_rsa_key
from gateway.channels.port import KeysRefused
from gateway.channels.wechat.signing import Sealed, opened

PATH: Final = "/v3/certificates"
# The name of a key that was agreed upon begins so: then there are no certificates.
BY_PUBLIC_KEY: Final = "PUB_KEY_ID_"


class _Told(Struct, frozen=True):
    """One certificate as it is told."""

    serial_no: str
    encrypt_certificate: Sealed


class _List(Struct, frozen=True):
    """The body of the answer."""

    data: tuple[_Told, ...]


_decode: Final = msgspec.json.Decoder(_List).decode


def read(body: bytes, apiv3_keys: Iterable[bytes], now: datetime) -> dict[str, str]:
    """Open the certificates that are valid now: PEM by serial number; raises `KeysRefused`.

    Who does not hold the account's APIv3 key can neither seal nor change one.
    """
    keys = tuple(apiv3_keys)
    found = {}
    try:
        for told in _decode(body).data:
            pem = opened(keys, told.encrypt_certificate).decode()
            certificate = load_pem_x509_certificate(pem.encode())
            if int(told.serial_no, 16) != certificate.serial_number:
                raise KeysRefused("a certificate has another serial number")
            public_rsa_key(pem)
            if certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
                found[told.serial_no] = pem
    except (msgspec.DecodeError, ValueError):
        raise KeysRefused("unreadable") from None
    if not found:
        raise KeysRefused("no certificate is valid")
    return found


def valid_until(keys: Mapping[str, str]) -> datetime | None:
    """Say until when one of these keys is valid; None when one is bare and so has no end."""
    ends = [datetime.min.replace(tzinfo=UTC)]
    for pem in keys.values():
        if "BEGIN CERTIFICATE" not in pem:
            return None
        ends.append(load_pem_x509_certificate(pem.encode()).not_valid_after_utc)
    return max(ends)
