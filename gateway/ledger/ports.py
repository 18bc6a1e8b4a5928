"""What the ledger needs from outside: books that take whole batches, and privacy."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gateway.domain.payment import Payment, Standing
from gateway.domain.refund import FurtherTransaction, Refund, RefundStanding
from gateway.domain.stages import (
    Attempt,
    Claimed,
    Heard,
    Opened,
    Posted,
    ReferenceTaken,
    RefundOpened,
    RefundPosted,
    RefundWish,
    Routed,
)
from gateway.ledger.drawn_rules import Begun
from gateway.ledger.refund_rules import RefundChange
from gateway.ledger.rules import Change
from gateway.ledger.switch_rules import Switch


class Privacy(Protocol):
    """Encrypts personal data; `context` binds it to its row."""

    def hide(self, plain: bytes, context: bytes) -> bytes: ...


class Posting(Protocol):
    """A change that can be posted: whose it is, of which payment, and the resource after it."""

    @property
    def merchant(self) -> int: ...
    @property
    def payment_id(self) -> str: ...
    @property
    def resource(self) -> Payment | Refund: ...


class Books(Protocol):
    """The durable books: a batch is one commit, and each item has its own result.

    `open_batch` gives `Opened`, or why not; `begin_batch` opens payments with their first change,
    and gives `Posted` or why not.  `post_batch` gives `Posted`, or None when the payment is no
    longer of the version that the change was made for; `switch_batch` likewise.
    """

    async def open_batch(
        self, batch: Sequence[Routed]
    ) -> Sequence[Opened | Heard | ReferenceTaken]: ...

    async def begin_batch(
        self, batch: Sequence[Begun]
    ) -> Sequence[Posted | Heard | ReferenceTaken]: ...

    async def post_batch(self, batch: Sequence[Change]) -> Sequence[Posted | None]: ...

    async def switch_batch(self, batch: Sequence[Switch]) -> Sequence[Posted | None]: ...

    async def heard(self, claimed: Claimed, *, wrote: bool = False) -> Heard | None: ...

    async def note_use(self, claimed: Claimed, payment_id: str) -> None: ...

    async def begin_cancel(self, claimed: Claimed, attempt: Attempt) -> bool: ...

    async def let_go(self, attempt: Attempt, at: datetime) -> None: ...

    async def note_returned(self, attempt: Attempt, at: datetime) -> None: ...

    async def opened(self, merchant: int, attempt_id: str) -> Opened | None: ...

    async def standing(self, merchant: int, payment_id: str) -> Standing | None: ...

    async def attempt_of(self, merchant: int, payment_id: str) -> Attempt | None: ...


class RefundBooks(Protocol):
    """The durable books of refunds, in batches like those of payments.

    `refund_batch` gives None for a refund that was planned on what is no longer so.
    """

    async def refund_batch(
        self, batch: Sequence[RefundWish]
    ) -> Sequence[RefundOpened | Heard | ReferenceTaken | None]: ...

    async def post_batch(self, batch: Sequence[RefundChange]) -> Sequence[RefundPosted | None]: ...

    async def give_back_batch(self, batch: Sequence[RefundStanding]) -> None: ...

    async def further_of(self, merchant: int, payment_id: str) -> list[FurtherTransaction]: ...

    async def refund(self, merchant: int, refund_id: str) -> RefundStanding | None: ...

    async def refunds_of(self, merchant: int, payment_id: str) -> list[RefundStanding]: ...
