"""What tests of processes need: start one of ours, be a launcher, ask what runs, wait."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

PATIENCE_SECONDS = 60.0

# Loading the packages of others takes four fifths of a start, and a run starts hundreds of times.
# So one fresh process loads them and forks for each start; each then loads ours for itself.
_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(
    [
        *("Crypto.Hash.keccak", "aiohttp.web", "asyncpg", "hiredis", "httptools", "msgspec"),
        *("cryptography.hazmat.primitives.serialization", "cryptography.x509"),
        *("prometheus_client.multiprocess", "redis.asyncio", "uvloop"),
    ]
)


def started(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> BaseProcess:
    """Start a `floodgate` command with this environment; what it writes is added to the log."""
    given = (list(arguments), dict(environment), log)
    process = _forking.Process(target=_become, args=given, daemon=True)
    process.start()
    return process


def _become(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    loaded = [name for name in sys.modules if name.partition(".")[0] in {"gateway", "native"}]
    assert not loaded, f"a start would begin with what another has: {loaded}"
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from gateway.cli import main

    sys.exit(main(arguments))


def until(holds: Callable[[], object], *, what: str) -> None:
    """Look again and again until this holds; the test fails when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state not in {"Z", "X"}


def until_gone(*pids: int) -> None:
    until(lambda: not any(map(is_running, pids)), what=f"none of {pids} runs")


@contextlib.contextmanager
def launched(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script that imports what we import and writes to its stdout; it is stopped at last."""
    where = f"import sys; sys.path[:0] = {sys.path!r}\n"
    with subprocess.Popen(
        [sys.executable, "-c", where + script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
