"""The launchers: `dev` runs everything here, `serve` runs the gateway's workers in production."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from gateway import merchants
from gateway.assembly import vault_of
from gateway.demo import Demo
from gateway.domain.errors import FloodgateError
from gateway.drivers import listening, sealing
from gateway.drivers.clock import Clock
from gateway.drivers.embedded import Servers
from gateway.drivers.migrations import migrate
from gateway.drivers.postgres import Postgres
from gateway.drivers.processes import Child, LaunchError, Supervisor, listens, stops_on_signals
from gateway.match import service as match
from gateway.settings import Settings, SettingsWrong
from gateway.signing import Credentials
from gateway.verify import schemes
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore

logger: Final = logging.getLogger(__name__)

_SIMULATOR_PORT: Final = 8090
_STOP_SECONDS: Final = 28.0


def serve(settings: Settings) -> int:
    """Run the gateway's workers on one port until a signal; a dead one is started again."""
    for name in ("database_url", "redis_url", "master_key"):
        if not getattr(settings, name):
            raise SettingsWrong(f"FLOODGATE_{name.upper()} is needed")
    settings.simulator_key()
    listening.refuse_taken(settings.host, settings.port)
    with (
        stops_on_signals(),
        tempfile.TemporaryDirectory(prefix="floodgate-metrics-") as shared,
        Supervisor() as supervisor,
        _door(settings) as door,  # closed before the workers drain, so that nobody waits behind it
    ):
        settings = replace(settings, metrics_dir=settings.metrics_dir or shared)
        supervisor.start(*_gateways(settings, door))
        print(f"ready {settings.own_url}", flush=True)
        supervisor.watch()


def dev(settings: Settings, *, data: Path, demo: bool) -> int:
    """Run everything here, on a data folder, until a signal; no child outlives this."""
    _say(f"Floodgate: starting PostgreSQL, Redis, acquirer and gateway on {data}")
    listening.refuse_taken(settings.host, settings.port)
    compiled = "yes" if schemes.COMPILED and match.COMPILED else "no"
    _say(f"  native code compiled: {compiled}")
    with (
        stops_on_signals(),
        Servers(
            data,
            pg_bin=Path(settings.pg_bin) if settings.pg_bin else None,
            redis_bin=Path(settings.redis_bin) if settings.redis_bin else None,
        ) as servers,
        Supervisor() as supervisor,
        _door(settings) as door,
    ):
        settings, owner_url = _with_servers(settings, servers, supervisor)
        _say(f"  database {settings.database_url}\n  redis    {settings.redis_url}")
        applied = asyncio.run(migrate(owner_url))
        _say(f"  schema   {', '.join(applied) or 'current'}")
        settings = _for_dev(settings, data)
        supervisor.start(_simulator(settings, data))
        _say(f"  acquirer {settings.simulator_url} (simulated)")
        demo_file = _write_demo(settings, data)
        work = replace(_child("work", settings, "work"), stands_back=True)
        supervisor.start(work, *_gateways(settings, door))
        _say(f"  demo key {data / 'demo.json'}\nready {settings.own_url}")
        if demo:
            _show_demo(settings.own_url, demo_file)
        supervisor.watch()


def _with_servers(
    settings: Settings, servers: Servers, supervisor: Supervisor
) -> tuple[Settings, str]:
    """Start those servers for which no URL is configured; gives the owner's URL for migrations."""
    owner_url, children = settings.database_url, []
    if not settings.database_url:
        children.append(servers.postgres())
        owner_url = servers.owner_url
        settings = replace(settings, database_url=servers.app_url)
    if not settings.redis_url:
        children.append(servers.redis())
        settings = replace(settings, redis_url=servers.redis_url)
    supervisor.start(*children)
    return settings, owner_url


def _for_dev(settings: Settings, data: Path) -> Settings:
    """Fill in what production must configure: master key, acquirer, the folder of the metrics."""
    metrics = data.resolve() / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()
    port = settings.port + _SIMULATOR_PORT - 8080
    return replace(
        settings,
        master_key=settings.master_key or _master_key(data / "master.key"),
        simulator_url=settings.simulator_url or f"http://127.0.0.1:{port}",
        metrics_dir=str(metrics),
        webhook_loopback=True,
    )


