"""The simulated acquirer's memory: one file of JSON lines that survives `kill -9`."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gateway.channels.simulator.entries import Entry

_T = TypeVar("_T")
_encode_lines: Final = msgspec.json.Encoder().encode_lines
_decode: Final = msgspec.json.Decoder(Entry).decode

# Calls back a little later: in the end of this turn of the loop.
Soon = Callable[[Callable[[], None]], object]


class Journal:
    """An append-only file: an entry is with the operating system before anybody hears of it.

    There is no fsync: it outlives the process, not the machine.  What comes in one turn of the loop
    is written at once, and only then is told what waits for it.  While it cannot be written nobody
    hears of anything: it is tried again with whatever comes next.
    """

    def __init__(self, folder: Path, soon: Soon) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "simulator.jsonl"
        self._file = self._path.open("ab", buffering=0)
        self._soon = soon
        self._will_write = False
        self._entries: list[Entry] = []
        self._unwritten = b""
        self._waiting: deque[tuple[Callable[[Any], object], Any]] = deque()

    def replay(self) -> Iterator[Entry]:
        """Read every whole entry in order; a last line that was cut short is removed."""
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                yield _decode(line)
        os.truncate(self._path, whole)

    def append(self, entry: Entry) -> None:
        """Write one entry, a little later."""
        self._entries.append(entry)
        if not self._will_write:
            self._write_soon()

    def afterwards(self, tell: Callable[[_T], object], what: _T) -> None:
        """Tell this when everything is written that was appended before."""
        self._waiting.append((tell, what))
        if not self._will_write:
            self._write_soon()

    def _write_soon(self) -> None:
        self._will_write = True
        self._soon(self.write)

    def write(self) -> None:
        """Write what was appended, and tell what waits for it; OSError when the disk is full."""
        self._will_write = False
        if self._entries:
            self._unwritten += _encode_lines(self._entries)
            self._entries.clear()
        while self._unwritten:
            self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
        try:
            for _ in range(len(self._waiting)):  # what is told may have more come
                tell, what = self._waiting.popleft()
                tell(what)
        finally:  # one who cannot be told holds up nobody
            if self._waiting and not self._will_write:
                self._write_soon()

    def close(self) -> None:
        """Write what is left, and close the file."""
        try:
            self.write()
        finally:
            self._file.close()
