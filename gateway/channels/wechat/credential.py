"""What a merchant account at WeChat Pay consists of; every part of it is a secret to the log."""

from typing import Annotated, Final

from msgspec import Meta

from gateway.channels.credential import Credential

OFFICIAL: Final = "https://api.mch.weixin.qq.com"


class WechatCredential(Credential, frozen=True, kw_only=True):
    """One merchant account (商户号) with its keys.

    `private_key` (PEM) signs our requests and `serial_no` names its certificate.  `apiv3_key` opens
    notices.  `platform_keys` are WeChat Pay's own keys by the name that their signatures carry: the
    serial number of a platform certificate (its PEM), or `PUB_KEY_ID_…` (a public key's PEM).
    During a rotation there are several, and each verifies.
    """

    mchid: Annotated[str, Meta(pattern=r"^[0-9]{6,32}\Z")]
    appid: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{6,32}\Z")]
    serial_no: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{8,64}\Z")]
    private_key: str
    apiv3_key: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{32}\Z")]
    platform_keys: Annotated[dict[str, str], Meta(min_length=1)]
    base_url: str = OFFICIAL

    @property
    def account(self) -> str:
        """The merchant account's number."""
        return self.mchid
