"""The command line: section 1 of the contract, each command as a merchant's operator runs it."""

import asyncio
import base64
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway import assembly
from gateway.domain.identity import is_id, merchant_number
from gateway.signing import Credentials
from tests.conftest import Database
from tests.e2e.cli_kit import run, run_in
from tests.e2e.harness import Shop, System, free_port, order


async def test_version_and_help() -> None:
    told, helped, nothing = await asyncio.gather(run("--version"), run("--help"), run())
    assert (told.code, told.out) == (0, f"floodgate {version('floodgate')}\n")
    assert helped.code == 0
    for command in (
        "dev",
        "serve",
        "work",
        "simulator",
        "migrate",
        "merchant",
        "channel",
        "curl",
        "proofs",
    ):
        assert re.search(rf"^ +{command}\b", helped.out, re.MULTILINE)
    assert (nothing.code, nothing.out) == (2, "")


async def test_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    config = tmp_path / "floodgate.toml"
    config.write_text('port = 9000\nworkers = 3\nsimulator_secret = "hunter2"\n')
    given = {
        "FLOODGATE_CONFIG": str(config),
        "FLOODGATE_PORT": "9001",
        "FLOODGATE_MASTER_KEY": "hunter2",
        "FLOODGATE_DATABASE_URL": "postgresql://app:hunter2@db.example:5432/floodgate",
        "FLOODGATE_REDIS_URL": "redis://:hunter2@cache.example:6379/0",
    }
    shown = await run("settings", environment=given)
    assert shown.code == 0
    assert "hunter2" not in shown.out + shown.err
    settings = shown.json
    # The environment wins over the file, and what neither names has its default.
    assert (settings["port"], settings["workers"], settings["host"]) == (9001, 3, "127.0.0.1")
    assert (settings["master_key"], settings["simulator_secret"]) == ("***", "***")
    assert settings["database_url"] == "postgresql://app:***@db.example:5432/floodgate"
    in_query = {"FLOODGATE_DATABASE_URL": "postgresql:///f?user=app&password=hunter2&host=/run/p"}
    shown = await run("settings", environment=in_query)
    assert shown.json["database_url"] == "postgresql:///f?user=app&password=***&host=/run/p"


async def reads(shop: Shop, made: Mapping[str, Any], status: int) -> None:
    """Wait at most five seconds until this key is served, or no longer served."""
    key = Shop(shop.base_url, "", Credentials(made["key_id"], made["secret"]), shop.session)
    async with asyncio.timeout(5):
        while (await key.call("GET", "/v1/payments")).status != status:  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.02)


async def test_a_merchant_is_added_and_its_key_rotated_and_revoked(
    system: System, shop: Shop
) -> None:
    first = (await run_in(system, "merchant", "add", "Tea & Co", "--commission-bps", "75")).json
    assert list(first) == ["merchant", "key_id", "secret"]
    assert is_id(first["merchant"], "mer")
    assert is_id(first["key_id"], "key")
    assert len(base64.b64decode(first["secret"], validate=True)) >= 32
    await reads(shop, first, 200)
    second = (await run_in(system, "merchant", "rotate-key", first["merchant"])).json
    assert second["merchant"] == first["merchant"]
    assert second["secret"] != first["secret"]
    await reads(shop, second, 200)
    await reads(shop, first, 200)
    revoked = await run_in(system, "merchant", "revoke-key", first["key_id"])
    assert revoked.code == 0
    chosen = await run_in(system, "merchant", "late-success", first["merchant"], "refund")
    assert chosen.json == {"merchant": first["merchant"], "late_success": "refund"}
    listed = await run_in(system, "merchant", "list")
    assert first["secret"] not in listed.out
    assert second["secret"] not in listed.out
    (told,) = [each for each in listed.json if each["merchant"] == first["merchant"]]
    assert told == {
        "merchant": first["merchant"],
        "number": merchant_number(first["merchant"]),
        "name": "Tea & Co",
        "commission_bps": 75,
        "late_success": "refund",
        "load_test": False,
        "quota": {"per_second": None, "in_flight": None, "weight": 1},
        "created_at": told["created_at"],
        "keys": [{"key_id": second["key_id"], "algorithm": "hmac-sha256"}],
    }
    await reads(shop, first, 401)
    await reads(shop, second, 200)


