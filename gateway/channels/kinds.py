"""The kinds of channels that take credentials: where a new channel is written down."""

from collections.abc import Mapping
from typing import Final

from gateway.channels.alipay.channel import AlipayChannel
from gateway.channels.alipay.credential import AlipayCredential
from gateway.channels.credential import Kind
from gateway.channels.crypto.channel import CryptoChannel
from gateway.channels.crypto.credential import CryptoCredential
from gateway.channels.stripe.channel import StripeChannel
from gateway.channels.stripe.credential import StripeCredential
from gateway.channels.unionpay.channel import UnionpayChannel
from gateway.channels.unionpay.credential import UnionpayCredential
from gateway.channels.wechat.channel import WechatChannel
from gateway.channels.wechat.credential import WechatCredential

_KINDS: Final = (
    Kind(StripeCredential, StripeChannel),
    Kind(WechatCredential, WechatChannel),
    Kind(AlipayCredential, AlipayChannel),
    Kind(UnionpayCredential, UnionpayChannel),
    Kind(CryptoCredential, CryptoChannel),
)
KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _KINDS}
