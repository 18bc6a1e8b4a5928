"""What the acquirers of mainland China have in common: Beijing's clock, and an RSA key of ours."""

from collections.abc import Sequence
from datetime import timedelta, timezone
from typing import Final, Generic, TypeVar

from gateway.channels.credential import Credential
from gateway.channels.pem import private_rsa_key

BEIJING: Final = timezone(timedelta(hours=8))


class KeyedCredential(Credential, frozen=True, kw_only=True):
    """An account whose requests are signed by `private_key` (RSA, PEM)."""

    private_key: str


_Keyed = TypeVar("_Keyed", bound=KeyedCredential)


class KeyedAccount(Generic[_Keyed]):
    """Speaks for one account; it is notified at `notify_url`.

    The first credential signs; what verifies is for the channel to gather from all of them, so that
    keys can be rotated.  Raises ValueError for keys that cannot be read.
    """

    def __init__(self, credentials: Sequence[_Keyed], notify_url: str) -> None:
        self._credential = credentials[0]
        self._key = private_rsa_key(self._credential.private_key)
        self._notify_url = notify_url
        self.base_url = self._credential.base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._credential.account})"
