"""Verifies a merchant's request in plain Python: RFC 9421 with hmac-sha256, RFC 9530 digests."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping

_INPUT = re.compile(r'(\w+)=(\(([^)]*)\);created=(\d+);keyid="([^"]+)")')
_AGE_SECONDS_MAX = 300


class SignatureWrong(Exception):
    """Not signed, or not as it should be."""


def verify(
    request: tuple[str, str], headers: Mapping[str, str], body: bytes, keys: Mapping[str, bytes]
) -> str:
    """Give the id of the key that signed (method, path), these headers and this body."""
    found = _INPUT.fullmatch(headers.get("signature-input", ""))
    if found is None:
        raise SignatureWrong("signature_malformed")
    label, parameters, names, created, key_id = found.groups()
    if abs(time.time() - int(created)) > _AGE_SECONDS_MAX:
        raise SignatureWrong("signature_expired")
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    if body and not hmac.compare_digest(headers.get("content-digest", ""), f"sha-256=:{digest}:"):
        raise SignatureWrong("digest_mismatch")
    values = {"@method": request[0], "@path": request[1]}
    covered = [name.strip('"') for name in names.split()]
    if not {"@method", "@path", "content-digest", "idempotency-key"} <= set(covered):
        raise SignatureWrong("signature_incomplete")
    lines = [f'"{name}": {values.get(name) or headers[name]}' for name in covered]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    expected = base64.b64encode(hmac.digest(keys[key_id], base.encode(), "sha256")).decode()
    if not hmac.compare_digest(headers.get("signature", ""), f"{label}=:{expected}:"):
        raise SignatureWrong("signature_mismatch")
    return key_id
