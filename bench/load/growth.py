"""What a payment costs when many are stored: CPU time at ten thousand beside that at a million.

    python -m bench.load.growth [--stored 10000 1000000] [--seconds 6] [--rounds 3]

The stored payments are written by SQL with everything that a payment leaves behind, all of one
merchant, and with keys and references in no order, so that the indexes are as wide as in life.
They are no part of the acquirer's books, so `floodgate proofs` would hold them against us.  What is
paid must succeed, and in the end it is held beside the acquirer's books by itself.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import uvloop

from bench.aims import Aim, at_most, parser_of, tell
from bench.load import requests
from bench.load.capacity import REFUSED, Measured, Target, pay
from bench.load.options import above_zero, one_or_more
from bench.load.stack import Stack, own_folder, stack
from gateway.drivers.embedded import OWNER
from gateway.ledger.proofs import read_books

_STEP = 100_000
_GROWTH_MAX = 1.2
_IDS = """
CREATE TEMP TABLE fresh AS
SELECT merchant_id, n, time || '7000' || tail AS payment, time || '7001' || tail AS attempt,
       md5(n::text) AS name, timestamptz '2023-11-14' + n * interval '1 ms' AS at
  FROM (SELECT m.id AS merchant_id, n, lpad(to_hex(1700000000000 + n), 12, '0') AS time,
               '8' || lpad(to_hex(m.id), 7, '0') || lpad(to_hex(n), 7, '0') || '0' AS tail
          FROM generate_series({first}, {last}) AS n,
               (SELECT merchant_id AS id FROM payment LIMIT 1) AS m) AS parts
"""
_FILL = (
    """INSERT INTO idempotency_key
              (merchant_id, key, fingerprint, operation, resource_id, created_at)
       SELECT merchant_id, name, decode(name || name, 'hex'), 'create_payment', payment::uuid, at
         FROM fresh""",
    """INSERT INTO payment
              (merchant_id, id, reference, amount, currency, amount_authorized, amount_captured,
               amount_refunded, fee, commission_bps, capture, status, channel, words, payer,
               version, created_at, updated_at, expires_at)
       SELECT merchant_id, payment::uuid, name, 1000, 'CNY', 1000, 1000, 0, 6, 60, true,
              'succeeded', 'simulator', decode(repeat(name, 5), 'hex'),
              decode(repeat(name, 4), 'hex'), 1, at, at, at
         FROM fresh""",
    """INSERT INTO attempt
              (merchant_id, id, payment_id, channel, amount, currency, status,
               channel_transaction, code, sent_at, answered_at, expires_at, first_verdict)
       SELECT merchant_id, attempt::uuid, payment::uuid, 'simulator', 1000, 'CNY', 'succeeded',
              'old_' || name, 'succeeded', at, at, at, 'succeeded'
         FROM fresh""",
    """INSERT INTO transfer
              (merchant_id, journal_id, leg, payment_id, kind, debit_account, credit_account,
               amount, currency, created_at)
       SELECT merchant_id, attempt::uuid, leg, payment::uuid, 1, 11210001156, 22010000156, 10,
              'CNY', at
         FROM fresh, generate_series(0, 2) AS leg""",
    """INSERT INTO event
              (merchant_id, sequence, id, type, payment_id, resource_id, version, created_at, data)
       SELECT merchant_id, last_sequence + row_number() OVER (ORDER BY n), attempt::uuid,
              'payment.succeeded', payment::uuid, payment::uuid, 1, at,
              decode(repeat(name, 30), 'hex')
         FROM fresh JOIN feed USING (merchant_id)""",
    """UPDATE feed SET last_sequence = last_sequence + (SELECT count(*) FROM fresh)""",
    "DROP TABLE fresh",
)
_PAID = """
SELECT id, amount FROM attempt
 WHERE status = 'succeeded' AND NOT starts_with(channel_transaction, 'old_')
