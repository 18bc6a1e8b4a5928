"""Proves a load run: the books by `floodgate proofs`, the generator's log beside books and API.

A run that lost, doubled or altered anything that it was answered is red, whatever its speed.
"""

import asyncio
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import aiohttp
import asyncpg
from msgspec import Struct, field

from bench.load.plan import Plan
from bench.load.traffic import SHED, Answer, is_refused, reference_of
from gateway.domain.payment import TRANSITIONS, Fact, Status
from gateway.signing import Unsigned, sign

_SHOWN_MAX = 20
_ASKED_MAX = 200
_ASKED_AT_ONCE = 16
# So long whoever asks the API waits for a merchant's quota.
_ASKING_SECONDS = 60.0
_ACQUIRER_PROOF = "g"
_REFUND_ENDS = frozenset({"succeeded", "failed"})
_PAYMENTS = "SELECT reference, id, status, amount FROM payment WHERE starts_with(reference, $1)"
_REFUNDS = "SELECT reference, id, status, amount FROM refund WHERE starts_with(reference, $1)"


class Kept(Struct, frozen=True):
    """A payment or refund as it stands in our books, or as the API shows it."""

    id: str
    state: str
    amount: int


class ProofShown(Struct, frozen=True):
    """One proof as `floodgate proofs --json` writes it."""

    id: str
    title: str
    holds: bool
    examined: int
    counterexamples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Verdict(Struct, kw_only=True):
    """What was proved.  `offences` are sentences; a run without any, whose proofs hold, is green.

    `compared` answers were looked up in the books, `asked` also through the API; `unanswered` is
    how many payments began whose caller never heard of them.
    """

    proofs: list[ProofShown] = field(default_factory=list)
    offences: list[str] = field(default_factory=list)
    offences_count: int = 0
    compared: int = 0
    asked: int = 0
    unanswered: int = 0

    @property
    def holds(self) -> bool:
        """Tell whether the run may be believed in."""
        compared = any(proof.id == _ACQUIRER_PROOF for proof in self.proofs)
        return compared and not self.offences and all(proof.holds for proof in self.proofs)

    def offend(self, sentences: Iterable[str]) -> None:
        """Take what stands against the run; only the first are kept as words."""
        for sentence in sentences:
            self.offences_count += 1
            if len(self.offences) < _SHOWN_MAX:
                self.offences.append(sentence)


def reachable() -> Mapping[str, frozenset[str]]:
    """Say for each status which ones may come after it, by the table of transitions.

    The acquirer of a load run gives nothing back by itself.
    """
    reached = {
        status: {status, *(then for fact, then in facts.items() if fact is not Fact.REVERSED)}
        for status, facts in TRANSITIONS.items()
    }
    for _ in Status:
        for status in Status:
            reached[status] |= {later for next_ in reached[status] for later in reached[next_]}
    return {
        status.value: frozenset(later.value for later in after) for status, after in reached.items()
    }


_LATER = reachable()


def is_later(answer: Answer, state: str) -> bool:
    """Tell whether this state is the answered one, or one that may follow it."""
    if answer.kind == "refund":
        return answer.state == state or answer.state not in _REFUND_ENDS
    return state in _LATER.get(answer.state, ())


def against(answers: Iterable[Answer], kept: Mapping[str, Kept], run: str) -> Iterable[str]:
    """Hold the log of answers beside what is kept, by reference; gives a sentence an offence."""
    seen: Counter[str] = Counter()
    for answer in answers:
        if answer.kind == "read":
            continue
        reference = reference_of(run, answer.number)
        mine = kept.get(reference)
        said = f"{answer.kind} {reference}"
        if answer.statuses[-1] in {200, 201}:
            seen[answer.id] += 1
            if mine is None:
                yield f"{said}: answered as {answer.id}, and is lost"
            elif mine.id != answer.id:
                yield f"{said}: answered as {answer.id}, kept as {mine.id}"
            elif mine.amount != answer.amount:
                yield f"{said}: answered with {answer.amount}, kept with {mine.amount}"
            elif not is_later(answer, mine.state):
                yield f"{said}: answered as {answer.state}, which became {mine.state}"
        elif mine is not None and is_refused(answer):
            yield f"{said}: turned away, and yet it began as {mine.id}"
    yield from (
        f"{number} answered {count} arrivals" for number, count in seen.items() if count > 1
    )


