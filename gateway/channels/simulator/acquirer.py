"""The simulated acquirer itself: what each call does to its books, and what it is told."""

import asyncio
import sys
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec.structs import replace

from gateway.channels.simulator.books import Books
from gateway.channels.simulator.entries import OPEN, Payment, Refund, Status
from gateway.channels.simulator.messages import CaptureOrder, Message, Order, RefundOrder, Report
from gateway.channels.simulator.notices import Notifier, is_loopback
from gateway.channels.simulator.scripts import (
    TAKEN_AGAIN,
    Letter,
    Script,
    Told,
    Truth,
    name_of,
    named,
)
from gateway.drivers.clock import Clock

_QR_PREFIX: Final = "qr_"
_WAITING: Final = frozenset({Truth.LATER, Truth.NEVER})
_FIRST: Final = {Truth.WHEN_PAID: Status.REQUIRES_ACTION, Truth.DECLINED: Status.DECLINED}
# Members that are asked for every payment, here without the way through their classes.
_AT_ONCE: Final = Truth.AT_ONCE
_LOST: Final = Truth.LOST
_TRUTH: Final = Told.TRUTH
_PENDING: Final = Status.PENDING
_REQUIRES_ACTION: Final = Status.REQUIRES_ACTION


class Refused(Exception):
    """An answer other than 200: the HTTP status and the word for it."""

    def __init__(self, status: int, word: str) -> None:
        self.status = status
        self.word = word
        super().__init__(word)


