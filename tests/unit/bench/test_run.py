"""What a load run refuses before it starts anything, and what it does without."""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench.load import options
from bench.load.run import flame_graph, is_ready_for
from bench.load.stack import Stack
from gateway.signing import Credentials

NO_PROCESS = 2**22 + 1  # above the highest that Linux gives


class WithoutGateway(Stack, frozen=True):
    """A stack whose only gateway worker has just ended."""

    def pids(self, part: str) -> list[int]:
        assert part == "gateway"
        return [NO_PROCESS]


def test_options_that_make_sense_are_read() -> None:
    assert options.above_zero("0.5") == 0.5
    assert options.run_seconds("1") == 1.0
    assert options.one_or_more("3") == 3


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (options.above_zero, ("0", "-3", "nan", "inf", "many", "")),
        (options.run_seconds, ("0", "0.5", "-5", "nan", "inf", "a minute")),
        (options.one_or_more, ("0", "-1", "1.5", "two", "")),
    ],
)
def test_options_that_make_none_are_refused(
    read: Callable[[str], float], texts: tuple[str, ...]
) -> None:
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)


def test_a_folder_that_cannot_hold_reports_is_found_out_before_the_run(tmp_path: Path) -> None:
    is_ready_for(tmp_path / "new" / "reports")
    assert list((tmp_path / "new" / "reports").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        is_ready_for(tmp_path / "file" / "reports")


async def test_a_run_goes_on_without_its_flame_graph_and_says_so(tmp_path: Path) -> None:
    nowhere = ("http://127.0.0.1:9", "", Credentials("key", "c2VjcmV0"), "", "", "")
    stack = WithoutGateway(NO_PROCESS, *nowhere)
    console = Console(record=True, width=200, file=io.StringIO())
    async with flame_graph(console, stack, tmp_path / "f.svg", seconds=0.1):
        pass
    assert "no flame graph: " in console.export_text()