async def test_a_merchants_books_are_read(system: System, shop: Shop) -> None:
    for _ in range(2):
        await shop.pay()
    reading = ("merchant", "entries", shop.merchant)
    accounts, newest, wrong, nobody = await asyncio.gather(
        run_in(system, "merchant", "accounts", shop.merchant),
        run_in(system, *reading, "--account", "2201.CNY", "--limit", "1"),
        run_in(system, *reading, "--account", "5001.CNY"),
        run_in(system, "merchant", "accounts", f"mer_{'0' * 32}"),
    )
    assert accounts.json == (await shop.call("GET", "/v1/ledger/accounts")).json["data"]
    listed = (await shop.call("GET", "/v1/ledger/entries?account=2201.CNY&limit=1")).json
    assert newest.json == listed["data"]
    assert [(each.code, each.out) for each in (wrong, nobody)] == [(1, "")] * 2


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa-v1_5-sha256"])
async def test_a_merchant_may_bring_a_public_key(
    system: System, shop: Shop, algorithm: str, tmp_path: Path
) -> None:
    ours = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    right, wrong = ours if "rsa" in algorithm else ours[::-1]
    for name, private in (("right", right), ("wrong", wrong)):
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / name).write_bytes(pem)
    adding = ("merchant", "add", "Keys", "--algorithm", algorithm)
    made, other, none = await asyncio.gather(
        run_in(system, *adding, "--public-key", str(tmp_path / "right")),
        run_in(system, *adding, "--public-key", str(tmp_path / "wrong")),
        run_in(system, *adding),
    )
    assert made.json["secret"] is None
    assert (other.code, other.out, none.code, none.out) == (1, "", 1, "")
    assert algorithm in other.err
    assert "--public-key" in none.err


async def test_what_is_not_there_cannot_be_rotated_or_revoked(system: System, shop: Shop) -> None:
    runs = await asyncio.gather(
        run_in(system, "merchant", "rotate-key", f"mer_{'0' * 32}"),
        run_in(system, "merchant", "revoke-key", "key_1"),
        run_in(system, "merchant", "add", "Greedy", "--commission-bps", "10001"),
        run_in(system, "merchant", "late-success", f"mer_{'0' * 32}", "adopt"),
    )
    assert [(each.code, each.out) for each in runs] == [(1, "")] * 4


async def test_the_curl_command_runs_as_it_is_printed(system: System, shop: Shop) -> None:
    asked = order(description="it's a test")
    key = ("--key-id", shop.credentials.key_id, "--secret", shop.credentials.secret)
    posting, reading = await asyncio.gather(
        run_in(system, "curl", "POST", "/v1/payments", "--body", json.dumps(asked), *key),
        run_in(system, "curl", "GET", "/v1/payments?limit=3&status=succeeded", *key),
    )
    for command, status in ((posting, 201), (reading, 200)):
        pasted = command.out.strip() + r" -w '\n%{http_code}'"
        process = await asyncio.create_subprocess_shell(pasted, stdout=asyncio.subprocess.PIPE)
        told = (await process.communicate())[0].decode()
        body, _, code = told.rpartition("\n")
        assert int(code) == status, body
        assert asked["reference"] in body


async def test_the_books_are_proved(system: System, shop: Shop) -> None:
    for token in ("tok_ok", "tok_declined", "qr"):
        await shop.pay(token)
    read, shown = await asyncio.gather(run_in(system, "proofs", "--json"), run_in(system, "proofs"))
    assert (read.code, shown.code) == (0, 0), read.out
    assert read.json["holds"] is True
    assert [proof["id"] for proof in read.json["proofs"]] == list("abcdefgh")
    assert all(proof["holds"] and not proof["counterexamples"] for proof in read.json["proofs"])
    assert all(f"({name})" in shown.out for name in "abcdefgh")


CNY, USD = 22010000156, 22010000840  # merchant pending, as the chart numbers it
TRANSFER = "merchant_id = $1 AND leg = 0 AND kind = 1 AND amount = 994"
# What an owner of the database might do, how it is undone, and which proofs must name it.
TAMPERED = {
    # Two journals that swap their currencies: every balance is as it was.
    "a": (f"UPDATE transfer SET credit_account = {CNY + USD} - credit_account WHERE {TRANSFER}",)
    * 2,
    "b": tuple(
        f"UPDATE account SET debits_posted = debits_posted {sign} 1,"
        f" credits_posted = credits_posted {sign} 1 WHERE merchant_id = $1 AND account = {CNY}"
        for sign in "+-"
    ),
    "bc": tuple(
        f"UPDATE account SET credits_posted = credits_posted {sign} 1"
        f" WHERE merchant_id = $1 AND account = {CNY}"
        for sign in "+-"
    ),
    "d": tuple(
        f"UPDATE payment SET amount_captured = amount_captured {sign} 1 WHERE merchant_id = $1"
        for sign in "-+"
    ),
    "f": (
        (
            "ALTER TABLE payment DROP CONSTRAINT payment_amounts;"
            "UPDATE payment SET amount_refunded = amount_captured + 1 WHERE merchant_id = $1"
        ),
        "UPDATE payment SET amount_refunded = 0 WHERE merchant_id = $1",
    ),
    "g": tuple(
        f"UPDATE attempt SET channel = '{channel}' WHERE merchant_id = $1"
        for channel in ("stripe", "simulator")
    ),
    "h": tuple(
        f"UPDATE event SET sequence = sequence {sign} 1 WHERE merchant_id = $1 AND sequence ="
        f" (SELECT max(sequence) FROM event WHERE merchant_id = $1)"
        for sign in "+-"
    ),
}


