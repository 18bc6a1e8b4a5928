"""Runs commands of the line in processes of their own, as an operator does."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.e2e.harness import System


class Run(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def run(*words: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run `floodgate` with these words, and of our settings with these alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOODGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words),
        env=kept | dict(environment or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Run(process.returncode, out.decode(), err.decode())


async def run_in(system: System, *words: str) -> Run:
    return await run(*words, environment=system.settings.environment())
