"""Alipay's signatures (RSA2): over sorted parameters, and over an answer's exact bytes.

A request and a notice are signed as `k=v` pairs, sorted, joined by `&`, not URL-encoded, empty
values left out; a notice leaves out `sign_type` as well.  An answer is signed over the JSON of its
node as it stands there, so it must never be written again before it is verified.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

_read_nodes = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_text = msgspec.json.Decoder(str).decode


def signature_base(parameters: Mapping[str, str], *, without: Iterable[str] = ()) -> bytes:
    """Write the text that is signed."""
    left_out = {"sign", *without}
    said = sorted((k, v) for k, v in parameters.items() if v != "" and k not in left_out)
    return "&".join(f"{name}={value}" for name, value in said).encode()


def signed(key: RSAPrivateKey, parameters: Mapping[str, str]) -> dict[str, str]:
    """Add `sign` to the parameters of a request."""
    signature = key.sign(signature_base(parameters), PKCS1v15(), SHA256())
    return {**parameters, "sign": base64.b64encode(signature).decode()}


def is_notice_signed(keys: Sequence[RSAPublicKey], said: Mapping[str, str]) -> bool:
    """Tell whether the form of a notice carries a signature of a key that we know."""
    base = signature_base(said, without=("sign_type",))
    return said.get("sign_type") == "RSA2" and _fits(keys, said.get("sign", ""), base)


def signed_node(keys: Sequence[RSAPublicKey], body: bytes, name: str) -> bytes | None:
    """Give the exact JSON of an answer's node; None when no key that we know has signed it.

    Raises msgspec's DecodeError when the body is no answer at all.
    """
    nodes = _read_nodes(body)
    node = nodes.get(name, nodes.get("error_response"))
    if node is None or "sign" not in nodes:
        return None
    exact = bytes(node)
    return exact if _fits(keys, _read_text(nodes["sign"]), exact) else None


def _fits(keys: Sequence[RSAPublicKey], signature: str, base: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    for key in keys:
        try:
            key.verify(raw, base, PKCS1v15(), SHA256())
        except InvalidSignature:
            continue
        return True
    return False
