"""What a payment costs, fixed when its channel is chosen: the ledger books by these terms."""

from typing import Final

from msgspec import Struct

from gateway.domain import money

# What a channel keeps where no plan says otherwise, in basis points.
_USUAL_CHANNEL_BPS: Final = {"simulator": 30, "simulator_b": 30}


class Rate(Struct, frozen=True, omit_defaults=True):
    """Basis points of an amount and a fixed part, but at least `minimum` and at most `cap`.

    All but `bps` are minor units of the payment's currency.  `plan` is the version of the fee plan
    that says so; 0 where none does.
    """

    bps: int = 0
    fixed: int = 0
    minimum: int = 0
    cap: int | None = None
    plan: int = 0

    def of(self, amount: int) -> int:
        """Work out the fee of an amount in minor units; the share is rounded half up, once."""
        fee = max(self.minimum, money.share(amount, self.bps) + self.fixed)
        return fee if self.cap is None else min(fee, self.cap)


class Terms(Struct, frozen=True, omit_defaults=True):
    """What the merchant pays us, and what the channel keeps of what it owes us.

    `returned`: the channel gives its fee back with refunds, in proportion.
    """

    commission: Rate
    channel: Rate
    returned: bool = True

    def commission_of(self, amount: int) -> int:
        """Work out our commission; never more than the money there is."""
        return min(amount, self.commission.of(amount))


def usual_terms(commission_bps: int, channel: str) -> Terms:
    """Give the terms where no plan says otherwise."""
    return Terms(Rate(commission_bps), Rate(_USUAL_CHANNEL_BPS.get(channel, 0)))
