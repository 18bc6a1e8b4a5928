"""What the seed decides: every merchant's story and every fault, before anything runs.

The same seed and size give the same stories and faults at the same offsets.  They do not give the
same interleaving: processes are real, and which instruction a kill or a packet meets is up to the
operating system.  A seed therefore replays a run's plan and, nearly always, its trouble.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Verb = Literal[
    "pay", "settle", "capture", "cancel", "refund", "sync", "reuse", "reference", "pay again"
]

TOKENS: Final = {
    "tok_ok": 20,
    "tok_declined": 2,
    "tok_insufficient_funds": 1,
    "tok_expired_card": 1,
    "tok_timeout_booked": 3,
    "tok_timeout_lost": 2,
    "tok_error_booked": 3,
    "tok_pending": 5,
    "tok_pending_lost_notice": 4,
    "tok_duplicate_notice": 5,
    "tok_wrong_amount_notice": 2,
    "tok_forged_notice": 2,
    "tok_late_success": 4,
    "tok_late_lost_notice": 3,
    "tok_close_returns": 6,
    "tok_late_thrice": 3,
    "tok_paid_twice": 4,
    "tok_twice_refund_unknown": 3,
    "tok_twice_refund_fails": 3,
    "tok_refund_unknown": 4,
    "tok_refund_fails": 3,
    "tok_latency_200": 5,
    "tok_latency_1500": 2,
    "qr": 8,
}
POLICIES: Final = ("review", "adopt", "refund")
FAULTS: Final = (
    "kill gateway",
    "kill gateway between steps",
    "kill worker",
    "kill worker between steps",
    "kill acquirer",
    "kill postgres",
    "crash a database session",
    "kill redis",
    "flush redis",
    "freeze redis",
    "lose a commit",
    "lose an acquirer's answer",
    "cut the wires",
    "shut the first door",
    "hang the database",
)
# Those of a long run alone, for they take their time: afterwards all that stood still is caught up.
SOAK_FAULTS: Final = ("stop gateway", "stop worker", "cancel statements")
_ENDS_BY_ITSELF: Final = ("tok_declined", "tok_insufficient_funds", "tok_expired_card")


@dataclass(frozen=True)
class Act:
    """Something a merchant or payer does; `amount` in fen, None for all there is."""

    verb: Verb
    amount: int | None = None


@dataclass(frozen=True)
class Story:
    """One payment: what is asked when, by whom, how often at once, and what is done to it then.

    The acts of one scene happen at the same moment, the scenes one after another.
    """

    number: int
    at: float
    shop: int
    token: str
    amount: int
    manual: bool
    open_seconds: float
    twins: int
    is_impatient: bool
    scenes: tuple[tuple[Act, ...], ...]

    def acts(self, verb: Verb) -> list[Act]:
        """Everything of one kind that is done in this story."""
        return [act for scene in self.scenes for act in scene if act.verb == verb]


@dataclass(frozen=True)
class Fault:
    """One fault: when, what, to which of several processes, at which step, and for how long."""

    at: float
    kind: str
    target: int
    step: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    stories: tuple[Story, ...]
    faults: tuple[Fault, ...]


def plan(
    seed: int,
    *,
    seconds: float,
    payments: int,
    faults: int,
    of: Sequence[str] = FAULTS,
) -> Plan:
    """Plan this many payments and faults within these seconds; every token and kind comes up."""
    chance = random.Random(seed)
    tokens = [*TOKENS, *chance.choices(list(TOKENS), [*TOKENS.values()], k=payments - len(TOKENS))]
    chance.shuffle(tokens)
    kinds = [*of, *chance.choices(of, k=max(0, faults - len(of)))]
    chance.shuffle(kinds)
    return Plan(
        seed,
        tuple(
            _story(chance, number, token, at=seconds * number / payments)
            for number, token in enumerate(tokens)
        ),
        tuple(
            Fault(
                at=seconds * (number + chance.random()) / len(kinds),
                kind=kind,
                target=chance.randrange(2),
                step=chance.randrange(1000),
                seconds=chance.uniform(0.2, 1.2),
            )
            for number, kind in enumerate(kinds)
        ),
    )


def _story(chance: random.Random, number: int, token: str, *, at: float) -> Story:
    amount = chance.choice((1, 3, 99, 100, 1999, 10_000, chance.randrange(1, 500_000)))
    manual = token not in _ENDS_BY_ITSELF and chance.random() < 0.2
    return Story(
        number=number,
        at=at,
        shop=chance.randrange(len(POLICIES)),
        token=token,
        amount=amount,
        manual=manual,
        open_seconds=chance.uniform(5, 9),
        twins=chance.choice((1, 1, 1, 1, 1, 2, 5)),
        is_impatient=chance.random() < 0.1,
        scenes=tuple(_scenes(chance, token, amount, manual=manual)),
    )


def _scenes(
    chance: random.Random, token: str, amount: int, *, manual: bool
) -> list[tuple[Act, ...]]:
    scenes: list[tuple[Act, ...]] = []
    if chance.random() < 0.05:
        scenes.append((Act("reuse"), Act("reference")))
    if token == "qr" and chance.random() < 0.8:
        scenes.append((Act("pay"), *([Act("cancel")] if chance.random() < 0.15 else [])))
    # Half of these are canceled in the moment in which they are paid.
    if chance.random() < (0.5 if token == "tok_close_returns" else 0.05):
        scenes.append((Act("cancel"), Act("sync")))
    scenes.append((Act("settle"),))
    if token == "qr" and chance.random() < 0.4:
        scenes.append((Act("pay again"),) * chance.choice((1, 1, 2)))
    if manual:
        scenes += _captures(chance, amount)
    if chance.random() < 0.4 or "refund" in token:
        scenes += _refunds(chance, amount)
    return scenes


def _captures(chance: random.Random, amount: int) -> list[tuple[Act, ...]]:
    part = chance.choice((None, amount, max(1, amount // 3)))
    capture, cancel, sync = Act("capture", part), Act("cancel"), Act("sync")
    what: tuple[tuple[tuple[Act, ...], ...], ...] = (
        ((capture,),),
        ((capture,), (sync,)),
        ((capture, sync),),
        ((capture, Act("capture", amount)),),
        ((capture, cancel),),
        ((cancel,),),
        ((sync,),),
        (),
    )
    return list(chance.choice(what))


def _refunds(chance: random.Random, amount: int) -> list[tuple[Act, ...]]:
    """Some in one go, some beside each other; together they may ask for more than there is."""
    parts = [Act("refund", chance.randrange(1, amount + 1)) for _ in range(chance.randrange(3))]
    if chance.random() < 0.5:
        parts.append(Act("refund"))
    return [tuple(parts)] if chance.random() < 0.5 else [(part,) for part in parts]
