"""One fault run from its plan to its verdict: live, wreak, wait until all is quiet, audit."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from gateway.assembly import prove_everything
from gateway.channels.simulator.entries import Entry
from gateway.domain.identity import merchant_number
from tests.faults.auditor import Auditor, End, money_of, repeats, unexplained
from tests.faults.havoc import Havoc
from tests.faults.merchants import Asked, Merchants
from tests.faults.plan import Plan
from tests.faults.stage import Stage

# After the last fault everything must be answered, and after that settled, within these.
ANSWER_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 120.0
_REPLAYS_AT_ONCE: Final = 32

_OPEN: Final = """
SELECT (SELECT count(*) FROM payment WHERE status IN ('processing', 'requires_action'))
     + (SELECT count(*) FROM refund WHERE status = 'processing')
     + (SELECT count(*) FROM notice WHERE processed_at IS NULL)
     + (SELECT count(*) FROM attempt WHERE due_at < now() + interval '1 hour')
"""
_entry: Final = msgspec.json.Decoder(Entry)


@dataclass(frozen=True)
class Verdict:
    """What a run came to: how much it saw, and everything that is wrong."""

    payments: int
    ended: Counter[str]
    faults: Counter[str]
    findings: list[str]


async def run(stage: Stage, plan: Plan) -> Verdict:
    """Run a plan on a stage; TimeoutError when something is never answered or never settled."""
    addresses = [gateway.base_url for gateway in stage.gateways]
    merchants = Merchants(stage.shops, addresses, stage.settings.simulator_url, plan.seed)
    havoc = Havoc(stage)
    start = asyncio.get_running_loop().time()
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
    await _ask_about_late_money(merchants)
    await _quiet(stage)
    _say("quiet again", start)
    ends = await _ends(merchants)
    findings = Auditor(merchants.diary, ends).findings()
    findings += await _replayed(merchants, ends)
    findings += await _money(stage, merchants, ends)
    _say("audited", start)
    return Verdict(
        payments=len(ends),
        ended=Counter(end.payment["status"] for end in ends.values()),
        faults=havoc.done,
        findings=findings,
    )


def _say(what: str, start: float) -> None:
    print(f"{time.monotonic() - start:6.1f} s  {what}")


async def _quiet(stage: Stage) -> None:
    """Wait until nothing is open on our side, on its way, or due at the acquirer."""
    connection = await asyncpg.connect(stage.settings.database_url)
    async with asyncio.timeout(QUIET_SECONDS):
        while (
            await connection.fetchval(_OPEN)
            or not stage.postman.is_home
            or _has_due(stage.folder / "acquirer" / "simulator.jsonl")
        ):
            await asyncio.sleep(0.1)
    await connection.close()


def _has_due(journal: Path) -> bool:
    """Read in the acquirer's journal whether it is still to book or to notify by itself."""
    entries = [_entry.decode(line) for line in journal.read_bytes().splitlines()]
    latest = {entry.payment.number: entry.payment for entry in entries if entry.payment}
    return any(payment.due is not None for payment in latest.values())


async def _ask_about_late_money(merchants: Merchants) -> None:
    """Sync what was given up: an acquirer that dies loses its notice of money that came late."""
    creates = [merchants.diary.asked[f"key-{number}"] for number in merchants.diary.created]
    late = [create for create in creates if create.story.token == "tok_late_success"]
    for create in late:
        payment = merchants.diary.created[create.story.number]
        path, key = f"/v1/payments/{payment}/sync", f"{create.key}-late"
        await merchants.insist(Asked(create.story, create.shop, path, b"{}", key))


async def _ends(merchants: Merchants) -> dict[int, End]:
    """Read every payment with its refunds as it now stands."""
    ends = {}
    for number, payment in merchants.diary.created.items():
        shop = merchants.diary.asked[f"key-{number}"].shop
        path = f"/v1/payments/{payment}"
        refunds = await merchants.look(shop, f"{path}/refunds")
        ends[number] = End(await merchants.look(shop, path), refunds["data"])
    return ends


async def _replayed(merchants: Merchants, ends: dict[int, End]) -> list[str]:
    """Ask everything that was answered twice more; nothing may begin anew."""
    answered = [
        asked
        for asked in merchants.diary.asked.values()
        if any(reply.status in {200, 201} for reply in asked.answers)
    ]
    told = await _told(merchants, ends)
    found: list[str] = []
    turn = asyncio.Semaphore(_REPLAYS_AT_ONCE)

    async def replay(asked: Asked) -> None:
        async with turn:
            first, second = await merchants.insist(asked), await merchants.insist(asked)
        resource = next(r.json["id"] for r in asked.answers if r.status in {200, 201})
        found.extend(repeats(asked, first, second, told[resource]))

    await asyncio.gather(*map(replay, answered))
    return found


async def _told(merchants: Merchants, ends: dict[int, End]) -> dict[str, list[dict[str, Any]]]:
    """Gather how each payment and refund ever stood: its events, and how it stands now."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for shop in merchants.shops:
        after: str | None = "0"
        while after is not None:
            page = await merchants.look(shop, f"/v1/events?after={after}&limit=100")
            for event in page["data"]:
                thing = {k: v for k, v in event["data"].items() if k != "sequence"}
                told[thing["id"]].append(thing)
            after = page["next_cursor"]
    for end in ends.values():
        for each in (end.payment, *end.refunds):
            told[each["id"]].append(each)
    return told


async def _money(stage: Stage, merchants: Merchants, ends: dict[int, End]) -> list[str]:
    """Hold the acquirer's money beside ours, merchant by merchant, and prove the books."""
    found = []
    lines = await _books(stage, merchants)
    theirs = money_of(lines)
    for index, shop in enumerate(merchants.shops):
        ours = [
            end
            for number, end in ends.items()
            if merchants.diary.asked[f"key-{number}"].story.shop == index
        ]
        accounts = (await merchants.look(shop, "/v1/ledger/accounts"))["data"]
        moved = theirs.get(merchant_number(shop.merchant), (0, 0))
        found += unexplained(shop, moved, ours, accounts)
    proofs = await prove_everything(stage.settings)
    found += [f"proof: {proof}" for proof in proofs if not proof.holds or proof.notes]
    if {proof.id for proof in proofs} != set("abcdefgh"):
        found.append(f"only these proofs were made: {[proof.id for proof in proofs]}")
    found += await _not_made_by_us(stage, ends)
    return found


async def _books(stage: Stage, merchants: Merchants) -> list[dict[str, Any]]:
    async with merchants.shops[0].session.get(f"{stage.settings.simulator_url}/books") as answer:
        return [json.loads(line) for line in (await answer.read()).splitlines()]


async def _not_made_by_us(stage: Stage, ends: dict[int, End]) -> list[str]:
    """Look for payments that nobody was told of: every key was answered in the end."""
    connection = await asyncpg.connect(stage.settings.database_url)
    rows = await connection.fetch("SELECT id, reference FROM payment")
    await connection.close()
    known = {end.payment["id"] for end in ends.values()}
    return [
        f"{row['reference']}: exists and was never answered"
        for row in rows
        if f"pay_{row['id'].hex}" not in known
    ]
