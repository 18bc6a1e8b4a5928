"""A small client: how a merchant signs a request; `floodgate curl` and the demo payment use it.

HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530) and hmac-sha256, in the form that
curl and openssl can make, too.
"""

import base64
import hashlib
import hmac
import shlex
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct


class Credentials(Struct, frozen=True):
    """A merchant's key; the secret is the base64 text that was shown once."""

    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials({self.key_id})"


class Unsigned(Struct, frozen=True):
    """A request before it is signed; `path` has its query, if any."""

    method: str
    path: str
    body: bytes = b""
    idempotency_key: str | None = None


def sign(request: Unsigned, credentials: Credentials, at: datetime) -> Mapping[str, str]:
    """Give the headers that make this request ours."""
    path, question_mark, query = request.path.partition("?")
    covered = {"@method": request.method, "@path": path}
    if question_mark:
        covered["@query"] = f"?{query}"
    headers = {}
    if request.body:
        digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
        headers["Content-Type"] = "application/json"
        headers["Content-Digest"] = covered["content-digest"] = f"sha-256=:{digest}:"
    if request.idempotency_key is not None:
        quoted = request.idempotency_key.replace("\\", "\\\\").replace('"', '\\"')
        headers["Idempotency-Key"] = covered["idempotency-key"] = f'"{quoted}"'
    names = " ".join(f'"{name}"' for name in covered)
    parameters = f'({names});created={int(at.timestamp())};keyid="{credentials.key_id}"'
    lines = [f'"{name}": {value}' for name, value in covered.items()]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    key = base64.b64decode(credentials.secret, validate=True)
    signature = base64.b64encode(hmac.digest(key, base.encode(), "sha256")).decode()
    headers["Signature-Input"] = f"sig1={parameters}"
    headers["Signature"] = f"sig1=:{signature}:"
    return headers


def curl_command(base_url: str, request: Unsigned, headers: Mapping[str, str]) -> str:
    """Write a signed request as a curl command that can be pasted into a shell."""
    words = ["curl", "-sS", "-X", request.method, base_url.rstrip("/") + request.path]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    if request.body:
        words += ["--data-raw", request.body.decode()]
    return shlex.join(words)
