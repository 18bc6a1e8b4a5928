"""Writes the files of a report: one page that fetches nothing, its pictures, its data."""

from pathlib import Path

from bench.report.page import comparison, page
from bench.report.record import Record

_DATA = "record.json"


def write(record: Record, reports: Path) -> Path:
    """Write a record's folder: page, pictures, data; gives the page's path."""
    from bench.report.charts import draw

    stamp = "".join(letter if letter.isalnum() else "-" for letter in record.taken_at)
    folder = reports / f"{stamp}-{record.shape}".lower()
    folder.mkdir(parents=True, exist_ok=True)
    record.write(folder / _DATA)
    pictures = draw(record)
    for picture in pictures:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    path = folder / "report.html"
    path.write_text(page(record, pictures), encoding="utf-8")
    return path


def compare(first: Path, second: Path, path: Path) -> Path:
    """Write a page with two records side by side, on the same axes."""
    records = Record.read(first), Record.read(second)

    from bench.report.charts import draw
    from bench.report.series import Scale

    scale = Scale.of(*records)
    drawn = draw(records[0], scale), draw(records[1], scale)
    path.write_text(comparison(records, drawn), encoding="utf-8")
    return path
