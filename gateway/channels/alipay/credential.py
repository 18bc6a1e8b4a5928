"""What an app at the Alipay open platform consists of; every part of it is a secret to the log."""

from typing import Annotated, Final

from msgspec import Meta

from gateway.channels.mainland import KeyedCredential

OFFICIAL: Final = "https://openapi.alipay.com"


class AlipayCredential(KeyedCredential, frozen=True, kw_only=True):
    """One app (应用) with its keys; `seller_id` is the account (PID) that the money goes to.

    `private_key` (PEM) signs our requests; `alipay_public_keys` (PEM) are Alipay's own, of which
    during a rotation there are several, and each verifies.
    """

    app_id: Annotated[str, Meta(pattern=r"^[0-9]{8,32}\Z")]
    seller_id: Annotated[str, Meta(pattern=r"^2088[0-9]{12}\Z")]
    alipay_public_keys: Annotated[tuple[str, ...], Meta(min_length=1)]
    base_url: str = OFFICIAL

    @property
    def account(self) -> str:
        """The app's number."""
        return self.app_id
