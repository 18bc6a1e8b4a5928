"""The floors: a file imports only from floors below, and no step imports another."""

import pytest
from source_tree import Source, imports, parsed, shipped

STEPS = (
    *("verify", "admission", "match", "idempotency"),
    *("risk", "routing", "channels", "ledger", "events"),
)
FLOORS = (
    ("domain",),
    ("drivers",),
    STEPS,
    ("flow",),
    ("products", "backoffice", "plugins"),
    ("faces",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# These stand above the floors, and no floor knows of them.
ROOF = {
    "__main__",
    "assembly",
    "cli",
    "cli_merchant",
    "cli_payment",
    "cli_policy",
    "credentials",
    "demo",
    "launch",
    "merchants",
    "payments",
    "policies",
    "settings",
    "signing",
    "terminal",
    "worker",
}
MAY_ENTER_NATIVE = {"native", "verify", "match", "channels", "drivers", "faces"}


def offence(room: str, imported: str) -> str | None:
    """Say why a file of this room may not import this name; None when it may."""
    package, target = f"{imported}.".split(".")[:2]
    if package == "":
        return "imports are absolute"
    if package == "native" and room not in MAY_ENTER_NATIVE:
        return "only verify, match, channels, drivers and faces enter native"
    if package == "gateway" and room == "native":
        return "native stands outside the house"
    if package == "gateway" and room != target and room not in ROOF:
        return None if is_below(target, room) else f"{target} is not below {room}"
    return None


def is_below(target: str, room: str) -> bool:
    """Tell whether a room lies on a lower floor; the roof is below nothing."""
    return target in FLOOR_OF and FLOOR_OF[target] < FLOOR_OF[room]


def offences(source: Source) -> list[str]:
    return [
        f"{source.at(node)}: {imported}: {why}"
        for imported, node in imports(source)
        if (why := offence(source.room, imported)) is not None
    ]


def test_every_file_has_its_floor() -> None:
    rooms = {source.room for source in shipped()} - {"gateway", "native"}
    assert rooms <= FLOOR_OF.keys() | ROOF


def test_every_file_imports_from_floors_below() -> None:
    found = [line for source in shipped() for line in offences(source)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("gateway/domain/money.py", "from gateway.drivers.clock import Clock"),
        ("gateway/drivers/clock.py", "import gateway.ledger.rules"),
        ("gateway/ledger/rules.py", "from gateway.events import feed"),
        ("gateway/ledger/rules.py", "from gateway import events"),
        ("gateway/ledger/rules.py", "def later():\n    from gateway.routing import rules"),
        ("gateway/ledger/rules.py", "from .chart import Account"),
        ("gateway/ledger/rules.py", "from gateway.settings import Settings"),
        ("gateway/flow/pay.py", "from gateway.faces.api import server"),
        ("gateway/flow/pay.py", "from gateway.assembly import house"),
        ("gateway/flow/pay.py", "from native import signature"),
        ("gateway/backoffice/reports/rules.py", "from gateway.plugins import host"),
        ("gateway/cli.py", "from native import signature"),
        ("native/routes.py", "from gateway.domain import limits"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(path: str, line: str) -> None:
    assert len(offences(parsed(path, line))) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("gateway/ledger/rules.py", "from gateway.ledger.chart import Account"),
        ("gateway/ledger/rules.py", "from gateway.domain import money"),
        ("gateway/verify/service.py", "from native.signature import read"),
        ("gateway/faces/api/server.py", "from gateway.flow.entry import enter"),
        ("gateway/assembly.py", "from gateway.ledger.store import PostgresBooks"),
        ("gateway/settings.py", "import os, msgspec"),
    ],
)
def test_an_import_downwards_is_fine(path: str, line: str) -> None:
    assert offences(parsed(path, line)) == []
