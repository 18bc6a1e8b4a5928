"""What a merchant at UnionPay's online platform consists of; all of it is secret to the log."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from gateway.channels.mainland import KeyedCredential
from gateway.channels.unionpay.signing import certificate

OFFICIAL: Final = "https://gateway.95516.com"


class UnionpayCredential(KeyedCredential, frozen=True, kw_only=True):
    """One merchant (商户号) with its keys.

    `private_key` (PEM) signs our requests and `cert_id`, the serial number of its certificate in
    decimal, names it.  `trusted_certificates` (PEM) are the authorities that issue UnionPay's own
    certificates, which come with each of its answers; `common_name` is the holder written in those.
    """

    mer_id: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{15}\Z")]
    cert_id: Annotated[str, Meta(pattern=r"^[0-9]{1,50}\Z")]
    trusted_certificates: Annotated[tuple[str, ...], Meta(min_length=1)]
    common_name: str = "中国银联股份有限公司"
    base_url: str = OFFICIAL

    def believes_until(self) -> datetime | None:
        """Until when one of the authorities is valid that vouch for UnionPay's signatures."""
        return max(certificate(pem).not_valid_after_utc for pem in self.trusted_certificates)

    @property
    def account(self) -> str:
        """The merchant's number."""
        return self.mer_id
