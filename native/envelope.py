"""What reading a signed request gives or refuses with, in the verify step; shared by both twins."""

from typing import Final, Literal, final

from msgspec import Struct

Code = Literal[
    "signature_missing", "signature_malformed", "signature_incomplete", "digest_mismatch"
]

# The two bounds that reading needs; a test holds them equal to gateway.domain.limits.
HEADERS_COUNT_MAX: Final = 48
NONCE_CHARS_MAX: Final = 64


@final
class SignatureProblem(Exception):
    """A request that cannot be verified: a public `code`, and a `detail` without its data."""

    def __init__(self, code: Code, detail: str) -> None:
        self.code: Final = code
        self.detail: Final = detail
        super().__init__(code, detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@final
class Envelope(Struct, frozen=True, gc=False):
    """One signed request as it was read, before any key or clock was asked.

    `created` and `expires` are seconds since 1970.  `base` is the signature base of RFC 9421
    section 2.5: the bytes that `signature` must fit under the key named `key_id`.  `algorithm` is
    the `alg` parameter, which must name the key's own algorithm when it is there.
    `idempotency_key` is the header's value as received; `body_digest` is the body's SHA-256.
    """

    key_id: str
    algorithm: str | None
    created: int
    expires: int | None
    base: bytes
    signature: bytes
    idempotency_key: str | None
    body_digest: bytes

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Show what may stand in a log: neither the signature nor what it covers."""
        return [
            ("key_id", self.key_id),
            ("algorithm", self.algorithm),
            ("created", self.created),
            ("expires", self.expires),
        ]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Envelope({shown})"
