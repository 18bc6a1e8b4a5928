"""WeChat Pay's signatures and sealed resources (APIv3, "签名生成", "签名验证", "解密").

Requests are signed over five lines, answers and notices over three, both with RSA-SHA256; what a
notice tells is sealed with AES-256-GCM under the merchant's APIv3 key.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
SERIAL: Final = "wechatpay-serial"
TIMESTAMP: Final = "wechatpay-timestamp"
NONCE: Final = "wechatpay-nonce"
SIGNATURE: Final = "wechatpay-signature"
ALGORITHM: Final = "AEAD_AES_256_GCM"
# WeChat Pay now and then signs wrongly on purpose, to see whether anybody looks.
TEST_PREFIX: Final = "WECHATPAY/SIGNTEST/"
_AGE_SECONDS_MAX: Final = 300
_DIGITS_MAX: Final = 12


class Sealed(Struct, frozen=True):
    """A sealed resource of a notice, or a sealed platform certificate."""

    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str = ""


def signed(key: RSAPrivateKey, *lines: str) -> str:
    """Sign lines, each ended by a newline; base64."""
    text = "".join(f"{line}\n" for line in lines)
    return base64.b64encode(key.sign(text.encode(), PKCS1v15(), SHA256())).decode()


def is_signed(keys: Mapping[str, RSAPublicKey], headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether an answer or a notice carries the signature of a key that we know."""
    key = keys.get(headers.get(SERIAL, ""))
    word = headers.get(SIGNATURE, "")
    if key is None or word.startswith(TEST_PREFIX):
        return False
    said = f"{headers.get(TIMESTAMP, '')}\n{headers.get(NONCE, '')}\n".encode() + body + b"\n"
    try:
        key.verify(base64.b64decode(word, validate=True), said, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def said_at(headers: Mapping[str, str]) -> int | None:
    """When WeChat Pay said this, in seconds since 1970; None when it does not say."""
    text = headers.get(TIMESTAMP, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None


def is_fresh(headers: Mapping[str, str], now: datetime) -> bool:
    """Tell whether this was said within five minutes of now, as WeChat Pay demands of us."""
    at = said_at(headers)
    return at is not None and abs(at - now.timestamp()) <= _AGE_SECONDS_MAX


def opened(apiv3_keys: Iterable[bytes], sealed: Sealed) -> bytes:
    """Open a sealed resource with whichever key fits; ValueError when none does."""
    if sealed.algorithm != ALGORITHM:
        raise ValueError("an algorithm that we do not know")
    try:
        ciphertext = base64.b64decode(sealed.ciphertext, validate=True)
    except binascii.Error:
        raise ValueError("a resource that is no base64") from None
    for key in apiv3_keys:
        try:
            return AESGCM(key).decrypt(
                sealed.nonce.encode(), ciphertext, sealed.associated_data.encode()
            )
        except (InvalidTag, ValueError):
            continue
    raise ValueError("none of our keys opens this resource")
