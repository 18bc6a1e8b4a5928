"""The commands: `floodgate …`."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gateway import cli_merchant, cli_payment, cli_policy
from gateway.domain.errors import FloodgateError, StatementRefused
from gateway.settings import Settings, overridden, read_settings

# What PostgreSQL says, by its SQLSTATE, to whoever runs a command too early or as somebody else.
_REFUSALS: Final = MappingProxyType(
    dict.fromkeys(
        ("42P01", "42703", "42883", "3F000"),
        "the database has not the tables of this version: `floodgate migrate` makes them",
    )
    | {"42501": "the role in FLOODGATE_DATABASE_URL is not allowed to do this"}
)
_FAILED: Final = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all went well, 1 when it failed, 2 when it was called wrongly."""
    given = _parser().parse_args(arguments)
    try:
        settings = _overridden(read_settings(), given)
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s"
        )
        run: Callable[[Settings, argparse.Namespace], int] = given.run
        status = run(settings, given)
        sys.stdout.flush()
        return status
    except FloodgateError as error:
        print(f"floodgate: {error}", file=sys.stderr)
        return _FAILED
    except StatementRefused as refused:
        if refused.state not in _REFUSALS:
            raise
        print(f"floodgate: {_REFUSALS[refused.state]}", file=sys.stderr)
        return _FAILED
    except BrokenPipeError:
        # Whoever read our output has heard enough; Python's own last flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _overridden(settings: Settings, given: argparse.Namespace) -> Settings:
    """Let the command line win over the environment."""
    named = {
        name: value
        for name, value in vars(given).items()
        if value is not None and name in {"host", "port", "socket", "workers"}
    }
    return overridden(settings, named)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:  # noqa: PLR2004 - RFC 9293 section 3.1
        raise argparse.ArgumentTypeError("a port lies between 1 and 65535")
    return int(text)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError("a path begins with /")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="floodgate",
        description="A payment gateway for the minute when everybody pays at once.",
    )
    parser.add_argument("--version", action="version", version=f"floodgate {version('floodgate')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    dev = commands.add_parser("dev", help="run everything here, with embedded servers")
    _listening(dev)
    dev.add_argument("--data", type=Path, default=Path(".floodgate"), help="data folder")
    dev.add_argument("--demo", action="store_true", help="make a signed demo payment and show it")
    dev.set_defaults(run=_dev)

    serve = commands.add_parser("serve", help="run gateway workers against the configured URLs")
    _listening(serve)
    serve.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    serve.set_defaults(run=_serve)

    commands.add_parser("work", help="run the background worker").set_defaults(run=_work)

    simulator = commands.add_parser("simulator", help="run the scripted acquirer")
    simulator.add_argument("--host", default="127.0.0.1")
    simulator.add_argument("--port", dest="simulator_port", type=_port, default=8090)
    simulator.add_argument("--data", type=Path, help="where its books survive a crash")
    simulator.add_argument("--seed", type=int, default=0)
    simulator.set_defaults(run=_simulator)

    commands.add_parser("migrate", help="bring the schema up to date").set_defaults(run=_migrate)
    cli_merchant.add_parsers(commands)
    cli_policy.add_parsers(commands)
    _channel_parser(commands)
    cli_payment.add_parsers(commands)
    _curl_parser(commands)

    proofs = commands.add_parser("proofs", help="prove the books")
    proofs.add_argument("--json", action="store_true")
    proofs.set_defaults(run=_proofs)

    commands.add_parser("settings", help="print the effective settings").set_defaults(run=_settings)
    return parser


def _listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port to listen on (8080)")
    parser.add_argument("--socket", help="a Unix socket to listen on as well, for a proxy here")
    parser.add_argument("--workers", type=int, help="gateway processes on the port (1)")


def _channel_parser(commands: Any) -> None:
    channel = commands.add_parser("channel", help="add, list and revoke credentials of channels")
    verbs = channel.add_subparsers(required=True, metavar="VERB")
    add = verbs.add_parser("add", help="add a credential; it is sealed and never shown again")
    add.add_argument("channel")
    add.add_argument("--file", type=Path, required=True, help="the credential as .toml or .json")
    add.add_argument("--merchant", help="whose own it is; without it the platform's")
    add.add_argument("--label", default="", help="a word for whoever lists them")
    add.set_defaults(run=_channel_add)
    verbs.add_parser("list", help="list live credentials").set_defaults(run=_channel_list)
    revoke = verbs.add_parser("revoke", help="end a credential on every worker within 5 s")
    revoke.add_argument("credential")
    revoke.set_defaults(run=_channel_revoke)


def _curl_parser(commands: Any) -> None:
    curl = commands.add_parser("curl", help="print a signed curl command")
    curl.add_argument("method", type=str.upper, help="GET, POST or DELETE")
    curl.add_argument("path", type=_path, help="such as /v1/payments?limit=10")
    curl.add_argument("--body", help="the JSON that is sent, byte for byte")
    curl.add_argument("--key-id", required=True)
    curl.add_argument("--secret", required=True, help="the base64 that was shown with the key")
    curl.add_argument("--idempotency-key", help="made up for a POST when it is not given")
    curl.add_argument("--base-url", help="where the gateway is (http://HOST:PORT)")
    curl.set_defaults(run=_curl)


def _dev(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import launch

    return launch.dev(settings, data=given.data, demo=given.demo)


def _serve(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import launch, worker

    if given.one:
        return _run(worker.serve(settings))
    return launch.serve(settings)


def _work(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import worker

    return _run(worker.work(settings))


def _simulator(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import worker
    from gateway.channels.simulator.server import SimulatorConfig

    config = SimulatorConfig(
        host=given.host,
        port=given.simulator_port,
        secret=settings.simulator_secret.encode(),
        data=given.data,
        seed=given.seed,
    )
    return _run(worker.simulate(config))


def _migrate(settings: Settings, _: argparse.Namespace) -> int:
    from gateway.drivers.migrations import migrate

    if not settings.database_url:
        raise FloodgateError("FLOODGATE_DATABASE_URL is needed")
    applied = asyncio.run(migrate(settings.database_url))
    print("\n".join(f"applied {name}" for name in applied) or "the schema is current")
    return 0


def _channel_add(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import credentials

    made = credentials.add(
        settings,
        channel=given.channel,
        file=given.file,
        merchant=given.merchant,
        label=given.label,
    )
    print(json.dumps(made))
    return 0


def _channel_list(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import credentials

    print(json.dumps(credentials.listed(settings), indent=2))
    return 0


def _channel_revoke(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import credentials

    credentials.revoke(settings, credential_id=given.credential)
    print(json.dumps({"revoked": given.credential}))
    return 0


def _curl(settings: Settings, given: argparse.Namespace) -> int:
    import uuid

    from gateway.assembly import public_base
    from gateway.idempotency.rules import key_of
    from gateway.signing import Credentials, Unsigned, curl_command, sign

    key: str | None = given.idempotency_key
    if key is not None:
        key = key_of(key)
    elif given.method == "POST":
        key = str(uuid.uuid4())
    request = Unsigned(given.method, given.path, (given.body or "").encode(), key)
    try:
        headers = sign(request, Credentials(given.key_id, given.secret), datetime.now(UTC))
    except ValueError:
        raise FloodgateError("the secret is not base64") from None
    print(curl_command(given.base_url or public_base(settings), request, headers))
    return 0


def _proofs(settings: Settings, given: argparse.Namespace) -> int:
    from gateway import assembly, terminal

    proved = _run_for(assembly.prove_everything(settings))
    if given.json:
        body = {"holds": all(proof.holds for proof in proved), "proofs": proved}
        print(msgspec.json.encode(body).decode())
    else:
        terminal.show_proofs(proved)
    return 0 if all(proof.holds for proof in proved) else _FAILED


def _settings(settings: Settings, _: argparse.Namespace) -> int:
    print(json.dumps(settings.masked(), indent=2))
    return 0


def _run(coroutine: Any) -> int:
    _run_for(coroutine)
    return 0


def _run_for(coroutine: Any) -> Any:
    import uvloop

    return uvloop.run(coroutine)