class Acquirer:
    """Answers with a report, with None where the script is silent, or by raising `Refused`."""

    def __init__(
        self,
        books: Books,
        notifier: Notifier,
        *,
        clock: Clock,
        delay_ms: int,
        notify_anywhere: bool,
    ) -> None:
        self._books = books
        self._notifier = notifier
        self._clock = clock
        self._delay_ms = delay_ms
        self._notify_anywhere = notify_anywhere
        self._ripening: dict[str, asyncio.Task[None]] = {}
        for payment in books.due():
            self._ripen_later(payment)

    async def close(self) -> None:
        """Leave what is due to the next start."""
        tasks = list(self._ripening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def create(self, order: Order) -> Report | None:
        """Take or authorize money; the same number and parameters get the same answer again."""
        name = name_of(order.method)
        script = named(name)
        payment = self._books.payment(order.number)
        if self._books.is_closed(order.number):
            raise Refused(409, "closed")
        if payment is None and script.truth is not _LOST:
            payment = self._open(order, name, script)
        elif payment is not None and not _is_same(payment, order, name):
            raise Refused(409, "number_used")
        if payment is not None and script.told is _TRUTH:
            return self._report(payment)
        if script.told is Told.SILENCE:
            return None
        if script.told is Told.ERROR:
            raise Refused(500, "internal_error")
        if payment is None:
            raise Refused(404, "not_found")
        return self._report(payment)

    def ripening(self, number: str) -> asyncio.Task[None] | None:
        """Give what a caller has to wait for before it may hear how a payment stands."""
        ripening = self._ripening.get(number)
        if ripening is None or named(self._known(number).script).told is not Told.PATIENTLY:
            return None
        return ripening

    def query(self, number: str) -> Report:
        """Say how a payment stands."""
        if self._books.is_closed(number):
            return Report(number, Status.CLOSED)
        return self._report(self._known(number))

    def close_payment(self, number: str) -> Report:
        """Close a payment for good unless it is paid; a number without one is closed as well."""
        payment = self._books.payment(number)
        if payment is None:
            if not self._books.is_closed(number):
                self._books.close_number(number)
            return Report(number, Status.CLOSED)
        if payment.status is Status.SUCCEEDED and named(payment.script).returns:
            return self._report(self._books.take_back(payment, self._clock.now()))
        if payment.status is Status.SUCCEEDED:
            return replace(self._report(payment), code="already_paid")
        if payment.status in OPEN:
            is_late = named(payment.script).truth is Truth.WHEN_CLOSED and not payment.transaction
            due = self._after(self._delay_ms) if is_late else None
            payment = self._books.record(replace(payment, status=Status.CLOSED, due=due))
            if is_late:
                self._ripen_later(payment)
        return self._report(payment)

    def capture(self, number: str, order: CaptureOrder) -> Report:
        """Take what was authorized or a part of it, once."""
        payment = self._known(number)
        if order.currency != payment.currency:
            raise Refused(400, "invalid_request")
        if payment.status is Status.SUCCEEDED and payment.booked == order.amount:
            return self._report(payment)
        if payment.status is Status.SUCCEEDED:
            raise Refused(409, "already_captured")
        if payment.status is Status.CLOSED:
            raise Refused(409, "closed")
        if payment.status is not Status.AUTHORIZED:
            raise Refused(409, "not_authorized")
        if order.amount > payment.amount:
            raise Refused(409, "capture_exceeded")
        return self._report(self._books.record(payment.captured(order.amount, self._clock.now())))

    def refund(self, number: str, order: RefundOrder) -> Report | None:
        """Give money back; the same refund number and parameters get the same answer again."""
        payment = self._known(number)
        script = named(payment.script)
        refund = self._books.refund(number, order.refund_number)
        if refund is None:
            refund = self._give_back(payment, order, script.refund_failure)
        elif not _is_same_refund(refund, order):
            raise Refused(409, "number_used")
        return None if script.refund_told is Told.SILENCE else _refund_report(refund)

    def query_refund(self, number: str, refund_number: str) -> Report:
        """Say how a refund stands."""
        refund = self._books.refund(number, refund_number)
        if refund is None:
            raise Refused(404, "not_found")
        return _refund_report(refund)

    def pay(self, qr: str, *, again: bool = False, silently: bool = False) -> Report:
        """Play the payer who scans a QR code; a second time changes nothing.

        Unless he pays `again`, what was paid before.  The notice of it may get lost (`silently`).
        """
        payment = self._known(qr.removeprefix(_QR_PREFIX))
        if named(payment.script).truth is not Truth.WHEN_PAID:
            raise Refused(404, "not_found")
        if payment.status is Status.CLOSED:
            raise Refused(409, "closed")
        if payment.status is Status.REQUIRES_ACTION:
            if payment.expires_at is not None and payment.expires_at <= self._clock.now():
                raise Refused(409, "expired")
            payment = self._approve(payment, silently=silently)
        elif again and payment.status is Status.SUCCEEDED:
            payment = self._take_again(payment, silently=silently)
        return self._report(payment)

    def _known(self, number: str) -> Payment:
        payment = self._books.payment(number)
        if payment is None:
            raise Refused(404, "not_found")
        return payment

    def _report(self, payment: Payment) -> Report:
        waits_for_payer = payment.status is _REQUIRES_ACTION
        again = None
        if payment.script in TAKEN_AGAIN:
            again = tuple(self._books.taken(payment)[1:])
        return Report(
            payment.number,
            payment.status,
            amount=payment.booked or payment.amount,
            currency=payment.currency,
            transaction=payment.transaction,
            code=payment.code,
            qr=_QR_PREFIX + payment.number if waits_for_payer else None,
            booked_at=payment.booked_at,
            again=again,
        )

    def _open(self, order: Order, name: str, script: Script) -> Payment:
        if not (self._notify_anywhere or is_loopback(order.notify_url)):
            raise Refused(400, "invalid_request")
        due = None
        if script.truth in _WAITING:
            due = self._after(self._delay_ms if script.delay_ms is None else script.delay_ms)
        # A million payments share a handful of these words.
        payment = Payment(
            number=order.number,
            amount=order.amount,
            currency=sys.intern(order.currency),
            script=sys.intern(name),
            capture=order.capture,
            notify_url=sys.intern(order.notify_url),
            status=_FIRST.get(script.truth, _PENDING),
            expires_at=order.expires_at,
            due=due,
            code=script.decline,
        )
        if script.truth is _AT_ONCE:
            payment = self._approve(payment)
        else:
            payment = self._books.record(payment)
        if payment.due is not None:
            self._ripen_later(payment)
        return payment

    def _approve(self, payment: Payment, *, silently: bool = False) -> Payment:
        transaction = self._books.identify(payment.number)
        payment = payment.approved(transaction, self._clock.now())
        script = named(payment.script)
        if script.again and payment.status is Status.SUCCEEDED:
            payment = self._planned_again(payment)
        payment = self._books.record(payment)
        if script.notices and not silently:
            self._notify(payment, transaction)
        return payment

    def _planned_again(self, payment: Payment) -> Payment:
        is_left = payment.again < named(payment.script).again
        if not is_left and payment.due is None:
            return payment
        return replace(payment, due=self._after(self._delay_ms) if is_left else None)

    def _take_again(self, payment: Payment, *, silently: bool = False) -> Payment:
        payment = self._planned_again(replace(payment, again=payment.again + 1))
        transaction = self._books.identify_again(payment.number, payment.again)
        payment = self._books.book_again(payment, transaction, self._clock.now())
        if not silently:
            self._notify(payment, transaction)
        return payment

    def _give_back(self, payment: Payment, order: RefundOrder, failure: str | None) -> Refund:
        if order.currency != payment.currency:
            raise Refused(400, "invalid_request")
        transaction = order.transaction or payment.transaction
        if transaction not in self._books.taken(payment):
            raise Refused(409, "not_paid")
        if order.amount > self._books.left(payment, transaction):
            raise Refused(409, "refund_exceeded")
        number, amount = order.refund_number, order.amount
        if failure is not None:
            return self._books.refuse_refund(
                payment, number, amount=amount, code=failure, transaction=transaction
            )
        now = self._clock.now()
        return self._books.give_back(
            payment, number, amount=amount, now=now, transaction=transaction
        )

    def _after(self, delay_ms: int) -> datetime:
        return self._clock.now() + timedelta(milliseconds=delay_ms)

    def _ripen_later(self, payment: Payment) -> None:
        number = payment.number
        self._ripening[number] = asyncio.create_task(self._ripen(payment))
        self._ripening[number].add_done_callback(lambda _: self._ripening.pop(number, None))

    async def _ripen(self, payment: Payment) -> None:
        """Let a script go on by itself when it is due, unless the payment was closed meanwhile."""
        while payment.due is not None:
            await asyncio.sleep((payment.due - self._clock.now()).total_seconds())
            payment = self._known(payment.number)
            if payment.due is not None:
                payment = self._go_on(payment)

    def _go_on(self, payment: Payment) -> Payment:
        if payment.status is Status.SUCCEEDED:
            return self._take_again(payment)
        if named(payment.script).truth is not Truth.NEVER:
            return self._approve(payment)
        payment = self._books.record(replace(payment, due=None))
        self._notify(payment, self._books.identify(payment.number))
        return payment

    def _notify(self, payment: Payment, transaction: str) -> None:
        """Send the script's notices of a transaction.

        One that never comes about is told as a success all the same.
        """
        letters = named(payment.script).notices
        report = replace(self._report(payment), transaction=transaction)
        if payment.transaction is None:
            report = replace(report, status=Status.SUCCEEDED)
        message_id = self._books.identify(payment.number, "notice", *_nth(payment))
        for letter in letters:
            wrong = letter is Letter.WRONG_AMOUNT
            told = replace(report, amount=payment.amount + 1) if wrong else report
            forged = letter is Letter.FORGED
            send = partial(self._notifier.send, payment.notify_url, forged=forged)
            self._books.when_kept(send, Message(message_id, told))


def _nth(payment: Payment) -> list[str]:
    return [str(payment.again)] if payment.again else []


def _is_same(payment: Payment, order: Order, name: str) -> bool:
    """Tell whether an order repeats the payment's own; where to notify may change."""
    return (payment.amount, payment.currency, payment.script, payment.capture) == (
        order.amount,
        order.currency,
        name,
        order.capture,
    )


def _is_same_refund(refund: Refund, order: RefundOrder) -> bool:
    """Tell whether an order repeats the refund's own."""
    same = (refund.amount, refund.currency) == (order.amount, order.currency)
    return same and order.transaction in {None, refund.given_of}


def _refund_report(refund: Refund) -> Report:
    return Report(
        number=refund.number,
        status=refund.status,
        refund_number=refund.refund_number,
        amount=refund.amount,
        currency=refund.currency,
        transaction=refund.transaction,
        code=refund.code,
        booked_at=refund.booked_at,
    )