async def failing(system: System) -> dict[str, str]:
    """Prove everything; give what stands against the proofs that fail."""
    proved = await assembly.prove_everything(system.settings)
    return {proof.id: " ".join(proof.counterexamples) for proof in proved if not proof.holds}


@pytest.mark.parametrize("named", TAMPERED)
async def test_exactly_the_proofs_of_what_was_tampered_with_fail(
    system: System, shop: Shop, database: Database, named: str
) -> None:
    payments = [
        (await shop.pay(amount=1000, currency=currency)).json for currency in ("CNY", "USD")
    ]
    merchant = merchant_number(payments[0]["id"])
    tamper, undo = TAMPERED[named]
    owner = await asyncpg.connect(database.owner_url)
    assert await failing(system) == {}
    await owner.execute(tamper.replace("$1", str(merchant)))
    against = await failing(system)
    await owner.execute(undo.replace("$1", str(merchant)))
    await owner.close()
    assert "".join(against) == named
    if named != "g":  # which names the acquirer's own numbers
        assert all(f"merchant {merchant}:" in line for line in against.values())
    assert await failing(system) == {}


async def test_a_transaction_of_the_channel_in_two_attempts_is_found(
    system: System, shop: Shop, database: Database
) -> None:
    payments = [(await shop.pay()).json]
    async with system.shop("Neighbour") as neighbour:
        payments.append((await neighbour.pay()).json)
    mine, theirs = (merchant_number(payment["id"]) for payment in payments)
    owner = await asyncpg.connect(database.owner_url)
    transaction = "SELECT channel_transaction FROM attempt WHERE merchant_id = $1"
    changing = "UPDATE attempt SET channel_transaction = $2 WHERE merchant_id = $1"
    before = await owner.fetchval(transaction, mine)
    await owner.execute(changing, mine, await owner.fetchval(transaction, theirs))
    against = await failing(system)
    await owner.execute(changing, mine, before)
    await owner.close()
    assert "".join(against) == "e"
    assert await failing(system) == {}


async def test_a_failed_proof_is_told_in_the_exit_status(
    system: System, shop: Shop, database: Database
) -> None:
    payment = (await shop.pay()).json
    merchant = merchant_number(payment["id"])
    owner = await asyncpg.connect(database.owner_url)
    tamper, undo = TAMPERED["h"]
    await owner.execute(tamper.replace("$1", str(merchant)))
    read, shown = await asyncio.gather(run_in(system, "proofs", "--json"), run_in(system, "proofs"))
    await owner.execute(undo.replace("$1", str(merchant)))
    await owner.close()
    assert (read.code, shown.code) == (1, 1)
    assert read.json["holds"] is False
    assert [proof["id"] for proof in read.json["proofs"] if not proof["holds"]] == ["h"]
    assert f"merchant {merchant}: sequence" in shown.out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder; root's PostgreSQL runs as another user, who must pass on the way to it."""
    for folder in (tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    return tmp_path / "data"


async def test_dev_runs_everything_and_leaves_nothing_behind(data: Path) -> None:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOODGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "dev", "--port", str(port), "--data", str(data)),
        env=kept,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = []
    async with asyncio.timeout(60):
        while not (line := (await process.stdout.readline()).decode()).startswith("ready "):
            assert line, "".join(lines)
            lines.append(line)
    assert "Floodgate" in lines[0]
    assert line == f"ready http://127.0.0.1:{port}\n"
    demo = json.loads((data / "demo.json").read_text())
    assert list(demo) == [
        *("base_url", "merchant", "key_id", "secret"),
        *("database_url", "redis_url", "simulator_url"),
    ]
    given = {f"FLOODGATE_{n}_URL": demo[f"{n.lower()}_url"] for n in ("DATABASE", "SIMULATOR")}
    key = ("--key-id", demo["key_id"], "--secret", demo["secret"], "--base-url", demo["base_url"])
    command = await run("curl", "POST", "/v1/payments", "--body", json.dumps(order()), *key)
    paying = await asyncio.create_subprocess_shell(command.out, stdout=asyncio.subprocess.PIPE)
    payment = json.loads((await paying.communicate())[0])
    assert (payment["status"], payment["merchant"]) == ("succeeded", demo["merchant"])
    proved = await run("proofs", "--json", environment=given)
    assert (proved.code, proved.json["holds"]) == (0, True)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(35):
        assert await process.wait() == 0
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", port)
