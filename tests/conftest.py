"""The servers of a test run, started when the first test asks for them.

With xdist the controller starts them and tells its workers where they are; each worker then has
databases of its own.  `FLOODGATE_PG_BIN` and `FLOODGATE_REDIS_BIN` choose other servers.
"""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from servers_kit import Database, Urls, fresh_database, servers_of

# No test asserts how long anything takes, so no example fails because a machine is busy.
settings.register_profile(
    "untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


# The longest files first, for at the end one worker would wait for them while the other has nothing
# left to do.  The first two rooms go well together: one is hard work, the other waits for the disk.
FIRST = ("tests/faults/", "tests/integration/", "tests/e2e/", "tests/contract/", "tests/house/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: [item.nodeid.startswith(room) for room in FIRST], reverse=True)


def pytest_collection_finish() -> None:
    gc.freeze()  # what was loaded stays, and whoever collects need not look at it each time


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In xdist's controller, once for each worker."""
    node.workerinput["servers"] = tuple(servers_of(node.config))


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Urls:
    if hasattr(pytestconfig, "workerinput"):
        return Urls(*pytestconfig.workerinput["servers"])
    return servers_of(pytestconfig)


@pytest.fixture(scope="session")
def worker_number(pytestconfig: pytest.Config) -> int:
    """0 for the only process, 1 and so on for xdist's workers."""
    worker: str = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw-1")
    return int(worker.removeprefix("gw")) + 1


@pytest.fixture(scope="module")
def database(servers: Urls, worker_number: int) -> Iterator[Database]:
    """A fresh database with the newest schema, for this module alone."""
    with fresh_database(servers, worker_number) as database:
        yield database


@pytest.fixture(scope="module")
def redis_url(servers: Urls, worker_number: int) -> str:
    """An empty Redis database; pub/sub and functions are shared with the other workers."""
    url = f"{servers.redis}?db={worker_number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
