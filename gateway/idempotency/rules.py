"""What an idempotency key may be, and what makes two requests the same."""

import hashlib
import re
from typing import Final

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.stages import Verified

_VISIBLE: Final = re.compile(rf"[\x21-\x7e]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MAX}}}")
# As nearly everybody writes it: quoted, with nothing in it that is escaped.
_PLAIN: Final = re.compile(rf'"([\x21\x23-\x5b\x5d-\x7e]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MAX}}})"')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED: Final = re.compile(r'\\(["\\])')


def key_of(header: str | None) -> str:
    """Read the Idempotency-Key header: `"k"`, a Structured-Field string, and bare `k` are one key.

    RFC 8941 section 3.3.3 for the quoted form; 1-255 visible ASCII characters for the key itself.
    """
    if header is None:
        raise Problem("idempotency_key_missing", "Every POST needs an Idempotency-Key header.")
    plain = _PLAIN.fullmatch(header)
    if plain is not None:
        return plain[1]
    quoted = _QUOTED.fullmatch(header)
    key = quoted[1] if quoted else header
    if quoted and "\\" in key:
        key = _ESCAPED.sub(r"\1", key)
    if _VISIBLE.fullmatch(key) is None:
        raise Problem(
            "idempotency_key_invalid",
            f"The key must be 1-{limits.IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters.",
        )
    return key


def fingerprint_of(verified: Verified) -> bytes:
    """Hash method, path, query and the body's exact bytes (through its verified digest)."""
    received = verified.received
    path, _, query = received.target.partition("?")
    named = f"{received.method}\n{path}\n{query}\n".encode()
    return hashlib.sha256(named + verified.body_digest).digest()


def refuse_reuse(stored: bytes, fingerprint: bytes) -> None:
    """Refuse a key that was used for another request."""
    if stored != fingerprint:
        raise Problem(
            "idempotency_key_reused",
            "This Idempotency-Key was used for a request with another path, query or body.",
        )
