"""What tests of processes need: wait for a condition, ask whether a process runs, be a launcher."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_SECONDS = 60.0


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