def unanswered(answers: Iterable[Answer], kept: Mapping[str, Kept], run: str) -> int:
    """Count what began although its caller never got a good answer: allowed, and kept."""
    heard = {reference_of(run, a.number) for a in answers if a.statuses[-1] in {200, 201}}
    return len(kept.keys() - heard)


async def kept_in_books(database_url: str, run: str) -> tuple[dict[str, Kept], list[str]]:
    """Read what our books have of a run, by reference; and a sentence for each that is doubled."""
    kept: dict[str, Kept] = {}
    doubled = []
    connection = await asyncpg.connect(database_url)
    try:
        for prefix, query in (("pay", _PAYMENTS), ("re", _REFUNDS)):
            for row in await connection.fetch(query, f"{run}-"):
                if row["reference"] in kept:
                    doubled.append(f"{row['reference']} is in the books twice")
                kept[row["reference"]] = Kept(
                    f"{prefix}_{row['id'].hex}", row["status"], row["amount"]
                )
    finally:
        await connection.close()
    return kept, doubled


class Look(Struct):
    """What the API shows of answers it gave, by reference, and which of them it was asked for.

    Nobody was told of those that a quota kept from being `asked` for in time.
    """

    kept: dict[str, Kept] = field(default_factory=dict)
    asked: list[Answer] = field(default_factory=list)


async def kept_by_api(plan: Plan, answers: Sequence[Answer]) -> Look:
    """Ask the API for what it answered; what it does not know is asked for, and not kept."""
    room = asyncio.Semaphore(_ASKED_AT_ONCE)
    deadline = time.monotonic() + _ASKING_SECONDS
    look = Look()

    async def ask(session: aiohttp.ClientSession, answer: Answer) -> None:
        path = f"/v1/{'refunds' if answer.kind == 'refund' else 'payments'}/{answer.id}"
        async with room:
            while time.monotonic() < deadline:
                headers = sign(Unsigned("GET", path), plan.credentials, datetime.now(UTC))
                async with session.get(plan.base_url + path, headers=headers) as reply:
                    body = await reply.read()
                if reply.status not in SHED:
                    break
                await asyncio.sleep(int(reply.headers.get("Retry-After", 1)))
            else:
                return
        look.asked.append(answer)
        if reply.status == 200:
            shown = json.loads(body)
            look.kept[reference_of(plan.run, answer.number)] = Kept(
                shown["id"], shown["status"], shown["amount"]
            )

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(ask(session, answer) for answer in answers))
    return look


async def prove(urls: Mapping[str, str]) -> list[ProofShown]:
    """Run `floodgate proofs` against these URLs (environment variables)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "proofs", "--json"),
        env={**os.environ, **urls},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    if not told:
        return [ProofShown("-", "floodgate proofs can be run", holds=False, examined=0)]
    return [
        ProofShown(
            *(proof["id"], proof["title"], proof["holds"], proof["examined"]),
            *(tuple(proof["counterexamples"]), tuple(proof["notes"])),
        )
        for proof in json.loads(told)["proofs"]
    ]


async def judge(plan: Plan, answers: Sequence[Answer], urls: Mapping[str, str]) -> Verdict:
    """Prove a run whose log this is; `urls` point a command of ours at the system that it met.

    A system that cannot be asked any more proves nothing, and that stands against the run.
    """
    verdict = Verdict(proofs=await prove(urls))
    good = [a for a in answers if a.statuses[-1] in {200, 201} and a.kind != "read"]
    try:
        kept, doubled = await kept_in_books(urls["FLOODGATE_DATABASE_URL"], plan.run)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        verdict.offend([f"the books cannot be read: {type(error).__name__}"])
        return verdict
    verdict.offend(doubled)
    verdict.offend(against(answers, kept, plan.run))
    verdict.compared = len(good)
    verdict.unanswered = unanswered(answers, kept, plan.run)
    try:
        look = await kept_by_api(plan, good[:: math.ceil(len(good) / _ASKED_MAX) or 1])
    except (OSError, aiohttp.ClientError, TimeoutError) as error:
        verdict.offend([f"the API cannot be asked: {type(error).__name__}"])
        return verdict
    verdict.asked = len(look.asked)
    if good and not look.asked:
        verdict.offend(["the API turned everybody away who asked for what it had answered"])
    verdict.offend(f"by the API: {said}" for said in against(look.asked, look.kept, plan.run))
    return verdict
