"""Rules, nouns and channels are pure: no `await`, no driver, no clock, nothing from outside."""

import ast

import pytest
from source_tree import Source, dotted, imports, parsed, shipped

from gateway.channels.kinds import KINDS

OUTSIDE = {
    "aiohttp",
    "asyncio",
    "asyncpg",
    "concurrent",
    "multiprocessing",
    "pathlib",
    "redis",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uvloop",
}
CLOCKS = {"now", "utcnow", "today"}
WAITING = (
    ast.AsyncFunctionDef,
    ast.Await,
    ast.AsyncFor,
    ast.AsyncWith,
)


def is_pure(source: Source) -> bool:
    """Tell whether the house wants this file pure: of the simulator its channel, not its server."""
    parts = source.path.parts
    inside = parts[parts.index("channels") + 1 : -1] if source.room == "channels" else ()
    is_channel = bool(inside) and (inside != ("simulator",) or source.path.name == "channel.py")
    return source.path.name.endswith("rules.py") or source.room == "domain" or is_channel


def offences(source: Source) -> list[str]:
    drivers = [
        f"{source.at(node)}: imports {name}"
        for name, node in imports(source)
        if name.split(".")[0] in OUTSIDE or name.startswith("gateway.drivers")
    ]
    waiting = [f"{source.at(node)}: waits" for node in source.find(*WAITING)]
    calls = [
        f"{source.at(call)}: calls {name}"
        for call in source.find(ast.Call)
        if (name := dotted(call.func)) == "open" or name.rpartition(".")[2] in CLOCKS
    ]
    return drivers + waiting + calls


def test_there_are_rules_and_nouns() -> None:
    pure = {source.module for source in shipped() if is_pure(source)}
    assert {"gateway.domain.money", "gateway.ledger.rules", "gateway.match.rules"} <= pure
    assert {f"gateway.channels.{kind.name}.channel" for kind in KINDS.values()} <= pure
    assert "gateway.channels.wechat.signing" in pure
    assert "gateway.channels.courier" not in pure


def test_rules_nouns_and_channels_are_pure() -> None:
    found = [line for source in filter(is_pure, shipped()) for line in offences(source)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "async def ask(): ...",
        "from gateway.drivers.clock import Clock",
        "from gateway.drivers import postgres",
        "import asyncio",
        "from time import monotonic",
        "from datetime import UTC, datetime\nat = datetime.now(UTC)",
        "import datetime as d\nat = d.datetime.utcnow()",
        "text = open('rates')",
    ],
)
def test_an_impure_line_is_found(line: str) -> None:
    assert len(offences(parsed("gateway/ledger/rules.py", line))) == 1
