"""How a payment goes on through another channel: its next state, and what it is told by; pure."""

from msgspec import Struct
from msgspec.structs import replace

from gateway.domain.payment import Certainty, Payment, Standing, Status
from gateway.domain.stages import Rerouted


class Switch(Struct, frozen=True, kw_only=True):
    """A payment goes on through another channel: one attempt ends without money, the next begins.

    `standing` is the payment after the switch; it applies only to the version before it.
    """

    standing: Standing
    rerouted: Rerouted

    @property
    def merchant(self) -> int:
        """The number of the merchant whose payment goes on."""
        return self.standing.merchant

    @property
    def payment_id(self) -> str:
        """The payment that goes on."""
        return self.standing.payment.id

    @property
    def resource(self) -> Payment:
        """The payment after the switch."""
        return self.standing.payment


def switch(rerouted: Rerouted) -> Switch:
    """Work out how a payment goes on through another channel; the merchant is told of it."""
    before = rerouted.answered.opened.standing
    payment = replace(
        before.payment,
        status=Status.PROCESSING,
        certainty=Certainty.PENDING,
        channel=rerouted.attempt.channel,
        next_action=None,
        updated_at=rerouted.at,
    )
    standing = replace(before, payment=payment, version=before.version + 1)
    return Switch(standing=standing, rerouted=rerouted)
