"""The ledger's writer alone: transfers per second with balances, beside a bare COPY of the rows.

    python -m bench.ledger [--batches 100 500 2000 8000] [--transfers 200000] [--rounds 3]

What is timed is the part of the posting statement that writes transfers and folds balances, on one
connection with fsync on, which writes arrays as the gateway's do.  Every transfer is one of the
three of a capture, and all captures are one merchant's: each batch changes the same hot accounts.
The COPY writes the same rows, encoded before the clock starts, into a table with the same primary
key and checks and without balances.  Both take turns, and the medians count.  Ends by proving every
balance.
"""

import argparse
import asyncio
import io
import statistics
import struct
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import uvloop

from bench.aims import Aim, at_least, parser_of, tell
from bench.load.options import one_or_more
from bench.load.stack import own_folder
from gateway.domain import identity
from gateway.domain.posting import JournalKind
from gateway.drivers.arrays import write_natively
from gateway.drivers.embedded import Servers
from gateway.drivers.migrations import migrate
from gateway.drivers.processes import Supervisor
from gateway.ledger import statements
from gateway.ledger.chart import FEES, Account, Code
from gateway.ledger.codec import columns

_LEGS = 3
_SHARES = {2000: 0.5}
# What TigerBeetle did on the same kind of machine, transfers a second by batch.
_TIGERBEETLE = {500: 69_000, 2000: 127_000, 8000: 218_000}
_COLUMNS: statements.Columns = (
    ("merchant_id", "bigint"),
    ("payment_id", "uuid"),
    ("at", "timestamptz"),
    ("journal_id", "uuid"),
    ("kind", "smallint"),
    ("currency", "text"),
    *statements.LEGS,
)
_WRITE = f"""
WITH {statements.input_of(_COLUMNS)}, moved AS (SELECT * FROM input), {statements.POSTED}
SELECT count(*) FROM moved
"""
_BARE = """
DROP TABLE IF EXISTS bare;
CREATE TABLE bare (LIKE transfer INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
"""
_UNEQUAL = """
SELECT count(*) FROM account a
  JOIN (SELECT merchant_id, account, sum(amount) FILTER (WHERE direction = 'debit') AS debits,
               sum(amount) FILTER (WHERE direction = 'credit') AS credits
          FROM entry GROUP BY merchant_id, account) AS e
    ON e.merchant_id = a.merchant_id AND e.account = a.account
 WHERE (a.debits_posted, a.credits_posted) <> (coalesce(e.debits, 0), coalesce(e.credits, 0))
"""
_MERCHANT = 7
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Row = tuple[Any, ...]


def captures(count: int, now: datetime) -> list[Row]:
    """Make captures as the columns that the writer takes: three transfers each."""
    receivable, fees, pending, commission, cost = (
        account.number
        for account in (
            Account(Code.CHANNEL_RECEIVABLE, "CNY", "simulator"),
            Account(Code.CHANNEL_RECEIVABLE, "CNY", "simulator", FEES),
            Account(Code.MERCHANT_PENDING, "CNY"),
            Account(Code.COMMISSION_INCOME, "CNY"),
            Account(Code.CHANNEL_FEE_COST, "CNY", "simulator"),
        )
    )
    milliseconds = int(now.timestamp() * 1000)
    rows = []
    for number in range(count):
        payment = identity.uuid_of(identity.mint("pay", _MERCHANT, milliseconds))
        attempt = identity.mint("att", _MERCHANT, milliseconds)
        journal = identity.journal_uuid(attempt, JournalKind.CAPTURE)
        amount = 1000 + number % 500
        legs = (receivable, pending, amount, receivable, commission, 6, cost, fees, 3)
        rows.append((_MERCHANT, payment, now, journal, int(JournalKind.CAPTURE), "CNY", *legs))
    return rows


