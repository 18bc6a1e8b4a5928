"""The verify step: a request goes in, a request of which we know the author comes out."""

from datetime import datetime
from typing import Final

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.stages import Merchant, Received, Verified
from gateway.verify.keyring import Keyring
from native.signature import Envelope, HmacKey, SignatureProblem, read

# An unknown key costs the same time as a wrong signature.
_NOBODY: Final = HmacKey(b"nobody has this key")
_AGE_SECONDS_MAX: Final = limits.SIGNATURE_AGE_SECONDS_MAX


class Verify:
    """HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530), in the contract's profile.

    `authorities` are our public names with their ports as configured; a forwarded header is never
    believed.
    """

    def __init__(self, keyring: Keyring, *, scheme: str, authorities: frozenset[str]) -> None:
        self._keyring = keyring
        self._scheme = scheme
        self._authorities = authorities

    def named(self, key_id: str) -> Merchant | None:
        """Whose key this would be; it proves nothing about who names it."""
        key = self._keyring.find(key_id)
        return key.merchant if key is not None else None

    def __call__(self, received: Received) -> Verified:
        """Say whose words these are; `Problem` with a 401 code when it cannot be proved."""
        try:
            envelope = read(
                received.method,
                received.target,
                received.headers,
                received.body,
                self._scheme,
                self._authorities,
            )
        except SignatureProblem as problem:
            raise Problem(problem.code, problem.detail) from None
        key = self._keyring.find(envelope.key_id)
        if key is None:
            _NOBODY.verify(envelope.base, envelope.signature)
            raise Problem("key_unknown", "This keyid is not known, or it was revoked.")
        _check_time(envelope, received.at)
        algorithm = envelope.algorithm
        if algorithm is not None and algorithm != key.algorithm:
            raise Problem("signature_mismatch", f"This key signs with {key.algorithm}.")
        if not key.verifier.verify(envelope.base, envelope.signature):
            raise Problem("signature_mismatch", "The signature does not fit this request.")
        return Verified(
            received, key.merchant, envelope.key_id, envelope.body_digest, envelope.idempotency_key
        )


def _check_time(envelope: Envelope, now: datetime) -> None:
    seconds, expires = now.timestamp(), envelope.expires
    fresh = -_AGE_SECONDS_MAX <= seconds - envelope.created <= _AGE_SECONDS_MAX
    if fresh and (expires is None or seconds < expires):
        return
    raise Problem(
        "signature_expired",
        f"`created` must lie within {_AGE_SECONDS_MAX} seconds of the server's "
        "time and `expires` after it.",
        extra={"server_time": now.isoformat(timespec="seconds").replace("+00:00", "Z")},
    )
