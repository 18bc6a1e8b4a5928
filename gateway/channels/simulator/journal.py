"""The simulated acquirer's memory: one file of JSON lines that survives `kill -9`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.channels.simulator.entries import Entry

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode


class Journal:
    """An append-only file: an entry is with the operating system before anybody hears of it.

    There is no fsync: it outlives the process, not the machine.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "simulator.jsonl"
        self._file = self._path.open("ab", buffering=0)

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
        """Write one entry; OSError when the disk is full."""
        line = _encode(entry) + b"\n"
        if self._file.write(line) != len(line):
            raise OSError("the journal's disk is full")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
