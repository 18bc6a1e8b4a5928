"""The objects of Stripe's API as far as we read them (version 2025-03-31.basil)."""

from collections.abc import Mapping

from msgspec import Struct


class Charge(Struct, frozen=True):
    """What an intent made of a card: here only when."""

    id: str
    created: int


class RedirectTo(Struct, frozen=True):
    """Where the payer proves who he is."""

    url: str


class NextStep(Struct, frozen=True):
    """What the payer has to do."""

    type: str
    redirect_to_url: RedirectTo | None = None


class LastError(Struct, frozen=True):
    """Why the last try with a card failed."""

    code: str | None = None
    decline_code: str | None = None
    type: str | None = None


class Intent(Struct, frozen=True, kw_only=True):
    """A PaymentIntent; amounts as Stripe counts them, `currency` in lower case."""

    id: str
    status: str
    amount: int
    currency: str
    amount_received: int | None = None
    client_secret: str | None = None
    metadata: Mapping[str, str] = {}
    latest_charge: Charge | str | None = None
    next_action: NextStep | None = None
    last_payment_error: LastError | None = None

    def __repr__(self) -> str:
        return f"Intent({self.id} {self.status})"


class Refund(Struct, frozen=True, kw_only=True):
    """A refund of an intent."""

    id: str
    status: str | None
    amount: int
    currency: str
    created: int
    metadata: Mapping[str, str] = {}
    failure_reason: str | None = None


class Intents(Struct, frozen=True):
    """What a search found."""

    data: tuple[Intent, ...]
    has_more: bool


class Refunds(Struct, frozen=True):
    """The refunds of an intent, newest first."""

    data: tuple[Refund, ...]
    has_more: bool


class Error(Struct, frozen=True, kw_only=True):
    """What Stripe would not do, and how the intent stands that it would not do it to."""

    type: str
    code: str | None = None
    decline_code: str | None = None
    payment_intent: Intent | None = None


class Refusal(Struct, frozen=True):
    """The body of every refusal."""

    error: Error


class Kind(Struct, frozen=True):
    """What an event is about."""

    object: str


class Told(Struct, frozen=True):
    """The data of an event of which only the kind is read."""

    object: Kind


class Event(Struct, frozen=True):
    """An event before we know what it is about."""

    id: str
    data: Told


class IntentTold(Struct, frozen=True):
    """The data of an event about an intent."""

    object: Intent


class IntentEvent(Struct, frozen=True):
    """An event about an intent."""

    data: IntentTold


class RefundTold(Struct, frozen=True):
    """The data of an event about a refund."""

    object: Refund


class RefundEvent(Struct, frozen=True):
    """An event about a refund."""

    data: RefundTold
