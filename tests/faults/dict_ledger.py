"""An independent little ledger of one payment, in dicts and plain words: the model check's oracle.

It shares nothing with the gateway but the contract, so where the two agree for thousands of random
lives, either both are right or both authors made the same mistake.
"""

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

COMMISSION_BPS = 60
CHANNEL_BPS = 30

_ENDED = ("failed", "canceled", "expired")
_OPEN = ("processing", "requires_action")
_BORN = ("processing", "pending", 0, 0)


def bps(amount: int, points: int) -> int:
    """Basis points of an amount, rounded half up."""
    exact = Decimal(amount) * points / 10_000
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


class DictLedger:
    """One payment of `amount`; `balances` are debits less credits by account code."""

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.status = "processing"
        self.certainty: str | None = "pending"
        self.captured = self.refunded = self.fee = 0
        self.asked: int | None = None
        self.wants_cancel = False
        self.is_known = False
        self.transaction: str | None = None
        self.was_returned = False
        self.further: list[str] = []
        self.balances: dict[str, int] = defaultdict(int)

    def hear(
        self, verdict: str, amount: int | None, transaction: str | None, *, is_over: bool
    ) -> bool:
        """Hear the channel; tells whether that was news."""
        before = (self.status, self.certainty, self.captured, len(self.further))
        if verdict == "returned":
            self._give_all_back(is_over=is_over)
        elif self.captured or self._is_beside(verdict, transaction):
            if verdict == "succeeded":
                self._take_again(amount, transaction)
        elif not self._fits(verdict, amount):
            if verdict == "succeeded" or self.status not in _ENDED:
                self._become("requires_review")
        elif verdict == "succeeded":
            self._take(self.asked or self.amount)
        elif self.status not in _ENDED:
            self._hear_of_no_money(verdict, is_over=is_over)
        after = (self.status, self.certainty, self.captured, len(self.further))
        # That a payment is processing is news once, although it was born so.
        is_news = before != after or (not self.is_known and after == _BORN and verdict == "pending")
        if is_news:
            self.is_known = True
            if before[2] < self.captured:
                self.transaction = transaction or self.transaction
            self.transaction = self.transaction or transaction
        return is_news

    def _fits(self, verdict: str, amount: int | None) -> bool:
        taken, held = self.asked or self.amount, self.amount
        meant = {"succeeded": {taken}, "authorized": {held}}.get(verdict, {taken, held})
        return amount is None or amount in meant

    def _hear_of_no_money(self, verdict: str, *, is_over: bool) -> None:
        was_canceled = self.wants_cancel or not is_over
        match verdict, self.status:
            case "authorized", "processing" | "requires_action" | "requires_review":
                if self.asked is None and not self.was_returned:
                    self._become("requires_capture")
            case "requires_action", "processing":
                if self.asked is None:
                    self._become("requires_action")
            case "pending", "processing":
                self._become("processing", "pending")
            case "not_found" | "unknown", "processing":
                self._become("processing", "unknown")
            case "failed", _:
                self._become("failed")
            case "closed", _ if was_canceled:
                self._become("canceled")
            case "closed", _:
                self._become("expired")

    def _become(self, status: str, certainty: str | None = None) -> None:
        self.status, self.certainty = status, certainty
        if status == "requires_capture":
            self.asked = None

    def _take(self, amount: int) -> None:
        """Money came: to the merchant less our commission, or late and into suspense.

        What the channel gave back is not there any more, however late it is told of.
        """
        if self.was_returned:
            return
        is_late = self.status in _ENDED
        self.captured = amount
        self._move("1121", "2221" if is_late else "2201", amount)
        self._move("5001", "1121 fees", bps(amount, CHANNEL_BPS))
        self._become("requires_review" if is_late else "succeeded")
        if not is_late:
            self._earn()

    def _give_all_back(self, *, is_over: bool) -> None:
        """The channel gave back by itself whatever was paid: nobody has earned anything."""
        self.was_returned = True
        if not self.captured:
            if self.status not in _ENDED:
                self._hear_of_no_money("closed", is_over=is_over)
            return
        self._move("2221" if self.status == "requires_review" else "2201", "1121", self.captured)
        self._move("1121 fees", "5001", bps(self.captured, CHANNEL_BPS))
        self._move("4001", "2201", self.fee)
        self.captured = self.fee = 0
        self._become("canceled")

    def _is_beside(self, verdict: str, transaction: str | None) -> bool:
        return verdict == "succeeded" and self.was_returned and self._is_another(transaction)

    def _is_another(self, transaction: str | None) -> bool:
        known = {None, self.transaction, *self.further}
        return self.transaction is not None and transaction not in known

    def _take_again(self, amount: int | None, transaction: str | None) -> None:
        """Another transaction for the same attempt: its money belongs to nobody yet."""
        if transaction is not None and self._is_another(transaction):
            self.further.append(transaction)
            self._move("1121", "2221", amount or self.asked or self.amount)

    def _earn(self) -> None:
        self.fee = bps(self.captured, COMMISSION_BPS)
        self._move("2201", "4001", self.fee)

    def _move(self, debit: str, credit: str, amount: int) -> None:
        self.balances[debit] += amount
        self.balances[credit] -= amount

    def capture(self, amount: int) -> bool:
        """The merchant asks for a capture; tells whether that may be."""
        allowed = self.status == "requires_capture" and not self.wants_cancel
        if allowed := allowed and 0 < amount <= self.amount:
            self._become("processing", "pending")
            self.asked = amount
        return allowed

    def cancel(self) -> None:
        """The merchant wants no more of it, unless it is being captured."""
        if self.status in (*_OPEN, "requires_capture") and self.asked is None:
            self.wants_cancel = True

    def adopt(self) -> bool:
        """Late money is taken as the order's; tells whether there was any."""
        if self.status != "requires_review" or not self.captured:
            return False
        self._move("2221", "2201", self.captured)
        self._become("succeeded")
        self._earn()
        return True
