"""The demo merchant is the same at every start of `floodgate dev`, and has a key that works."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gateway import launch, merchants
from gateway.drivers import sealing
from gateway.drivers.migrations import migrate
from gateway.settings import Settings
from tests.conftest import Database


async def on_server(url: str, *statements: str) -> None:
    owner = await asyncpg.connect(url)
    for statement in statements:
        await owner.execute(statement)
    await owner.close()


@pytest.fixture
def settings(database: Database) -> Iterator[Settings]:
    """Books of their own, for a master key opens those that it has sealed."""
    url = urlunsplit(urlsplit(database.owner_url)._replace(path="/demo_key"))
    asyncio.run(on_server(database.owner_url, "CREATE DATABASE demo_key TEMPLATE template0"))
    asyncio.run(migrate(url))
    yield Settings(database_url=url, master_key=sealing.new_master_key())
    asyncio.run(on_server(database.owner_url, "DROP DATABASE demo_key WITH (FORCE)"))


def live(settings: Settings, demo: Any) -> list[str]:
    (keys,) = [
        each["keys"] for each in merchants.listed(settings) if each["merchant"] == demo["merchant"]
    ]
    return [key["key_id"] for key in keys]


def test_a_demo_key_that_was_revoked_is_replaced(settings: Settings, tmp_path: Path) -> None:
    first = launch._write_demo(settings, tmp_path)
    assert launch._write_demo(settings, tmp_path) == first
    merchants.revoke(settings, key_id=first["key_id"])
    again = launch._write_demo(settings, tmp_path)
    assert again["merchant"] == first["merchant"]
    assert live(settings, again) == [again["key_id"]]
    assert json.loads((tmp_path / "demo.json").read_text()) == again


def test_a_demo_file_of_other_books_is_written_anew(settings: Settings, tmp_path: Path) -> None:
    other = {"merchant": f"mer_{'0' * 32}", "key_id": f"key_{'0' * 32}", "secret": "c2VjcmV0"}
    (tmp_path / "demo.json").write_text(json.dumps(other))
    made = launch._write_demo(settings, tmp_path)
    assert made["merchant"] != other["merchant"]
    assert live(settings, made) == [made["key_id"]]
