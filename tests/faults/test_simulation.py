"""Faults between any two steps, thousands of payments: in the end every yuan is explained.

Read `plan` for what a seed decides and what it cannot.  `SEED` replays a run, `SOAK_SECONDS` makes
a long one.
"""

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.faults.control import killed_after_answers
from tests.faults.plan import FAULTS, SOAK_FAULTS, plan
from tests.faults.run import run
from tests.faults.stage import set_up

SEED = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS") or 0)

_SECONDS: Final = 12.0
_PAYMENTS_PER_SECOND: Final = 84
_SOAK_PER_SECOND: Final = 40


@pytest.fixture
def folder() -> Path:
    """A folder that root's PostgreSQL, which runs as another user, may pass; kept on failure."""
    folder = Path(tempfile.mkdtemp(prefix="floodgate-faults-"))
    folder.chmod(0o711)
    return folder


async def test_every_yuan_is_explained(folder: Path) -> None:
    seconds = SOAK_SECONDS or _SECONDS
    kinds = (*FAULTS, *SOAK_FAULTS) if SOAK_SECONDS else FAULTS
    planned = plan(
        SEED,
        seconds=seconds,
        payments=int(seconds * (_SOAK_PER_SECOND if SOAK_SECONDS else _PAYMENTS_PER_SECOND)),
        faults=max(len(kinds), int(seconds / 2)),
        of=kinds,
    )
    print(f"\nSEED={SEED} replays {len(planned.stories)} payments, {len(planned.faults)} faults")
    print(f"logs in {folder}")
    async with set_up(folder, SEED) as stage:
        verdict = await run(stage, planned)
        kept = await killed_after_answers(stage, first=1_000_000, synchronous="on")
        lost = await killed_after_answers(stage, first=2_000_000, synchronous="off")
    print(f"{verdict.payments} payments, {verdict.elsewhere} of them went on elsewhere")
    print(f"{dict(verdict.ended)}\nbeside them: {dict(verdict.further)}")
    print(f"faults: {dict(verdict.faults)}")
    assert not verdict.findings, "\n".join([f"SEED={SEED}", *verdict.findings[:40]])
    assert verdict.payments >= len(planned.stories)
    # Not each meets something: nobody comes to its step in time, or what it would hit is down.
    assert 3 * verdict.faults.total() > 2 * len(planned.faults)
    # The negative control: what a forgetful database loses is missed, in the payments and the feed.
    assert kept == []
    assert any("was answered and is gone" in finding for finding in lost), lost
    assert any("was read and is gone" in finding for finding in lost), lost
    shutil.rmtree(folder)