def encoded(rows: Sequence[Row]) -> bytes:
    """Write the transfers of these captures in PostgreSQL's binary COPY format."""
    parts = [b"PGCOPY\n\xff\r\n\0", bytes(8)]
    for merchant, payment, at, journal, kind, currency, *legs in rows:
        moment = round((at - _EPOCH).total_seconds() * 1_000_000)
        for leg in range(_LEGS):
            debit, credit, amount = legs[3 * leg : 3 * leg + 3]
            parts.append(
                struct.pack(
                    ">hiqi16sihi16sihiqiqiqi3siq",
                    *(10, 8, merchant, 16, bytes.fromhex(journal), 2, leg),
                    *(16, bytes.fromhex(payment), 2, kind, 8, debit, 8, credit, 8, amount),
                    *(3, currency.encode(), 8, moment),
                )
            )
    parts.append(b"\xff\xff")
    return b"".join(parts)


async def write(connection: Any, batches: Sequence[list[Row]]) -> float:
    """Write these batches as the ledger does; gives the seconds."""
    ready = [columns(batch) for batch in batches]
    began = time.perf_counter()
    for batch in ready:
        await connection.fetchval(_WRITE, *batch)
    return time.perf_counter() - began


async def copy(connection: Any, batches: Sequence[list[Row]]) -> float:
    """Copy the same rows into the bare table; gives the seconds."""
    ready = [encoded(batch) for batch in batches]
    began = time.perf_counter()
    for batch in ready:
        await connection.copy_to_table("bare", source=io.BytesIO(batch), format="binary")
    return time.perf_counter() - began


async def compare(url: str, given: argparse.Namespace) -> list[Aim]:
    """Measure both in turn for each size of batch; gives both beside what they should be."""
    aims = []
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    await write_natively(connection)
    await connection.execute(_BARE)
    for size in given.batches:
        rates: dict[str, list[float]] = {"ledger": [], "copy": []}
        for _ in range(given.rounds):
            count = max(size // _LEGS, 1)
            batches = [
                captures(count, datetime.now(UTC))
                for _ in range(max(given.transfers // (count * _LEGS), 3))
            ]
            done = count * _LEGS * len(batches)
            await connection.execute("TRUNCATE bare, transfer, account")
            await connection.execute("CHECKPOINT")
            rates["ledger"].append(done / await write(connection, batches))
            rates["copy"].append(done / await copy(connection, batches))
        ledger, bare = (statistics.median(each) for each in rates.values())
        print(
            f"batches of {count * _LEGS:>5}: ledger {ledger:>9,.0f} transfers/s"
            f"   COPY {bare:>9,.0f} rows/s   ratio {ledger / bare:.2f}"
        )
        if size in _SHARES:
            name = f"ledger alone over COPY, batches of {size:,}"
            aims.append(at_least(name, ledger / bare, _SHARES[size]))
        if size in _TIGERBEETLE:
            name = f"ledger alone beside TigerBeetle, batches of {size:,}, transfers a second"
            aims.append(at_least(name, ledger, _TIGERBEETLE[size]))
    assert await connection.fetchval(_UNEQUAL) == 0, "a balance is not the sum of its entries"
    await connection.close()
    return aims


def main() -> None:
    """Run it on a PostgreSQL of its own."""
    parser = parser_of(__doc__)
    parser.add_argument("--batches", type=one_or_more, nargs="+", default=[100, 500, 2000, 8000])
    parser.add_argument("--transfers", type=one_or_more, default=200_000, help="of each run")
    parser.add_argument("--rounds", type=one_or_more, default=3)
    given = parser.parse_args()
    with (
        own_folder() as folder,
        Servers(folder / "data") as servers,
        Supervisor() as supervisor,
    ):
        supervisor.start(servers.postgres())
        asyncio.run(migrate(servers.owner_url))
        aims = uvloop.run(compare(servers.owner_url, given))
    tell(aims, given.aims)


if __name__ == "__main__":
    main()
