"""The deposit addresses of the crypto channel: worked out of our numbers, without any key.

Followed: EIP-55 (checksummed addresses) and EIP-1014 (`CREATE2`).  The address of an attempt is the
one at which a factory contract can put a contract of known code whenever it likes, so money lies
there safely before anything else does.  Whoever owns that code collects it; this process cannot.
"""

import re
from typing import Final

from Crypto.Hash import keccak as _keccak

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_ADDRESS_BYTES: Final = 20
_WORD_BYTES: Final = 32


def keccak(data: bytes) -> bytes:
    """Hash as the chain does, into 32 bytes: Keccak-256 as it was before it became SHA-3."""
    return _keccak.new(digest_bits=256, data=data).digest()


def address_bytes(text: str) -> bytes:
    """Read an address; ValueError when it is none, or when its capitals show a slip of the pen."""
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError("an address is 0x and 40 hex digits")
    raw = bytes.fromhex(text[2:])
    if text[2:] not in {text[2:].lower(), text[2:].upper()} and checksummed(raw) != text:
        raise ValueError("the capitals of an address do not fit to it (EIP-55)")
    return raw


def checksummed(address: bytes) -> str:
    """Write an address (20 bytes) with the capitals that tell a slip of the pen."""
    digits = address.hex()
    wanted = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit  # noqa: PLR2004 - EIP-55's half of a nibble
        for digit, mark in zip(digits, wanted, strict=False)
    )


def create2(factory: bytes, salt: bytes, init_code_hash: bytes) -> bytes:
    """Work out where a factory puts the contract of this code under this salt (32 bytes each)."""
    return keccak(b"\xff" + factory + salt + init_code_hash)[-_ADDRESS_BYTES:]


def deposit_address(factory: bytes, init_code_hash: bytes, number: str) -> bytes:
    """Give the address of an attempt: the salt is our number (32 hex digits), zeros before it."""
    return create2(factory, word(bytes.fromhex(number)), init_code_hash)


def word(raw: bytes) -> bytes:
    """Write bytes as the chain's machine holds them: 32 of them, zeros first."""
    return raw.rjust(_WORD_BYTES, b"\0")
