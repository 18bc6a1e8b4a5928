"""Faults between any two steps, thousands of payments: in the end every yuan is explained.

Read `plan` for what a seed decides and what it cannot.  `SEED` replays a run, `SOAK_SECONDS` makes
a long one.
"""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from tests.faults.plan import FAULTS, plan
from tests.faults.run import run
from tests.faults.stage import set_up

SEED = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS") or 0)


async def test_every_yuan_is_explained() -> None:
    folder = Path(tempfile.mkdtemp(prefix="floodgate-faults-"))  # kept when this fails
    seconds = SOAK_SECONDS or 12.0
    planned = plan(
        SEED,
        seconds=seconds,
        payments=int(seconds * 84),
        faults=max(len(FAULTS), int(seconds)),
    )
    print(f"\nSEED={SEED} replays {len(planned.stories)} payments, {len(planned.faults)} faults")
    print(f"logs in {folder}")
    async with set_up(folder, SEED) as stage:
        verdict = await run(stage, planned)
    print(f"{verdict.payments} payments: {dict(verdict.ended)}\nfaults: {dict(verdict.faults)}")
    assert not verdict.findings, f"SEED={SEED}: {len(verdict.findings)}\n" + "\n".join(
        verdict.findings[:40]
    )
    assert verdict.payments == len(planned.stories)
    shutil.rmtree(folder)
