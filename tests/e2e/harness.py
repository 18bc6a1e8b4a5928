"""A whole Floodgate for one test module: real processes, which may be killed and started again."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.structs import replace
from process_kit import started

from gateway import merchants
from gateway.drivers import sealing
from gateway.settings import Settings
from gateway.signing import Credentials, Unsigned, sign
from gateway.verify.ports import Terms

READY_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """Look again and again until this gives something true, and give that."""
    async with asyncio.timeout(seconds):
        while not (found := await holds()):  # noqa: ASYNC110 - other processes set no Event
            await asyncio.sleep(0.01)
    return found


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Shop:
    """A merchant that calls the gateway."""

    base_url: str
    merchant: str
    credentials: Credentials
    session: aiohttp.ClientSession

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        at: datetime | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one signed request; `headers` win over those of the signature."""
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        if key is None and method == "POST":
            key = uuid.uuid4().hex
        signed = sign(Unsigned(method, path, raw, key), self.credentials, at or datetime.now(UTC))
        return await self.send(method, path, raw, {**signed, **(headers or {})})

    async def send(self, method: str, path: str, raw: bytes, headers: Mapping[str, str]) -> Reply:
        async with self.session.request(
            method, self.base_url + path, data=raw or None, headers=headers
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def pay(self, token: str = "tok_ok", **changes: Any) -> Reply:
        """Create a payment; `key` names its idempotency key."""
        key = changes.pop("key", None)
        return await self.call("POST", "/v1/payments", order(token, **changes), key=key)

    async def payment(self, payment_id: str) -> Any:
        return (await self.call("GET", f"/v1/payments/{payment_id}")).json

    async def until(self, payment_id: str, status: str, seconds: float = 20.0) -> Any:
        """Wait until a payment has this status."""
        async with asyncio.timeout(seconds):
            while True:
                payment = await self.payment(payment_id)
                if payment["status"] == status:
                    return payment
                await asyncio.sleep(0.05)


def order(token: str = "tok_ok", **changes: Any) -> dict[str, Any]:
    method = {"type": "qr"} if token == "qr" else {"type": "card", "token": token}
    return {
        "amount": 1999,
        "currency": "CNY",
        "reference": uuid.uuid4().hex,
        "method": method,
    } | changes


def _end_of(process: BaseProcess) -> int:
    """Wait until a process has ended, and give how; negative: by this signal."""
    process.join(30)
    if process.exitcode is None:
        raise TimeoutError(f"{process.pid} does not end")
    return process.exitcode


@dataclass
class System:
    """The processes of one gateway; each can be killed and started again by its name."""

    settings: Settings
    folder: Path
    processes: dict[str, BaseProcess] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self, name: str, *arguments: str, settings: Settings | None = None) -> None:
        """Start a process, with the settings of the others unless it has its own."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOODGATE_")}
        environment |= (settings or self.settings).environment()
        self.processes[name] = started(arguments, environment, self.folder / f"{name}.log")

    def start_simulator(self) -> None:
        port = self.settings.simulator_url.rpartition(":")[2]
        books = str(self.folder / "simulator")
        self.start("simulator", "simulator", "--port", port, "--data", books)

    def start_worker(self, name: str = "gateway", settings: Settings | None = None) -> None:
        self.start(name, "serve", "--one", settings=settings)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        self.send(name, number)
        return self.ended(name)

    def ended(self, name: str) -> int:
        """Wait until one has ended that was told to, and give how."""
        return _end_of(self.processes.pop(name))

    def send(self, name: str, number: signal.Signals) -> None:
        pid = self.processes[name].pid
        assert pid is not None
        os.kill(pid, number)

    async def ready(self, base_url: str | None = None) -> None:
        """Wait until the gateway, or the worker at this address, and the simulator answer."""
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession() as session:
            acquirer = f"{self.settings.simulator_url}/healthz"
            for url in (f"{base_url or self.base_url}/readyz", acquirer):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(url) as answer:
                            if answer.status == 200:
                                break
                    assert time.monotonic() < deadline, f"{url} is not ready"
                    await asyncio.sleep(0.02)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                _end_of(process)
            except TimeoutError:
                process.kill()
                process.join()
        self.processes.clear()

    @contextlib.asynccontextmanager
    async def shop(
        self,
        name: str = "Shop",
        commission_bps: int = 60,
        *,
        late_success: str = "review",
        load_test: bool = False,
    ) -> AsyncIterator[Shop]:
        """Add a merchant and give it a client."""
        made = await asyncio.to_thread(
            merchants.add,
            self.settings,
            name=name,
            key=merchants.KeyWish("hmac-sha256", None),
            terms=Terms(commission_bps, late_success, load_test),
        )
        credentials = Credentials(made["key_id"], made["secret"])
        async with aiohttp.ClientSession() as session:
            shop = Shop(self.base_url, made["merchant"], credentials, session)
            async with asyncio.timeout(5):
                while (await shop.call("GET", "/v1/events")).status == 401:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
            yield shop


def system_of(database_url: str, redis_url: str, folder: Path, **changes: Any) -> System:
    """Choose free ports and a master key; nothing is started yet."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        port=free_port(),
        simulator_url=f"http://127.0.0.1:{free_port()}",
        master_key=sealing.new_master_key(),
        database_connections=4,
        channel_seconds=1.0,
        webhook_loopback=True,
    )
    return System(replace(settings, **changes), folder)
