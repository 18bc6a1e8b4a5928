"""The negative control: a database that answers before it keeps, and a kill; that must be noticed.

An auditor that has never found a loss proves nothing.  Whatever would write PostgreSQL's log is
held, so what is answered with `synchronous_commit=off` is lost for certain when it is killed, and
with `on`, where each commit writes the log itself, nothing is.
"""

import asyncio
import contextlib
import os
import signal
from typing import Final

import asyncpg

from tests.faults.auditor import Auditor, End
from tests.faults.feed import FeedReader
from tests.faults.merchants import Merchants
from tests.faults.plan import Story
from tests.faults.stage import Stage

_PAYMENTS: Final = 12
_WRITERS: Final = """
SELECT pid FROM pg_stat_activity WHERE backend_type IN
    ('walwriter', 'checkpointer', 'background writer', 'autovacuum launcher', 'autovacuum worker')
"""
_RECONNECT: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'floodgate_app'
"""


async def killed_after_answers(stage: Stage, *, first: int, synchronous: str) -> list[str]:
    """Take a few payments, kill PostgreSQL, and give everything that the auditor has to say.

    `first` numbers the payments; `synchronous` is what the gateways' sessions have as
    `synchronous_commit`.
    """
    addresses = [gateway.base_url for gateway in stage.gateways]
    merchants = Merchants(stage.shops, addresses, stage.settings.simulator_url, first)
    reader = FeedReader(merchants, stage.shops[0])
    held = await _hold_the_log(stage, synchronous)
    stories = [_story(first + number) for number in range(_PAYMENTS)]
    now = asyncio.get_running_loop().time()
    await asyncio.gather(*(merchants.live(story, now) for story in stories))
    while await reader.read_on():
        pass
    stage.postgres.send(signal.SIGKILL)
    for process in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    await stage.ready()
    ends: dict[str, End] = {}
    for story in stories:
        path = f"/v1/payments?reference=order-{story.number}"
        for payment in (await merchants.look(stage.shops[0], path))["data"]:
            ends[payment["reference"]] = End(payment, [])
    return [
        *Auditor(merchants.diary, ends).findings(),
        *await reader.audit(stage.settings.database_url),
    ]


async def _hold_the_log(stage: Stage, synchronous: str) -> list[int]:
    """Stop every process that writes the log for others; gives their ids."""
    owner = await asyncpg.connect(stage.owner_url)
    await owner.execute(f"ALTER ROLE floodgate_app SET synchronous_commit = {synchronous}")
    await owner.execute("CHECKPOINT")
    await owner.execute(_RECONNECT)
    held = [row["pid"] for row in await owner.fetch(_WRITERS)]
    await owner.close()
    for process in held:
        os.kill(process, signal.SIGSTOP)
    return held


def _story(number: int) -> Story:
    return Story(
        number=number,
        at=0.0,
        shop=0,
        token="tok_ok",
        amount=1999,
        manual=False,
        open_seconds=60.0,
        twins=1,
        is_impatient=False,
        scenes=(),
    )
