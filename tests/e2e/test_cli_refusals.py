"""How commands of the line refuse: one sentence that helps, a status, and no secret."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gateway.drivers import sealing
from tests.conftest import Database
from tests.e2e.cli_kit import run


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"FLOODGATE_COLOUR": "hunter2"}, "FLOODGATE_COLOUR"),
        ({"FLOODGATE_PORT": "hunter2"}, "port"),
        ({"FLOODGATE_WORKERS": "0"}, "workers"),
        ({"FLOODGATE_CONFIG": "/nowhere/hunter2.toml"}, "FLOODGATE_CONFIG"),
    ],
)
async def test_a_wrong_setting_is_refused_by_name(given: Mapping[str, str], named: str) -> None:
    refused = await run("settings", environment=given)
    assert (refused.code, refused.out) == (1, "")
    assert named in refused.err
    assert "hunter2" not in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    "words", [("dev", "--port", "0"), ("simulator", "--port", "65536"), ("serve", "--workers", "0")]
)
async def test_a_wrong_word_of_the_command_line_is_refused(words: tuple[str, ...]) -> None:
    refused = await run(*words)
    assert (refused.code in {1, 2}, refused.out) == (True, "")
    assert "port" in refused.err or "workers" in refused.err
    assert "Traceback" not in refused.err


async def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "floodgate.toml"
    config.write_text("colour = 1\n")
    refused = await run("settings", environment={"FLOODGATE_CONFIG": str(config)})
    assert (refused.code, refused.out) == (1, "")
    assert "FLOODGATE_COLOUR" in refused.err


async def test_whoever_reads_no_further_makes_no_noise() -> None:
    """As in `floodgate … | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "settings"),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writer)
    assert (await process.communicate())[1] == b""
    assert process.returncode == 141


async def test_where_a_file_is_wrong_is_told_and_not_what_stands_there(tmp_path: Path) -> None:
    file = tmp_path / "stripe.json"
    file.write_text('{\n "secret_key": "hunter2,\n}')
    told = await run("channel", "add", "stripe", "--file", str(file))
    assert (told.code, told.out) == (1, "")
    assert "it is no JSON, see line 2, column 25" in told.err
    assert "hunter2" not in told.err


@pytest.mark.parametrize("command", ["serve", "work", "migrate", "proofs"])
async def test_what_needs_a_database_says_so(command: str) -> None:
    refused = await run(command)
    assert refused.code == 1
    assert "FLOODGATE_" in refused.err
    assert "Traceback" not in refused.err


@pytest.fixture
async def empty_url(database: Database) -> AsyncIterator[str]:
    """A database without any table."""
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("CREATE DATABASE not_migrated TEMPLATE template0")
    yield urlunsplit(urlsplit(database.owner_url)._replace(path="/not_migrated"))
    await owner.execute("DROP DATABASE not_migrated WITH (FORCE)")
    await owner.close()


async def test_migrating_from_several_machines_at_once_and_again(empty_url: str) -> None:
    given = {"FLOODGATE_DATABASE_URL": empty_url}
    runs = await asyncio.gather(*(run("migrate", environment=given) for _ in range(3)))
    assert [each.code for each in runs] == [0, 0, 0], runs
    applied = re.findall(r"^applied (\w+)$", "".join(each.out for each in runs), re.MULTILINE)
    assert sorted(applied) == sorted(set(applied)), "no file is applied twice"
    assert "0001_spine" in applied
    again = await run("migrate", environment=given)
    assert (again.code, again.out) == (0, "the schema is current\n")


async def test_a_database_that_was_not_migrated_says_so(empty_url: str) -> None:
    given = {
        "FLOODGATE_DATABASE_URL": empty_url,
        "FLOODGATE_REDIS_URL": "redis://127.0.0.1:1",
        "FLOODGATE_MASTER_KEY": sealing.new_master_key(),
    }
    asked = [("merchant", "add", "Early"), ("proofs",), ("channel", "list"), ("work",)]
    runs = await asyncio.gather(*(run(*words, environment=given) for words in asked))
    for told in runs:
        assert (told.code, told.out) == (1, "")
        assert told.err.splitlines()[-1] == (
            "floodgate: the database has not the tables of this version:"
            " `floodgate migrate` makes them"
        )
        assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://nobody@{place}", 'role "nobody" does not exist'),
        ("postgresql://127.0.0.1:1/floodgate", "Connect call failed"),
        ("postgresql://me:pa/ss@127.0.0.1:5432/floodgate", "/ as %2F"),
        ("127.0.0.1:5432/floodgate", "postgresql://ROLE:PASSWORD@HOST"),
    ],
)
async def test_why_the_database_is_not_reached_is_told(
    database: Database, url: str, why: str
) -> None:
    place = database.owner_url.partition("@")[2]
    given = {"FLOODGATE_DATABASE_URL": url.format(place=place)}
    for told in await asyncio.gather(
        *(run(*words, environment=given) for words in (("migrate",), ("merchant", "add", "Lost")))
    ):
        assert (told.code, told.out, told.err.count("\n")) == (1, "", 1), told.err
        assert why in told.err
        assert "'pa'" not in told.err
