"""One fault run from its plan to its verdict: live, wreak, wait until all is quiet, audit."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import msgspec

from gateway.assembly import prove_everything
from gateway.channels.simulator.entries import Entry, Payment
from gateway.domain.identity import merchant_number
from tests.e2e.harness import Shop, until
from tests.faults.auditor import Auditor, End, money_of, repeats, unexplained
from tests.faults.feed import FeedReader
from tests.faults.havoc import Havoc
from tests.faults.merchants import Asked, Merchants
from tests.faults.plan import Plan
from tests.faults.stage import Stage

# After the last fault everything must be answered, and after that settled, within these.
ANSWER_SECONDS: Final = 150.0
QUIET_SECONDS: Final = 150.0
_AT_ONCE: Final = 16

_OPEN: Final = """
SELECT (SELECT count(*) FROM payment WHERE status IN ('processing', 'requires_action'))
           AS "open payments",
       (SELECT count(*) FROM refund WHERE status = 'processing') AS "open refunds",
       (SELECT count(*) FROM notice WHERE processed_at IS NULL) AS "notices nobody served",
       (SELECT count(*) FROM attempt WHERE NOT is_check AND due_at < now() + interval '1 hour')
           AS "attempts to ask about",
       (SELECT count(*) FROM attempt WHERE is_check AND due_at <= now()) AS "attempts to look at",
       (SELECT count(*) FROM further_transaction WHERE due_at IS NOT NULL) AS "paid twice"
"""
# As if minutes had gone by: whatever was closed is looked at, before anybody looks away.
_LOOKS: Final = "UPDATE attempt SET due_at = now() WHERE is_check AND due_at IS NOT NULL"
_ENDED_ATTEMPTS: Final = """
SELECT a.id, p.status FROM attempt a JOIN payment p ON p.id = a.payment_id
 WHERE a.id = ANY($1::uuid[]) AND p.status IN ('failed', 'canceled', 'expired')
"""
_entry: Final = msgspec.json.Decoder(Entry)


@dataclass(frozen=True)
class Verdict:
    """What a run came to: how much it saw, and everything that is wrong."""

    payments: int
    elsewhere: int
    ended: Counter[str]
    further: Counter[str]
    faults: Counter[str]
    findings: list[str]


async def run(stage: Stage, plan: Plan) -> Verdict:
    """Run a plan on a stage; TimeoutError when something is never answered or never settled."""
    addresses = [gateway.base_url for gateway in stage.gateways]
    merchants = Merchants(stage.shops, addresses, stage.settings.simulator_url, plan.seed)
    havoc = Havoc(stage)
    start = asyncio.get_running_loop().time()
    readers = [FeedReader(merchants, shop) for shop in stage.shops]
    following = [asyncio.create_task(reader.follow()) for reader in readers]
    last = max((fault.at for fault in plan.faults), default=0.0)
    async with asyncio.timeout(max(last, plan.stories[-1].at) + ANSWER_SECONDS):
        async with asyncio.TaskGroup() as living:
            living.create_task(havoc.wreak(plan.faults, start))
            for story in plan.stories:
                living.create_task(merchants.live(story, start))
    _say("answered", start)
    await stage.ready()
    await _quiet(stage)
    _say("quiet", start)
    await _quiet(stage, _LOOKS)
    _say("quiet again", start)
    for reading in following:
        reading.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    events = await _events(merchants)
    ends = await _ends(merchants, events)
    findings = Auditor(merchants.diary, ends).findings()
    findings += await _replayed(merchants, _told(events, ends))
    findings += await _money(stage, merchants, ends)
    findings += await _held_in_vain(stage)
    for reader in readers:
        findings += await reader.audit(stage.settings.database_url)
    _say("audited", start)
    return Verdict(
        payments=len(ends),
        elsewhere=await _elsewhere(stage),
        ended=Counter(end.payment["status"] for end in ends.values()),
        further=Counter(
            beside["refunds"][-1]["status"] if beside["refunds"] else "waits"
            for end in ends.values()
            for beside in end.further
        ),
        faults=havoc.done,
        findings=findings,
    )


def _say(what: str, start: float) -> None:
    print(f"{time.monotonic() - start:6.1f} s  {what}")


async def _quiet(stage: Stage, first: str = "SELECT") -> None:
    """Do this in the database, and wait until nothing is open, on its way, or due on any side."""
    connection = await asyncpg.connect(stage.settings.database_url)
    await connection.execute(first)

    async def left() -> dict[str, int]:
        # The last is whatever the acquirer is still to book or to notify by itself.
        return {
            **dict(await connection.fetchrow(_OPEN)),
            "postman on his way": not stage.postman.is_home,
            "due at the acquirer": sum(each.due is not None for each in _at_the_acquirer(stage)),
        }

    async def is_quiet() -> bool:
        return not any((await left()).values())

    try:
        await until(is_quiet, QUIET_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"never quiet: {await left()}") from None
    finally:
        await connection.close()


def _at_the_acquirer(stage: Stage) -> list[Payment]:
    """Read in the acquirer's journal how it has every payment."""
    journal = stage.folder / "acquirer" / "simulator.jsonl"
    entries = [_entry.decode(line) for line in journal.read_bytes().splitlines()]
    return list(
        {entry.payment.number: entry.payment for entry in entries if entry.payment}.values()
    )