"""
_FILLED = ("payment", "idempotency_key", "attempt", "transfer", "event")


async def fill(running: Stack, stored: int) -> None:
    """Store payments until there are so many."""
    parts = urlsplit(running.database_url)
    owner = urlunsplit(parts._replace(netloc=f"{OWNER}@"))
    connection = await asyncpg.connect(owner, command_timeout=600)
    first = await connection.fetchval("SELECT count(*) FROM payment")
    began = time.monotonic()
    while first < stored:
        last = min(first + _STEP, stored)
        async with connection.transaction():
            await connection.execute(_IDS.format(first=first + 1, last=last))
            for statement in _FILL:
                await connection.execute(statement)
        first = last
    for table in _FILLED:
        await connection.execute(f"VACUUM ANALYZE {table}")
    await connection.execute("CHECKPOINT")
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    print(f"{stored:,} stored, {size / 1e9:.2f} GB, after {time.monotonic() - began:.0f} s")


def against(answered: int, ours: Mapping[str, int], theirs: Mapping[str, int]) -> Iterator[str]:
    """Hold what was answered, our books and the acquirer's beside each other: amounts by number."""
    if len(ours) < answered:
        yield f"{answered:,} were paid, {len(ours):,} are kept"
    if differing := ours.items() ^ theirs.items():
        numbers = {number for number, _ in differing}
        yield f"{len(numbers):,} stand otherwise in the acquirer's books, {min(numbers)} among them"


async def prove(running: Stack, answered: int) -> list[str]:
    """Give what stands against the payments that were made, and not only stored."""
    connection = await asyncpg.connect(running.database_url)
    ours = {row["id"].hex: row["amount"] for row in await connection.fetch(_PAID)}
    await connection.close()
    url = f"{running.simulator_url}/books"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        theirs: Counter[str] = Counter()
        for booking in read_books(await answer.read()):
            theirs[booking.ours] += booking.moved
    print(f"{answered:,} were paid, {len(ours):,} are kept, the acquirer has {len(theirs):,}")
    return list(against(answered, ours, theirs))


async def measure(running: Stack, given: argparse.Namespace) -> tuple[list[Aim], int]:
    """Pay at each size and print what a payment costs.

    Gives how much more it is at last, and how many were paid.
    """
    target = Target(running, running.base_url, requests.CARD_OK, running.cpu_seconds)
    paid = (await pay(target, connections=given.connections, seconds=3)).done
    costs: list[tuple[float, float]] = []
    for stored in given.stored:
        await fill(running, stored)
        runs: list[Measured] = []
        for _ in range(given.rounds):
            run = await pay(target, connections=given.connections, seconds=given.seconds)
            assert run.result.statuses.keys() <= {201, *REFUSED}, run.result.statuses
            runs.append(run)
            paid += run.done
        all_parts = statistics.median(run.microseconds() for run in runs)
        postgres = statistics.median(run.microseconds("postgres") for run in runs)
        costs.append((all_parts, postgres))
        print(f"   CPU µs per payment: {all_parts:.0f}, of which PostgreSQL {postgres:.0f}")
    (first, first_postgres), (last, last_postgres) = costs[0], costs[-1]
    sizes = f"a payment with {given.stored[-1]:,} stored over one with {given.stored[0]:,}"
    aims = [
        at_most(f"{sizes}, CPU time", last / first, _GROWTH_MAX),
        Aim("… of PostgreSQL alone", "", f"{last_postgres / first_postgres:.2f}"),
    ]
    return aims, paid


def main() -> int:
    """Run it on a stack of its own."""
    parser = parser_of(__doc__)
    parser.add_argument("--stored", type=one_or_more, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--seconds", type=above_zero, default=6.0, help="of each payment run")
    parser.add_argument("--rounds", type=one_or_more, default=3)
    parser.add_argument("--connections", type=one_or_more, default=256)
    given = parser.parse_args()
    with (
        own_folder() as folder,
        stack(folder / "data") as running,
    ):
        aims, paid = uvloop.run(measure(running, given))
        offences = asyncio.run(prove(running, paid))
    tell(aims, given.aims)
    print("\n".join(offences) or "nothing lost, nothing doubled")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
