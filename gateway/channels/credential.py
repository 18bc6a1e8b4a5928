"""What a channel needs to speak for an account at an acquirer, and which kinds of channels exist.

A credential is read strictly, kept sealed, and never shown: neither by `repr` nor in an error.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Protocol, Self
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from gateway.channels.port import Channel
from gateway.domain import limits
from gateway.domain.errors import FloodgateError

_ACCOUNT: Final = re.compile(rf"[\x21-\x7e]{{1,{limits.ACCOUNT_CHARS_MAX}}}")
_NAME: Final = re.compile(r"unknown field `(?![a-z_]{1,40}`)[^`]*`")


class CredentialWrong(FloodgateError):
    """A credential cannot be used; the sentence names the field and never its value."""


class Credential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root of every channel's credential; a channel adds what it needs.

    `base_url` is where the acquirer is: a channel gives its official host as default.  `not_after`
    is when the credential ends, where that is known.  A channel's `__post_init__` calls this one
    and raises ValueError without any value.
    """

    base_url: str
    not_after: Annotated[datetime, Meta(tz=True)] | None = None

    def __post_init__(self) -> None:
        """Refuse an address where secrets would travel in the open, and an account without name."""
        if _ACCOUNT.fullmatch(self.account) is None:
            raise ValueError(f"account is {limits.ACCOUNT_CHARS_MAX} printable ASCII at most")
        if not _is_safe(self.base_url):
            raise ValueError("base_url must be https://… without a slash at the end, or loopback")

    @property
    def account(self) -> str:
        """The acquirer's own name of the account: who has several credentials has one account."""
        raise NotImplementedError

    def with_keys(self, keys: Mapping[str, str]) -> Self:  # noqa: ARG002 - most have no use for it
        """Give this credential with the keys that the acquirer told of since."""
        return self

    def believes_until(self) -> datetime | None:
        """Until when (aware UTC) a known key of the acquirer's is valid; None: as long as we like.

        A time that is past when none is known at all.
        """
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Maker(Protocol):
    """A channel's class: makes it of the live credentials of one account, newest first.

    The newest signs, all of them verify; `notify_url` is where the acquirer will tell us of news.
    Raises ValueError, without any value, when they cannot be used.
    """

    @property
    def name(self) -> str:
        """The channel's name."""
        ...

    def __call__(self, credentials: Sequence[Any], notify_url: str) -> Channel:
        """Make the channel."""
        ...


class Kind(Struct, frozen=True):
    """One kind of channel: what its credentials are, and the class that is made of them."""

    credential: type[Credential]
    make: Maker

    @property
    def name(self) -> str:
        """The channel's name."""
        return self.make.name


def read_credential(kind: Kind, words: Mapping[str, Any]) -> Credential:
    """Read what an operator wrote; raises `CredentialWrong`."""
    try:
        credential = msgspec.convert(words, kind.credential)
    except msgspec.ValidationError as error:
        raise CredentialWrong(_without_values(str(error))) from None
    try:
        kind.make((credential,), "https://floodgate.invalid/notices")
    except ValueError as error:
        raise CredentialWrong(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever reads keys may trip over them
        raise CredentialWrong(f"it cannot be used: {type(error).__name__}") from None
    return credential


def _without_values(message: str) -> str:
    """Leave the values out of msgspec's sentence: they may be the secret itself."""
    message = re.sub(r"^Invalid .* - at", "Invalid value - at", message, flags=re.DOTALL)
    return _NAME.sub("an unknown field", message)


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if url.endswith("/") or parts.query or parts.fragment or parts.username or port == 0:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
