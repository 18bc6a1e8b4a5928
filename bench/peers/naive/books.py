"""The naive gateway's tables and its two transactions, as most teams write them with an ORM.

Honest: the payment is on disk before the acquirer is asked, its money is moved in double entry, and
the merchant's balance is a row that everybody locks.
"""

import uuid
from datetime import UTC, datetime

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

COMMISSION_BPS = 60


class Base(DeclarativeBase):  # type: ignore[misc]  # SQLAlchemy is not looked into
    """Every table."""


class Balance(Base):
    """What an account has: one row for each, locked by whoever moves money."""

    __tablename__ = "balance"
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger, default=0)


class PaymentRow(Base):
    """A payment."""

    __tablename__ = "payment"
    __table_args__ = (
        UniqueConstraint("merchant", "reference"),
        UniqueConstraint("merchant", "idempotency_key"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    merchant: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str] = mapped_column(String(255))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(20))
    method: Mapped[str] = mapped_column(String(64))
    fee: Mapped[int] = mapped_column(BigInteger, default=0)
    channel_transaction: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class EntryRow(Base):
    """One line of a journal; those of a payment sum to zero."""

    __tablename__ = "entry"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"), index=True)
    account: Mapped[str] = mapped_column(String(64))
    amount: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class EventRow(Base):
    """The outbox: what the merchant has to hear."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"))
    type: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class ReferenceExists(Exception):
    """This order, or this key, has a payment already."""


class Books:
    """The two transactions of a payment."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def open(self, payment: PaymentRow) -> None:
        """Write the payment down before anybody is asked for money."""
        try:
            async with self._sessions.begin() as session:
                session.add(payment)
        except IntegrityError:
            raise ReferenceExists from None

    async def post(
        self, payment: PaymentRow, status: str, transaction: str | None, *, is_new: bool
    ) -> PaymentRow:
        """Move the money and tell of it, in one transaction under the lock of the balance."""
        now = datetime.now(UTC).replace(tzinfo=None)
        async with self._sessions.begin() as session:
            if is_new:
                session.add(payment)
            else:
                payment = await session.merge(payment, load=False)
            payment.status, payment.channel_transaction = status, transaction
            payment.updated_at = now
            session.add(EventRow(payment_id=payment.id, type=f"payment.{status}", created_at=now))
            if status == "succeeded":
                await self._move(session, payment, now)
        return payment

    async def _move(self, session: AsyncSession, payment: PaymentRow, now: datetime) -> None:
        payment.fee = (payment.amount * COMMISSION_BPS + 5000) // 10_000
        account = f"merchant:{payment.merchant}:{payment.currency}"
        lines = (
            ("acquirer", -payment.amount),
            (account, payment.amount - payment.fee),
            ("commission", payment.fee),
        )
        session.add_all(
            EntryRow(
                id=uuid.uuid4(),
                payment_id=payment.id,
                account=name,
                amount=amount,
                created_at=now,
            )
            for name, amount in lines
        )
        await session.flush()
        # The lock comes last, so that it is held for one update and the commit.
        locked = select(Balance).where(Balance.account == account).with_for_update()
        balance = (await session.execute(locked)).scalar_one()
        balance.amount += payment.amount - payment.fee