def _master_key(path: Path) -> str:
    """Read the data folder's master key; make it, readable by us alone, when there is none."""
    if not path.exists():
        with open(path, "x", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write(sealing.new_master_key())
    return path.read_text().strip()


def _write_demo(settings: Settings, data: Path) -> dict[str, Any]:
    """Give the demo merchant and write it down; it is made at the first start only."""
    path = data / "demo.json"
    known: Mapping[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text())
    asyncio.run(_keep_public_key(settings))
    known = _demo_key(settings, known)
    demo = {
        "base_url": settings.own_url,
        "merchant": known["merchant"],
        "key_id": known["key_id"],
        "secret": known["secret"],
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "simulator_url": settings.simulator_url,
    }
    new = path.with_suffix(".new")
    with open(new, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(json.dumps(demo, indent=2) + "\n")
    new.replace(path)
    return demo


def _demo_key(settings: Settings, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the key that is known, or where it was revoked, or is of other books, a new one."""
    live = {each["merchant"]: each["keys"] for each in merchants.listed(settings)}
    merchant, wish = known.get("merchant", ""), merchants.KeyWish("hmac-sha256", None)
    if merchant not in live:
        return merchants.add(settings, name="Demo shop", key=wish, terms=Terms())
    if known.get("secret") and known.get("key_id") in {key["key_id"] for key in live[merchant]}:
        return known
    return merchants.rotate(settings, merchant=merchant, key=wish)


async def _keep_public_key(settings: Settings) -> None:
    postgres = Postgres(settings.database_url, connections=1)
    await postgres.open()
    try:
        store = PostgresKeyStore(postgres, vault_of(settings))
        await store.keep_public_key(sealing.public_part(settings.master_key), Clock().now())
    finally:
        await postgres.close()


@contextlib.contextmanager
def _door(settings: Settings) -> Iterator[list[int]]:
    """Open the Unix socket inside a block, where one is named; all workers accept from it."""
    if not settings.socket:
        yield []
        return
    if (file := listening.given_file(settings.socket)) is not None:
        yield [file]
        return
    with listening.unix(settings.socket) as door:
        yield [door.fileno()]


def _gateways(settings: Settings, door: list[int]) -> list[Child]:
    host = settings.host.strip("[]")
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104
    if door:
        settings = replace(settings, socket=listening.given(door[0]))
    return [
        replace(
            _child(f"gateway-{number}", settings, "serve", "--one"),
            ready=listens(host, settings.port),
            stop_seconds=_STOP_SECONDS,
            keep_fds=door,
        )
        for number in range(1, settings.workers + 1)
    ]


def _simulator(settings: Settings, data: Path) -> Child:
    port = int(settings.simulator_url.rpartition(":")[2])
    books = str(data.resolve() / "simulator")
    child = _child("simulator", settings, "simulator", "--port", str(port), "--data", books)
    return replace(child, ready=listens("127.0.0.1", port), stands_back=True)


def _child(name: str, settings: Settings, *words: str) -> Child:
    environment = settings.environment()
    if settings.metrics_dir:
        environment["PROMETHEUS_MULTIPROC_DIR"] = settings.metrics_dir
    return Child(name=name, argv=[sys.executable, "-m", "gateway", *words], environment=environment)


def _show_demo(base_url: str, demo: dict[str, Any]) -> None:
    try:
        asyncio.run(Demo(base_url, Credentials(demo["key_id"], demo["secret"])).run())
    except (LaunchError, FloodgateError) as error:
        _say(f"the demo payment was not made: {error}")
    # As it was called, so that the line can be pasted: the script is seldom on the path.
    program = sys.argv[0] if Path(sys.argv[0]).name == "floodgate" else "floodgate"
    _say(
        f"\nGo on with\n  {base_url}/docs          the API\n  {base_url}/openapi.json  for tools\n"
        f"  {base_url}/metrics       for Prometheus\n  {program} curl GET /v1/payments"
        f" --base-url {base_url} --key-id {demo['key_id']} --secret …\n"
        "where … is the secret beside the demo key. Ctrl-C stops everything."
    )


def _say(text: str) -> None:
    print(text, flush=True)
