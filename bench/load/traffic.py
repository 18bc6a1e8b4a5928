"""What a load run asks and what it was told: the mix of calls, and the generator's own log.

Pure, so that every generator can use it: `call` says what to send for an arrival, `heard` takes
its end.  The mix and the numbers decide everything that is drawn, so a run can be made again.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec
from msgspec import Struct

from bench.load.plan import Plan
from gateway.signing import Unsigned, sign

SHED = frozenset({429, 503})
# Another try with the same key is worth while: not yet answered, turned away, or no answer.
TRY_AGAIN = SHED | {0, 409}
_PAUSE_SECONDS = 0.1
_KNOWN_MAX = 5000
_ABOUT_EARLIER = frozenset({"read", "list", "refund"})


class Kind(Struct, frozen=True):
    """One kind of call; `token` is the script of a card payment.

    A `patient` kind answers late because its script says so: it stays out of the latency charts.
    """

    token: str | None = None
    patient: bool = False


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "pay": Kind("tok_ok"),
        "declined": Kind("tok_declined"),
        "no funds": Kind("tok_insufficient_funds"),
        "pending": Kind("tok_pending"),
        "slow": Kind("tok_latency_600", patient=True),
        "timeout, booked": Kind("tok_timeout_booked", patient=True),
        "timeout, lost": Kind("tok_timeout_lost", patient=True),
        "QR code": Kind(),
        "QR payer": Kind(),
        "read": Kind(),
        "list": Kind(),
        "refund": Kind(),
    }
)

# How often each kind comes, in thousandths.
MIXES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "sale": {
            "pay": 838,
            "declined": 40,
            "no funds": 20,
            "pending": 10,
            "timeout, booked": 1,
            "timeout, lost": 1,
            "QR code": 30,
            "read": 30,
            "list": 10,
            "refund": 20,
        },
        "storm": {"pay": 700, "declined": 50, "slow": 200, "timeout, booked": 20, "refund": 30},
    }
)


class Call(Struct, frozen=True):
    """One request to make; `number` is its arrival's, `at` the second when it was due."""

    number: int
    kind: str
    at: float
    request: Unsigned

    @property
    def is_to_acquirer(self) -> bool:
        """Tell whether this goes to the simulator: the payer of a QR code."""
        return self.kind == "QR payer"


class Answer(Struct, frozen=True, array_like=True):
    """A line of the generator's log: how one call ended.

    `statuses` has one HTTP status for each try, 0 where no answer came.  `id`, `state` and
    `amount` are those of the payment or refund that the last answer showed.
    """

    number: int
    kind: str
    statuses: tuple[int, ...]
    id: str = ""
    state: str = ""
    amount: int = 0


class _Action(Struct):
    qr: str | None = None


class _Shown(Struct):
    """What the generator reads of a payment or refund."""

    object: str = ""
    id: str = ""
    status: str = ""
    amount: int = 0
    next_action: _Action | None = None


_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(_Shown).decode


def reference_of(run: str, number: int) -> str:
    """Name an arrival's payment or refund; its idempotency key, too."""
    return f"{run}-{number}"


class Traffic:
    """Makes the calls of one plan and keeps the log of their answers."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        mix = MIXES[plan.mix]
        self._names, self._weights = list(mix), list(mix.values())
        self._known: deque[str] = deque(maxlen=_KNOWN_MAX)
        self._refundable: deque[str] = deque(maxlen=_KNOWN_MAX)
        self.answers: list[Answer] = []

    def call(self, number: int, at: float) -> Call:
        """Say what the arrival of this number asks for."""
        kind, amount = self._drawn(number)
        request = self._about_earlier(kind, number)
        if request is None:
            kind = "pay" if kind in _ABOUT_EARLIER else kind
            request = self._payment(kind, number, amount=amount)
        return Call(number, kind, at, request)

    def depends(self, number: int) -> bool:
        """Tell whether this arrival's call depends on earlier answers."""
        return self._drawn(number)[0] in _ABOUT_EARLIER

    def _drawn(self, number: int) -> tuple[str, int]:
        drawn = random.Random(f"{self._plan.seed}:{number}")
        return drawn.choices(self._names, self._weights)[0], drawn.randint(100, 90_000)

    def _about_earlier(self, kind: str, number: int) -> Unsigned | None:
        """Ask about a payment that was answered before, if there is one."""
        if kind == "list":
            return Unsigned("GET", "/v1/payments?limit=20")
        if kind == "read" and self._known:
            return Unsigned("GET", f"/v1/payments/{self._known[number % len(self._known)]}")
        if kind == "refund" and self._refundable:
            name = reference_of(self._plan.run, number)
            path = f"/v1/payments/{self._refundable.popleft()}/refunds"
            return Unsigned("POST", path, _encode({"amount": 50, "reference": name}), name)
        return None

    def _payment(self, kind: str, number: int, *, amount: int) -> Unsigned:
        name = reference_of(self._plan.run, number)
        token = KINDS[kind].token
        order = {
            "amount": amount,
            "currency": "CNY",
            "reference": name,
            "method": {"type": "card", "token": token} if token else {"type": "qr"},
            "description": "Two tickets for the late show, row seven",
            "payer": {"id": f"customer-{number % 5000}", "ip": "203.0.113.7"},
            "metadata": {"cart": f"c-{number}", "campaign": "flash-sale"},
        }
        return Unsigned("POST", "/v1/payments", _encode(order), name)

    def headers(self, call: Call, now: datetime) -> Mapping[str, str]:
        """Sign a call; the acquirer's payer signs nothing."""
        return {} if call.is_to_acquirer else sign(call.request, self._plan.credentials, now)

    def heard(self, call: Call, statuses: Sequence[int], body: bytes) -> Call | None:
        """Log how a call ended; gives what follows of it: the payer of a QR code."""
        if call.is_to_acquirer or call.kind == "list":
            return None
        shown = _read(body) if statuses[-1] in {200, 201} else _Shown()
        self.answers.append(
            Answer(
                *(call.number, call.kind, tuple(statuses)),
                *(shown.id, shown.status, shown.amount),
            )
        )
        if shown.object != "payment" or call.kind == "read":
            return None
        self._known.append(shown.id)
        if shown.status == "succeeded":
            self._refundable.append(shown.id)
        if shown.next_action is None or shown.next_action.qr is None:
            return None
        payer = Unsigned("POST", f"/pay/{shown.next_action.qr}")
        return Call(call.number, "QR payer", call.at, payer)


def pause_seconds(tries: int) -> float:
    """Say how long a client waits after so many tries before the next one."""
    return _PAUSE_SECONDS * 2.0**tries


def is_refused(answer: Answer) -> bool:
    """Tell whether every try was turned away, so that nothing may have begun."""
    return all(status in SHED for status in answer.statuses)
