"""What a merchant account at WeChat Pay consists of; every part of it is a secret to the log."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Self

from msgspec import Meta, field
from msgspec.structs import replace

from gateway.channels.mainland import KeyedCredential
from gateway.channels.wechat.certificates import valid_until

OFFICIAL: Final = "https://api.mch.weixin.qq.com"


class WechatCredential(KeyedCredential, frozen=True, kw_only=True):
    """One merchant account (商户号) with its keys.

    `private_key` (PEM) signs our requests and `serial_no` names its certificate.  `apiv3_key` opens
    notices.  `platform_keys` are WeChat Pay's own keys by the name that their signatures carry: the
    serial number of a platform certificate (its PEM), or `PUB_KEY_ID_…` (a public key's PEM).
    During a rotation there are several, and each verifies.  An account whose answers are signed by
    certificates may leave them out: WeChat Pay tells them.
    """

    mchid: Annotated[str, Meta(pattern=r"^[0-9]{6,32}\Z")]
    appid: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{6,32}\Z")]
    serial_no: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{8,64}\Z")]
    apiv3_key: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{32}\Z")]
    platform_keys: dict[str, str] = field(default_factory=dict)
    base_url: str = OFFICIAL

    @property
    def account(self) -> str:
        """The merchant account's number."""
        return self.mchid

    def with_keys(self, keys: Mapping[str, str]) -> Self:
        """Give this credential with the certificates that WeChat Pay told of since."""
        return replace(self, platform_keys={**self.platform_keys, **keys})

    def believes_until(self) -> datetime | None:
        """Until when one of WeChat Pay's certificates is valid; a public key has no end."""
        return valid_until(self.platform_keys)
