"""Accounts at acquirers, as operators add them."""

import asyncio
import contextlib
import io

from gateway import cli
from gateway.domain.errors import FloodgateError
from tests.e2e.harness import System


async def run(system: System, *words: str) -> tuple[int, str, str]:
    """Run `floodgate channel …` in this process, which is quicker than in one of its own."""
    out = io.StringIO()

    def command() -> int:
        given = cli._parser().parse_args(["channel", *words])
        with contextlib.redirect_stdout(out):
            code: int = given.run(system.settings, given)
        return code

    try:
        return await asyncio.to_thread(command), out.getvalue(), ""
    except FloodgateError as error:
        return 1, out.getvalue(), str(error)
