"""A merchant's client for the native room's tests: the contract's recipe, none of our code."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import NamedTuple

SECRET = bytes(range(32))
KEY_ID = "key_019a5c3e8f7b7c1d9e2f0a1b2c3d4e5f"
AUTHORITIES = frozenset({"127.0.0.1:8080", "api.floodgate.test"})
CREATED = 1_700_000_000
COVERED = ("@method", "@path", "content-digest", "idempotency-key")


class Request(NamedTuple):
    """The six things that `read` wants, in its order."""

    method: str = "POST"
    target: str = "/v1/payments"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    scheme: str = "http"
    authorities: frozenset[str] = AUTHORITIES

    def value(self, name: str) -> str:
        values = [v for n, v in self.headers if n.lower() == name.encode()]
        if not values:
            raise LookupError(name)
        return ", ".join(v.strip(b" \t").decode("latin-1") for v in values)

    def having(self, name: str, value: str) -> "Request":
        """The same request with this header field in the place of its namesakes."""
        return self.without(name).adding(name, value)

    def adding(self, name: str, value: str) -> "Request":
        return self._replace(headers=(*self.headers, (name.encode(), value.encode("latin-1"))))

    def without(self, name: str) -> "Request":
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower().encode())
        return self._replace(headers=kept)


def digest(body: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, body).digest()).decode()


def payment(body: bytes = b'{"amount": 1299, "currency": "EUR"}') -> Request:
    """A request to be signed, as a client sends it."""
    request = Request(body=body)
    for name, value in {
        "Host": "127.0.0.1:8080",
        "User-Agent": "merchant/1.4",
        "Date": "Tue, 14 Nov 2023 22:13:20 GMT",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Idempotency-Key": '"order-4711"',
        "Content-Digest": f"sha-256=:{digest(body)}:",
    }.items():
        request = request.adding(name, value)
    return request


def balance(target: str = "/v1/ledger/accounts") -> Request:
    """A request without a body."""
    return Request("GET", target).adding("Host", "127.0.0.1:8080")


def parameters(**changes: str | int | None) -> str:
    """Parameter text: `created` and `keyid`, changed, left out (None) or more."""
    found = {"created": CREATED, "keyid": KEY_ID, **changes}
    return "".join(
        f";{name}={value}" if isinstance(value, int) else f';{name}="{value}"'
        for name, value in found.items()
        if value is not None
    )


def sign(
    request: Request,
    covered: Sequence[str] = COVERED,
    given: str | None = None,
    *,
    label: str = "sig1",
    secret: bytes = SECRET,
) -> Request:
    """Sign with HMAC-SHA256."""
    names = " ".join(f'"{name}"' for name in covered)
    member = f"{label}=({names}){parameters() if given is None else given}"
    return sign_member(request.having("Signature-Input", member), secret=secret)


def sign_member(request: Request, *, secret: bytes = SECRET) -> Request:
    """Sign what the request's Signature-Input says, be it well formed or not."""
    label, _, value = request.value("signature-input").partition("=")
    signature = base64.b64encode(hmac.digest(secret, base(request, value), "sha256")).decode()
    return request.having("Signature", f"{label}=:{signature}:")


def base(request: Request, value: str) -> bytes:
    names = re.findall(r'"([^"]*)"', value.partition(")")[0])
    lines = [f'"{name}": {component(request, name)}' for name in names]
    return "\n".join([*lines, f'"@signature-params": {value}']).encode("latin-1", "replace")


def component(request: Request, name: str) -> str:
    path, _, query = request.target.partition("?")
    if name == "@authority":
        host = request.value("host").lower()
        return host.removesuffix(":80" if request.scheme == "http" else ":443")
    if name == "@target-uri":
        return f"{request.scheme}://{request.value('host')}{request.target}"
    derived = {
        "@method": request.method,
        "@path": path,
        "@query": "?" + query,
        "@scheme": request.scheme,
        "@request-target": request.target,
    }
    return derived[name] if name in derived else request.value(name)