async def _events(merchants: Merchants) -> list[dict[str, Any]]:
    """Read every event of all merchants."""
    path = "/v1/events?limit=100"
    feeds = [await merchants.pages(shop, path, "after") for shop in merchants.shops]
    return [event for feed in feeds for event in feed]


async def _ends(merchants: Merchants, events: list[dict[str, Any]]) -> dict[str, End]:
    """Read every payment that there is, by its merchant's reference, with what belongs to it.

    Whatever was paid beside a payment was told.
    """
    turn = asyncio.Semaphore(_AT_ONCE)
    late = {event["data"]["id"] for event in events if event["type"] == "payment.late_success"}

    async def page(shop: Shop, payment: dict[str, Any], what: str) -> list[dict[str, Any]]:
        async with turn:
            found = await merchants.look(shop, f"/v1/payments/{payment['id']}/{what}")
        data: list[dict[str, Any]] = found["data"]
        return data

    async def end(shop: Shop, payment: dict[str, Any]) -> End:
        refunds, further = [], []
        # What a close gave back was captured no more, and may have refunds all the same.
        if payment["amount_captured"] or payment["status"] == "canceled":
            refunds = await page(shop, payment, "refunds")
        if payment["id"] in late:
            further = await page(shop, payment, "further_transactions")
        return End(payment, refunds, further)

    ends = [
        end(shop, payment)
        for shop in merchants.shops
        for payment in await merchants.pages(shop, "/v1/payments?limit=100", "cursor")
    ]
    return {end.payment["reference"]: end for end in await asyncio.gather(*ends)}


async def _replayed(merchants: Merchants, told: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Ask everything that was answered once more: nothing may begin anew.

    Only a sync is a new question each time it is asked and Redis has forgotten it.
    """
    answered = [
        asked
        for asked in merchants.diary.asked.values()
        if asked.resource is not None and not asked.path.endswith("/sync")
    ]
    found: list[str] = []
    turn = asyncio.Semaphore(_AT_ONCE)

    async def replay(asked: Asked) -> None:
        before = list(asked.settled)
        async with turn:
            again = await merchants.insist(asked)
        found.extend(repeats(asked, before, again, told[asked.resource or ""]))

    await asyncio.gather(*map(replay, answered))
    return found


def _told(events: list[dict[str, Any]], ends: dict[str, End]) -> dict[str, list[dict[str, Any]]]:
    """Gather how each payment and refund ever stood: its events, and how it stands now."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        thing = {name: value for name, value in event["data"].items() if name != "sequence"}
        told[thing["id"]].append(thing)
    for end in ends.values():
        for each in (end.payment, *end.refunds):
            told[each["id"]].append(each)
    return told


async def _elsewhere(stage: Stage) -> int:
    """Count the payments that went on through the second door."""
    connection = await asyncpg.connect(stage.settings.database_url)
    count: int = await connection.fetchval("SELECT count(*) FROM attempt WHERE replaced")
    await connection.close()
    return count


async def _held_in_vain(stage: Stage) -> list[str]:
    """Find what the acquirer holds of a payer for a payment that has ended."""
    held = [payment.number for payment in _at_the_acquirer(stage) if payment.status == "authorized"]
    connection = await asyncpg.connect(stage.settings.database_url)
    rows = await connection.fetch(_ENDED_ATTEMPTS, held)
    await connection.close()
    return [f"{row['id'].hex} is held for a payment that is {row['status']}" for row in rows]


async def _money(stage: Stage, merchants: Merchants, ends: dict[str, End]) -> list[str]:
    """Hold the acquirer's money beside ours, merchant by merchant, and prove the books."""
    found: list[str] = []
    async with merchants.shops[0].session.get(f"{stage.settings.simulator_url}/books") as answer:
        theirs = money_of(json.loads(line) for line in (await answer.read()).splitlines())
    for shop in merchants.shops:
        ours = [end for end in ends.values() if end.payment["merchant"] == shop.merchant]
        accounts = (await merchants.look(shop, "/v1/ledger/accounts"))["data"]
        moved = theirs.get(merchant_number(shop.merchant), (0, 0))
        found += unexplained(shop, moved, ours, accounts)
    proofs = await prove_everything(stage.settings)
    found += [f"proof: {proof}" for proof in proofs if not proof.holds]
    # What was paid twice is told, and held to its merchant's policy above.
    notes = [note for proof in proofs for note in proof.notes]
    found += [note for note in notes if not note.endswith("all but one beside the payment")]
    if {proof.id for proof in proofs} != set("abcdefgh"):
        found.append(f"only these proofs were made: {[proof.id for proof in proofs]}")
    return found
