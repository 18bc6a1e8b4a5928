"""Draws reports again from their data, or two of them side by side.

python -m bench.report draw REPORT/record.json
python -m bench.report compare A/record.json B/record.json [--to compare.html]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.report.files import compare, write
from bench.report.record import Record


def main(words: Sequence[str]) -> int:
    """Run it; 1 when a file is no record, or nothing can be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    drawing = commands.add_parser("draw")
    drawing.add_argument("record", type=Path)
    comparing = commands.add_parser("compare")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument("--to", type=Path, default=Path("reports/compare.html"))
    given = parser.parse_args(words)
    try:
        if given.command == "draw":
            print(write(Record.read(given.record), given.record.parent.parent))
        else:
            given.to.parent.mkdir(parents=True, exist_ok=True)
            print(compare(given.first, given.second, given.to))
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except msgspec.MsgspecError as error:
        print(f"that is no record.json of a load run: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
